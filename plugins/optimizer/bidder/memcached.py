"""The servers of memcached: written to by the thread that refreshes, read by the event loop that prices."""

import time
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from pymemcache.client.base import Client
from pymemcache.exceptions import MemcacheError

from optimizer.bidder.fetching import Fetched, MemcachedReader
from optimizer.bidder.ring import Ring
from optimizer.errors import ServerAway

MAX_KEEP_S = 30 * 24 * 3600
"""memcached reads a longer expiry as a date in 1970."""

CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S = 1.0, 5.0
"""While tables are written; a price waits far shorter."""

LEFT_ALONE_S = 15.0
"""A server that did not answer while tables were written is not asked again for this long, in seconds."""


class Memcached:
    """Several servers, each with the keys of its share of the ring.

    names: of all servers, host:port. keep_s: expiry of a table, unless it is renewed.
    """

    def __init__(
        self, servers: Sequence[tuple[str, int]], *, timeout_s: float = 0.05, keep_s: int = 7 * 24 * 3600
    ) -> None:
        """Connect only when it is used.

        Args:
            servers: host and port of each.
            timeout_s: how long answers are waited for while a request is priced.
            keep_s: in seconds; at most 30 days.
        """
        if not 0 < keep_s <= MAX_KEEP_S:
            raise ValueError(f"keep_s={keep_s} is outside 1..{MAX_KEEP_S}, which memcached takes for a date in 1970")
        self._addresses = {f"{host}:{port}": (host, port) for host, port in servers}
        self.names, self.keep_s = tuple(sorted(self._addresses)), keep_s
        self.ring = Ring(self.names)
        self.reader = MemcachedReader(self._addresses, self.ring, timeout_s=timeout_s)
        self._left_alone: dict[str, tuple[float, str]] = {}

    async def fetch(self, places: Collection[str]) -> Fetched:
        """Return what stands under the keys; see `MemcachedReader.fetch`."""
        return await self.reader.fetch(places)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """Close the connections of `fetch` when the block ends."""
        try:
            yield
        finally:
            await self.reader.close()

    @contextmanager
    def loading(self, name: str | None = None) -> Iterator[Client]:
        """Give a client of one server, the only one by default, that waits longer: for whole tables.

        Raises:
            ServerAway: the server is silent or refuses, or did so a moment ago.
        """
        name = self.names[0] if name is None else name
        until, said = self._left_alone.get(name, (0.0, ""))
        if time.monotonic() < until:
            raise ServerAway(said)
        client = Client(
            self._addresses[name],
            connect_timeout=CONNECT_TIMEOUT_S,
            timeout=ANSWER_TIMEOUT_S,
            default_noreply=False,
            no_delay=True,
        )
        try:
            yield client
        except (MemcacheError, OSError, ValueError, LookupError) as error:  # the latter two: an answer that is none
            said = f"memcached {name} does not answer: {error!r}; see that it runs"
            self._left_alone[name] = (time.monotonic() + LEFT_ALONE_S, said)
            raise ServerAway(said) from error
        finally:
            client.close()
