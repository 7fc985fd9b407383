"""What the bidder waits for at this moment, and since when."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Wait:
    """A call to another system that has not ended yet."""

    what: str
    since: datetime


class Waits:
    """Set by the one thread that refreshes, read by any other. Waits do not nest."""

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.current: Wait | None = None
        self._clock = clock

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        """Name what is waited for until the block ends."""
        self.current = Wait(what, self._clock())
        try:
            yield
        finally:
            self.current = None
