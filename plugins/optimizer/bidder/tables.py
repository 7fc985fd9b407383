"""Where a run's bids are: in a dictionary of this process, or in memcached.

In memcached every table has a prefix of its own, made of what its run wrote. So generations exist side by side and
several bidders share a table; nothing is ever overwritten by another run's, and old tables expire.
"""

import math
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from typing import Any, Protocol, TypeVar

from pymemcache.client.base import Client

from optimizer.bidder.fetching import Fetched
from optimizer.bidder.memcached import Memcached
from optimizer.core.serving.keys import MAX_KEY_BYTES
from optimizer.errors import KeysLost, ServerAway, UnavailableError

BATCH_KEYS = 2_000

Result = TypeVar("Result")


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


@dataclass(frozen=True, slots=True)
class MemcachedTable:
    """The bids in memcached, with eight bytes of each key here, to distinguish lost keys from unknown segments."""

    servers: Memcached = field(repr=False)
    prefix: str
    known: "array[int]" = field(repr=False)

    @classmethod
    def describe(cls, servers: Memcached, bids: Mapping[str, float], *, content_id: str) -> "MemcachedTable":
        """Return the table of these bids without writing it; `content_id` names what the run wrote."""
        prefix = blake2b(content_id.encode(), digest_size=8).hexdigest()
        return cls(servers, prefix, array("Q", sorted(_mark(key) for key in bids)))

    def __len__(self) -> int:
        return len(self.known)

    def find(self, key: str) -> float | None:
        """Return the bid, or None for a segment that the run does not serve: one price, where no event loop runs."""
        place = self.place_of(key)
        with self.servers.loading(self.servers.ring.name_of(place)) as client:
            found = client.get(place)
        return self.read(key, {} if found is None else {place: found})

    def read(self, key: str, fetched: Fetched) -> float | None:
        """Return the bid from what was fetched under `place_of` the key; as `find`."""
        found = fetched.get(self.place_of(key))
        if isinstance(found, ServerAway):
            raise found
        if found is None:
            if self._knows(key):
                raise KeysLost(f"memcached lost keys of table {self.prefix}; load it again")
            return None
        # Any host on its network may write to memcached.
        bid_cpm = _parse(found)
        if 0 <= bid_cpm < math.inf:
            return bid_cpm
        raise KeysLost(f"memcached: table {self.prefix} holds what is not a bid; load it again")

    def due(self, *, now: float, lasts_s: float) -> list[str]:
        """Return the servers that lack their share of the table, or got it more than `lasts_s` seconds before `now`.

        Servers that do not answer are left out.

        Raises:
            ServerAway: none of them answers.
        """
        written = self.written_at()
        return [name for name, at in written.items() if at is None or now - at > lasts_s]

    def written_at(self) -> dict[str, float | None]:
        """Return when each server that answers got its share, in seconds since 1970, or None where none says so.

        Raises:
            ServerAway: none of them answers.
        """
        written = self._each(self.servers.names, lambda name, client: client.get(self._marker))
        moments = {name: math.nan if found is None else _parse(found) for name, found in written.items()}
        return {name: at if math.isfinite(at) else None for name, at in moments.items()}

    def write(self, bids: Mapping[str, float], *, now: float, names: Iterable[str] | None = None) -> None:
        """Write to each of the servers, all by default, every key of its share, then the marker that it is complete.

        Servers that do not answer are left out: they have their share written once they are due and answer again.

        Raises:
            ServerAway: none of them answers.
            UnavailableError: one did not take or keep all keys of its share.
        """
        shares: dict[str, dict[str, float]] = {name: {} for name in (self.servers.names if names is None else names)}
        for key, bid in bids.items():
            name = self.servers.ring.name_of(self.place_of(key))
            if name in shares:
                shares[name][key] = bid
        self._each(shares, lambda name, client: self._write_share(client, shares[name], name=name, now=now))

    def place_of(self, key: str) -> str:
        """Return the key under which memcached holds the segment's bid."""
        place = f"{self.prefix}:{key}"
        if len(place) <= MAX_KEY_BYTES:
            return place
        # A key has no comma, so a digest can be no key's.
        return f"{self.prefix},{blake2b(key.encode(), digest_size=20).hexdigest()}"

    @property
    def _marker(self) -> str:
        return f"{self.prefix},written"

    def _each(self, names: Iterable[str], action: Callable[[str, Client], Result]) -> dict[str, Result]:
        """The results by server; one that is away has none, unless all are."""
        results: dict[str, Result] = {}
        away: list[ServerAway] = []
        for name in names:
            try:
                with self.servers.loading(name) as client:
                    results[name] = action(name, client)
            except ServerAway as error:
                away.append(error)
        if away and not results:
            raise away[0]
        return results

    def _write_share(self, client: Client, bids: Mapping[str, float], *, name: str, now: float) -> None:
        left = iter(bids.items())
        while values := {self.place_of(key): repr(bid) for key, bid in islice(left, BATCH_KEYS)}:
            failed = client.set_many(values, expire=self.servers.keep_s)
            if failed:
                raise UnavailableError(f"memcached {name} rejected {len(failed):,} of {len(values):,} keys")
        if any(found is None for found in self._sample(client, bids)):
            raise UnavailableError(f"memcached {name} lacks memory for {len(bids):,} keys; give it more")
        client.set(self._marker, repr(now), expire=self.servers.keep_s)

    def _sample(self, client: Client, bids: Mapping[str, float]) -> Iterator[Any]:
        # What was written first is what goes first where the memory is too small.
        first = list(bids)[:BATCH_KEYS]
        found = client.get_many([self.place_of(key) for key in first]) if first else {}
        return (found.get(self.place_of(key)) for key in first)

    def _knows(self, key: str) -> bool:
        mark = _mark(key)
        at = bisect_left(self.known, mark)
        return at < len(self.known) and self.known[at] == mark


def _parse(found: bytes) -> float:
    """The number that a value of memcached is, NaN where it is not one."""
    try:
        return math.nan if b"_" in found else float(found)  # Python reads 1_0 as ten
    except ValueError:
        return math.nan


def _mark(key: str) -> int:
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big")
