"""What a bidder process counts and times: plain numbers, because a labelled counter takes as long as a price."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

BOUNDS_S = (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 5e-2, 0.1)
"""Upper bounds of the buckets of durations; one more bucket has what is longer."""

NO_ENTITY = ""
"""The entity_code of impressions of unknown entities: a caller could make up any number of codes."""

NO_RUN = ""
"""The run_id of impressions that no run priced."""


@dataclass(slots=True)
class Durations:
    """How many durations fell into each bucket, and their sum in seconds."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    sum_s: float = 0.0

    @classmethod
    def total(cls, parts: Iterable["Durations"]) -> "Durations":
        """Return all durations together."""
        parts = list(parts)
        buckets = [sum(numbers) for numbers in zip(*(it.buckets for it in parts), strict=True)]
        return cls(buckets, sum(it.sum_s for it in parts))

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self.buckets[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds


class Tally:
    """The numbers of one process since it began; the names are those of `metrics.METRICS`.

    Attributes:
        outcomes: {(entity_code or NO_ENTITY, run_id or NO_RUN, reason or UNREADABLE): impressions}.
        counts: {(metric, *values of its labels): number}, of everything else that is counted.
        price_seconds: of the prices of one bid request; fetch_seconds: until memcached has answered for it.
    """

    def __init__(self) -> None:
        self.outcomes: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        self.counts: defaultdict[tuple[str, ...], int] = defaultdict(int)
        self.price_seconds, self.fetch_seconds = Durations(), Durations()

    def served_outcomes(self) -> dict[tuple[str, str, str], int]:
        """Return the outcomes without those of unknown entities."""
        return {key: number for key, number in dict(self.outcomes).items() if key[0] != NO_ENTITY}
