"""Bids from memcached for the requests that are priced at this moment, without threads.

Each server has one connection. Requests are sent as they come and answered in turn, so that many wait together. Where
the oldest of them has waited for `timeout_s`, all fail with it: the connection is dropped, and until a probe in the
background reaches the server again, every request for its keys fails at once. So a server that is dead or slow costs
one time-out, not one a request, and its share of the keys only.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import cast

from optimizer.bidder.ring import Ring
from optimizer.errors import ServerAway

PROBE_PAUSE_S, LONGEST_PAUSE_S = 0.25, 4.0
"""Between two probes of a server that is away; the pause doubles while it falls silent again and again."""

STEADY_S = 10.0
"""A server that answered for this many seconds before has fallen silent for the first time."""

GRACE_S = 0.005
"""After its time-out an answer may still lie unread, where this process itself was held up."""

MAX_ANSWER_BYTES = 4 * 1024 * 1024

Fetched = Mapping[str, bytes | ServerAway]
"""{key: its value, or why it is not known}; a key that memcached does not have is not in it."""

Values = dict[bytes, bytes]

log = logging.getLogger(__name__)


class MemcachedReader:
    """Reads from all servers. To be used by one event loop at a time."""

    def __init__(self, addresses: Mapping[str, tuple[str, int]], ring: Ring, *, timeout_s: float) -> None:
        """Connect only when it is used.

        Args:
            addresses: {name of the server in the ring: host and port}.
        """
        self._ring = ring
        self.servers = {name: ServerReader(name, address, timeout_s=timeout_s) for name, address in addresses.items()}
        self._only = next(iter(self.servers.values())) if len(self.servers) == 1 else None

    async def fetch(self, places: Collection[str]) -> Fetched:
        """Return what stands under the keys, with one question to each server that holds some of them."""
        if not places:
            return {}
        asked = [(server, of_server, server.ask(of_server)) for server, of_server in self._share(places)]
        fetched: dict[str, bytes | ServerAway] = {}
        for _, of_server, answer in asked:
            try:
                values = await answer
            except ServerAway as error:
                fetched |= dict.fromkeys(of_server, error)
            else:
                fetched |= {place.decode(): value for place, value in values.items()}
        return fetched

    async def close(self) -> None:
        """Close the connections and end the probes; the next question opens them again."""
        await asyncio.gather(*(server.close() for server in self.servers.values()))

    def _share(self, places: Collection[str]) -> Collection[tuple["ServerReader", Collection[str]]]:
        if self._only is not None:
            return [(self._only, places)]
        shares: dict[str, list[str]] = {}
        for place in places:
            shares.setdefault(self._ring.name_of(place), []).append(place)
        return [(self.servers[name], of_server) for name, of_server in shares.items()]


class ServerReader:
    """One server: its connection, or since when it is away."""

    def __init__(self, name: str, address: tuple[str, int], *, timeout_s: float) -> None:
        self.name = name
        self.away_since: datetime | None = None
        self._address, self._timeout_s = address, timeout_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._link: ServerConnection | None = None
        self._reached_at, self._silences = 0.0, 0
        self._reaching: asyncio.Task[None] | None = None
        self._tried: asyncio.Event | None = None

    def ask(self, places: Collection[str]) -> "asyncio.Future[Values]":
        """Return the coming values of the keys. It fails with ServerAway in time, or at once while that is known."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # what belongs to a loop that has ended is of no use
            self._loop, self._link, self._reaching, self.away_since = loop, None, None, None
        if self._link is not None:
            return self._link.get(places)
        if self.away_since is None:
            return asyncio.ensure_future(self._ask_once_reached(places))
        refused: asyncio.Future[Values] = loop.create_future()
        refused.set_exception(self._away())
        return refused

    async def close(self) -> None:
        """Close the connection and end the probe."""
        link, reaching = self._link, self._reaching
        self._link = self._reaching = self.away_since = None
        if reaching is not None:
            reaching.cancel()
            await asyncio.wait([reaching])
        if link is not None:
            link.drop(self._away())
        await asyncio.sleep(0)  # the loop closes the socket in its next round

    async def _ask_once_reached(self, places: Collection[str]) -> Values:
        if self._link is None:
            await self._reach_once().wait()
        if self._link is None:
            raise self._away()
        return await self._link.get(places)

    def _reach_once(self, *, pause_s: float = 0.0) -> asyncio.Event:
        """The end of the first attempt of the task that reaches the server; there is one task at a time."""
        if self._reaching is None or self._tried is None:
            self._tried = asyncio.Event()
            self._reaching = asyncio.ensure_future(self._reach(self._tried, pause_s))
        return self._tried

    async def _reach(self, tried: asyncio.Event, pause_s: float) -> None:
        await asyncio.sleep(pause_s)
        while self._link is None:
            try:
                async with asyncio.timeout(self._timeout_s):
                    self._link = await self._connect()
            except (OSError, ValueError, ServerAway) as error:
                self._note_away(error)
                tried.set()
                await asyncio.sleep(PROBE_PAUSE_S)
        if self.away_since is not None:
            log.info("memcached %s answers again", self.name)
        self._reached_at = asyncio.get_running_loop().time()
        self.away_since = self._reaching = None
        tried.set()

    async def _connect(self) -> "ServerConnection":
        loop = asyncio.get_running_loop()
        _, link = await loop.create_connection(
            lambda: ServerConnection(self._lose, timeout_s=self._timeout_s), *self._address
        )
        try:
            await link.greeted
        except BaseException:
            link.drop(self._away())
            raise
        return link

    def _lose(self, link: "ServerConnection", error: Exception | None) -> None:
        """The connection is over: closed by the server, which may be reached at once, or because it was silent."""
        if self._link is not link:
            return
        self._link, pause_s = None, 0.0
        if error is not None:
            self._note_away(error)
            was_steady = asyncio.get_running_loop().time() - self._reached_at > STEADY_S
            self._silences = 1 if was_steady else self._silences + 1
            pause_s = min(PROBE_PAUSE_S * 2 ** (self._silences - 1), LONGEST_PAUSE_S)
        self._reach_once(pause_s=pause_s)

    def _note_away(self, error: Exception) -> None:
        if self.away_since is None:
            log.warning("memcached %s is away: %s", self.name, repr(error))
            self.away_since = datetime.now(UTC)

    def _away(self) -> ServerAway:
        return ServerAway(f"memcached {self.name} does not answer; see that it runs")


class ServerConnection(asyncio.Protocol):
    """A connection to one server, on which questions are answered in the order in which they were asked."""

    def __init__(self, on_lost: Callable[["ServerConnection", Exception | None], None], *, timeout_s: float) -> None:
        self._on_lost, self._timeout_s = on_lost, timeout_s
        self._loop = asyncio.get_running_loop()
        self.greeted: asyncio.Future[None] = self._loop.create_future()
        self._asked: deque[tuple[asyncio.Future[Values], frozenset[bytes], float]] = deque()
        self._buffer = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    def get(self, places: Collection[str]) -> "asyncio.Future[Values]":
        """Ask for the keys; the future fails with ServerAway."""
        encoded = [place.encode() for place in places]
        answer: asyncio.Future[Values] = self._loop.create_future()
        self._asked.append((answer, frozenset(encoded), self._loop.time()))
        if self._transport is not None:
            self._transport.write(b"get %b\r\n" % b" ".join(encoded))
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout_s, self._look)
        return answer

    def drop(self, error: ServerAway) -> None:
        """Close the connection; what was asked and not answered fails."""
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        while self._asked:
            answer = self._asked.popleft()[0]
            if not answer.done():
                answer.set_exception(error)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the version: a server that is stopped takes connections, and says nothing."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(b"version\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what was asked."""
        self._end("it closed the connection", error=exc, is_silent=False)

    def data_received(self, data: bytes) -> None:
        """Hand out the answers that are complete."""
        self._buffer += data
        try:
            self._read()
        except ValueError as error:
            self._end(str(error), error=error)

    def _read(self) -> None:
        if not self.greeted.done():
            line, end, rest = bytes(self._buffer).partition(b"\r\n")
            if not end:
                return
            if not line.startswith(b"VERSION "):
                raise ValueError("it is not memcached")
            self._buffer[:] = rest
            self.greeted.set_result(None)
        while self._buffer:
            if not self._asked:
                raise ValueError("it sent an answer without a question")
            answer, wanted, _ = self._asked[0]
            values = take_values(self._buffer, wanted)
            if values is None:
                return
            self._asked.popleft()
            if not answer.done():
                answer.set_result(values)

    def _look(self, late: "asyncio.Future[Values] | None" = None) -> None:
        """Give up where the oldest question is too old; `late` was so a moment ago."""
        self._timer = None
        if not self._asked:
            return
        oldest, _, asked_at = self._asked[0]
        left_s = asked_at + self._timeout_s - self._loop.time()
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._look)
        elif oldest is not late:
            self._timer = self._loop.call_later(GRACE_S, self._look, oldest)
        else:
            self._end(f"no answer within {self._timeout_s * 1000:g} ms", error=TimeoutError())

    def _end(self, why: str, *, error: Exception | None, is_silent: bool = True) -> None:
        away = ServerAway(f"memcached does not answer: {why}; see that it runs")
        if not self.greeted.done():
            self.greeted.set_exception(away)
            self.greeted.exception()  # read here: nobody may wait for it anymore
        self.drop(away)
        self._on_lost(self, error if is_silent else None)


def take_values(buffer: bytearray, wanted: Collection[bytes]) -> Values | None:
    """Return the values of one whole answer and remove it from the buffer; None where more of it has to come.

    Raises:
        ValueError: it is not the answer to a question for the wanted keys.
    """
    values: Values = {}
    at = 0
    while True:
        end = buffer.find(b"\r\n", at)
        if end < 0:
            break
        line = bytes(buffer[at:end])
        if line == b"END":
            del buffer[: end + 2]
            return values
        parts = line.split(b" ")
        if len(parts) < 4 or parts[0] != b"VALUE" or parts[1] not in wanted or not parts[3].isdigit():
            raise ValueError("its answer is to another question")
        first, last = end + 2, end + 2 + int(parts[3])
        if len(buffer) < last + 2:
            break
        if buffer[last : last + 2] != b"\r\n":
            raise ValueError("its answer is damaged")
        values[parts[1]] = bytes(buffer[first:last])
        at = last + 2
    if len(buffer) > MAX_ANSWER_BYTES:
        raise ValueError("its answer is too long")
    return None
