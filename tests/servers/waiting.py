"""What a test waits for, and never longer than a minute or the time that it gives."""

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_S = 60

Found = TypeVar("Found")


def wait_until(
    condition: Callable[[], Found | None], what: str, *, timeout_s: float = PATIENCE_S, every_s: float = 0.05
) -> Found:
    """Wait until the condition holds, and return what it then returned.

    Raises:
        AssertionError: it does not; `what` says what did not happen.
    """
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(every_s)
    return found
