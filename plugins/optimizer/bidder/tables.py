"""Where a run's bids are: in a dictionary of this process, or in memcached.

In memcached every table has a prefix of its own, made of what its run wrote. So generations exist side by side and
several bidders share a table; nothing is ever overwritten by another run's, and old tables expire.
"""

import math
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from typing import Any, Protocol

from pymemcache.client.base import Client
from pymemcache.exceptions import MemcacheError

from optimizer.core.serving.keys import MAX_KEY_BYTES
from optimizer.errors import KeysLost, UnavailableError

MAX_KEEP_S = 30 * 24 * 3600
"""memcached reads a longer expiry as a date in 1970."""

BATCH_KEYS = 2_000


class BidTable(Protocol):
    """The bids of a run by segment key."""

    def find(self, key: str) -> float | None:
        """Return the segment's bid, CPM, 0 for "do not bid", or None where the run does not serve it.

        Raises:
            UnavailableError: the table does not answer.
            KeysLost: it answers, and what was written is not there.
        """

    def __len__(self) -> int: ...


class InProcessTable:
    """The bids in a dictionary."""

    def __init__(self, bids: Mapping[str, float]) -> None:
        self._bids = bids
        self.find = bids.get

    def __len__(self) -> int:
        return len(self._bids)


class Memcached:
    """One memcached server; a connection is used by one thread at a time and then kept for the next."""

    def __init__(self, host: str, port: int, *, timeout_s: float = 0.05, keep_s: int = 7 * 24 * 3600) -> None:
        """Connect only when it is used.

        Args:
            timeout_s: how long one answer is waited for while a request is priced.
            keep_s: expiry of a table in seconds, unless it is renewed; at most 30 days.
        """
        if not 0 < keep_s <= MAX_KEEP_S:
            raise ValueError(f"keep_s={keep_s} is outside 1..{MAX_KEEP_S}, which memcached takes for a date in 1970")
        self.name, self.keep_s = f"{host}:{port}", keep_s
        self._timeout_s, self._address = timeout_s, (host, port)
        self._free: deque[Client] = deque()  # its pop and append need no lock

    def get(self, place: str) -> bytes | None:
        """Return what stands under the key, or None.

        Raises:
            UnavailableError: the server is silent.
        """
        try:
            client = self._free.pop()
        except IndexError:
            client = self._open(self._timeout_s)
        try:
            found: bytes | None = client.get(place)
            return found
        except (MemcacheError, OSError, LookupError, ValueError) as error:  # the last two: an answer to nothing asked
            raise self._silent(error) from error
        finally:
            self._free.append(client)

    def close(self) -> None:
        """Close the unused connections; the next request opens one again."""
        while self._free:
            self._free.pop().close()

    @contextmanager
    def loading(self) -> Iterator[Client]:
        """Give a client that waits longer, for whole tables.

        Raises:
            UnavailableError: the server is silent or refuses.
        """
        client = self._open(10.0)
        try:
            yield client
        except (MemcacheError, OSError) as error:
            raise self._silent(error) from error
        finally:
            client.close()

    def _silent(self, error: Exception) -> UnavailableError:
        return UnavailableError(f"memcached {self.name} does not answer: {error!r}; see that it runs")

    def _open(self, timeout_s: float) -> Client:
        return Client(self._address, connect_timeout=timeout_s, timeout=timeout_s, default_noreply=False, no_delay=True)


@dataclass(frozen=True, slots=True)
class MemcachedTable:
    """The bids in memcached, with eight bytes of each key here, to distinguish lost keys from unknown segments."""

    server: Memcached = field(repr=False)
    prefix: str
    known: "array[int]" = field(repr=False)

    @classmethod
    def describe(cls, server: Memcached, bids: Mapping[str, float], *, content_id: str) -> "MemcachedTable":
        """Return the table of these bids without writing it; `content_id` names what the run wrote."""
        prefix = blake2b(content_id.encode(), digest_size=8).hexdigest()
        return cls(server, prefix, array("Q", sorted(_mark(key) for key in bids)))

    def __len__(self) -> int:
        return len(self.known)

    def find(self, key: str) -> float | None:
        """Return the bid, or None for a segment that the run does not serve."""
        place = f"{self.prefix}:{key}"
        found = self.server.get(place if len(place) <= MAX_KEY_BYTES else self.place_of(key))
        if found is None:
            if self._knows(key):
                raise KeysLost(f"memcached {self.server.name} lost keys of table {self.prefix}; load it again")
            return None
        # Any host on its network may write to memcached.
        try:
            bid_cpm = float(found)
        except ValueError:
            bid_cpm = math.nan
        if 0 <= bid_cpm < math.inf:
            return bid_cpm
        raise KeysLost(f"memcached {self.server.name}: table {self.prefix} holds what is not a bid; load it again")

    def written_at(self) -> float | None:
        """Return when the table was written whole, in seconds since 1970, or None where it is not there."""
        with self.server.loading() as client:
            found = client.get(self._marker)
        return None if found is None else float(found)

    def write(self, bids: Mapping[str, float], *, now: float) -> None:
        """Write every key, then the marker that the table is complete.

        Raises:
            UnavailableError: the server is silent, or did not take or keep all of them.
        """
        with self.server.loading() as client:
            left = iter(bids.items())
            while values := {self.place_of(key): repr(bid) for key, bid in islice(left, BATCH_KEYS)}:
                self._write_batch(client, values)
            if any(found is None for found in self._sample(client, bids)):
                raise UnavailableError(
                    f"memcached {self.server.name} lacks memory for {len(bids):,} keys; give it more"
                )
            client.set(self._marker, repr(now), expire=self.server.keep_s)

    @property
    def _marker(self) -> str:
        return f"{self.prefix},written"

    def _write_batch(self, client: Client, values: dict[str, str]) -> None:
        failed = client.set_many(values, expire=self.server.keep_s)
        if failed:
            raise UnavailableError(f"memcached {self.server.name} rejected {len(failed):,} of {len(values):,} keys")

    def _sample(self, client: Client, bids: Mapping[str, float]) -> Iterator[Any]:
        # What was written first is what goes first where the memory is too small.
        first = list(bids)[:BATCH_KEYS]
        found = client.get_many([self.place_of(key) for key in first]) if first else {}
        return (found.get(self.place_of(key)) for key in first)

    def place_of(self, key: str) -> str:
        """Return the key under which memcached holds the segment's bid."""
        place = f"{self.prefix}:{key}"
        if len(place) <= MAX_KEY_BYTES:
            return place
        # A key has no comma, so a digest can be no key's.
        return f"{self.prefix},{blake2b(key.encode(), digest_size=20).hexdigest()}"

    def _knows(self, key: str) -> bool:
        mark = _mark(key)
        at = bisect_left(self.known, mark)
        return at < len(self.known) and self.known[at] == mark


def _mark(key: str) -> int:
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big")
