"""Fair shares: what one caller has at once of something that all callers need."""

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class Lanes:
    """A lane for each name; at most `width` are in one at once, the next ones wait for their turn."""

    def __init__(self, width: int, *, wait_s: float, refuse: Callable[[], Exception]) -> None:
        """Raise what `refuse` returns for those whose turn does not come within `wait_s`."""
        self._width, self._wait_s, self._refuse = width, wait_s, refuse
        self._lanes: WeakValueDictionary[Hashable, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def take(self, name: Hashable) -> AsyncIterator[None]:
        """Hold a place in a lane until the end of the block."""
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = asyncio.Semaphore(self._width)
        if not lane.locked():
            await lane.acquire()  # at once, and without a timer
        else:
            try:
                async with asyncio.timeout(self._wait_s):
                    await lane.acquire()
            except TimeoutError:
                raise self._refuse() from None
        try:
            yield
        finally:
            lane.release()
