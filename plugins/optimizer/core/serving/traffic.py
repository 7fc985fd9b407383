"""Which run prices a request: a hash of its id, so that a split is exact, stable and kept over restarts.

The hash is SHA-256, which most languages have in their standard library; docs/bidder-format.md has the rule for
bidders in other languages. An id falls into one of `SLOTS` slots, and each run owns one unbroken stretch of them, in
the order of the run ids: the split alone says who gets what, with no memory of the one before. Where percents move
between two runs, or one run takes another's place in that order, only the ids that must change do. In other changes
stretches shift, and more ids change their run than their percents did: from A 80, B 20 to B 80, C 20 all do.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import accumulate
from typing import Any

SLOTS = 10_000

HASH_BYTES = 8
"""The first bytes of the SHA-256, read as one unsigned number, the first byte the highest."""


@dataclass(frozen=True, slots=True)
class TrafficSplit:
    """The runs of an entity with the first slot that is no longer theirs, and the text before each id in the hash."""

    run_ids: tuple[str, ...]
    ends: tuple[int, ...]
    prefix: str
    _prefixed: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Copied for each id: to hash the prefix again would be half of an id's cost.
        object.__setattr__(self, "_prefixed", sha256(self.prefix.encode()))

    @classmethod
    def create(cls, percents: Mapping[str, int], *, entity_code: str) -> "TrafficSplit":
        """Return the split of `percents`, whole ones by run id; runs with 0 get nothing.

        Raises:
            ValueError: one is negative, or they do not sum to 100.
        """
        shares = {run_id: percents[run_id] for run_id in sorted(percents) if percents[run_id] != 0}
        if sum(shares.values()) != 100 or min(shares.values()) < 0:
            raise ValueError(
                f"entity {entity_code}: {shares} is not a traffic split; give percents from 0 to 100 that sum to 100"
            )
        ends = accumulate(percent * SLOTS // 100 for percent in shares.values())
        # Entities are hashed apart: the users in the first slots of one are spread over all slots of another.
        return cls(tuple(shares), tuple(ends), f"{entity_code}|")

    def run_of(self, identity: str) -> str:
        """Return the run that prices the requests of this auction's or user's id."""
        if len(self.run_ids) == 1:
            return self.run_ids[0]
        hashed = self._prefixed.copy()
        hashed.update(identity.encode("utf-8", "surrogatepass"))
        slot = int.from_bytes(hashed.digest()[:HASH_BYTES], "big") % SLOTS
        return self.run_ids[bisect_right(self.ends, slot)]
