"""Published runs kept in memory for a server that shows them again and again: their files never change."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Generic, TypeVar

import pandas as pd

from optimizer.artifacts.store import ObjectStore
from optimizer.control_plane.records import Run
from optimizer.core.pricing.segment_search import SegmentIndex
from optimizer.runs.compared_runs import ComparedPair, compare_published
from optimizer.runs.published_run import (
    PublishedFigures,
    PublishedRun,
    load_figures,
    load_multipliers,
    load_published,
    output_uri_of,
)
from optimizer.runs.run_spend import FeatureSpend, spend_of_run

MOST_SEGMENTS = 600_000
"""Segments of all kept runs together; about 400 bytes each."""

MOST_PAIRS = 20
"""Kept comparisons of two runs."""

MOST_FIGURES = 200
"""Kept runs of which only the small files, or sums over all segments, are in memory."""

T = TypeVar("T")


@dataclass(slots=True)
class _Kept(Generic[T]):
    """Values by key, those used last; a value is made once, however many ask for it at the same time."""

    most: int
    size_of: Callable[[T], int]
    values: "OrderedDict[str, T]" = field(default_factory=OrderedDict)
    locks: dict[str, Lock] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def get(self, key: str, make: Callable[[], T]) -> T:
        with self.lock:
            own = self.locks.setdefault(key, Lock())
        with own:
            with self.lock:
                if key in self.values:
                    self.values.move_to_end(key)
                    return self.values[key]
            try:
                value = make()
            except Exception:
                with self.lock:
                    self.locks.pop(key, None)
                raise
            with self.lock:
                self.values[key] = value
                self._shrink()
            return value

    def _shrink(self) -> None:
        """Drop what was used longest ago; the newest value stays, whatever its size."""
        while len(self.values) > 1 and sum(map(self.size_of, self.values.values())) > self.most:
            dropped, _ = self.values.popitem(last=False)
            self.locks.pop(dropped, None)


class PublishedRuns:
    """Reads published runs and keeps those that were read last.

    The state of a run is the caller's: its row is read for each request, and a run whose files were removed is not
    served from memory.

    Args:
        most_segments: how many segments all kept runs have together at most.
    """

    def __init__(self, *, most_segments: int = MOST_SEGMENTS) -> None:
        self._figures: _Kept[PublishedFigures] = _Kept(MOST_FIGURES, lambda figures: 1)
        self._runs: _Kept[PublishedRun] = _Kept(most_segments, lambda run: len(run.bids))
        self._indexes: _Kept[SegmentIndex] = _Kept(most_segments, lambda index: len(index.texts))
        self._multipliers: _Kept[pd.DataFrame] = _Kept(most_segments, len)
        self._spends: _Kept[tuple[FeatureSpend, ...]] = _Kept(MOST_FIGURES, lambda spend: 1)
        self._pairs: _Kept[ComparedPair] = _Kept(MOST_PAIRS, lambda pair: 1)

    def figures(self, row: Run, *, store: ObjectStore) -> PublishedFigures:
        """Return the small files of the run.

        Raises:
            RunStateError, ArtifactError, UnavailableError: as `load_figures`.
        """
        return self._figures.get(output_uri_of(row), lambda: load_figures(row, store=store))

    def run(self, row: Run, *, store: ObjectStore) -> PublishedRun:
        """Return the run with its bids.

        Raises:
            RunStateError, ArtifactError, UnavailableError: as `load_published`.
        """
        figures = self.figures(row, store=store)
        kept = self._runs.get(figures.output_uri, lambda: load_published(row, figures, store=store))
        return replace(kept, row=row)

    def index(self, row: Run, *, store: ObjectStore) -> SegmentIndex:
        """Return what finds the run's segments by words; its places are those of the rows of its bids.

        Raises:
            RunStateError, ArtifactError, UnavailableError: as `run`.
        """
        bids = self.run(row, store=store).bids
        return self._indexes.get(output_uri_of(row), lambda: SegmentIndex.of(bids["segment_key"].tolist()))

    def spend(self, row: Run, *, store: ObjectStore) -> tuple[FeatureSpend, ...]:
        """Return the spend a day that the run expects, by the values of each feature of its key.

        Raises:
            RunStateError, ArtifactError, UnavailableError: as `run`.
        """
        return self._spends.get(output_uri_of(row), lambda: spend_of_run(self.run(row, store=store)))

    def multipliers(self, row: Run, name: str, *, store: ObjectStore) -> pd.DataFrame | None:
        """Return multiplier and bids of a published table of multipliers; None where the run has none.

        Raises:
            RunStateError, ArtifactError, UnavailableError: as `load_multipliers`.
        """
        figures = self.figures(row, store=store)
        if name not in {item.name for item in figures.manifest.objects}:
            return None
        key = figures.output_uri + name
        return self._multipliers.get(key, lambda: load_multipliers(row, figures, name, store=store))

    def compare(self, earlier: Run, later: Run, *, store: ObjectStore) -> ComparedPair:
        """Return what changed from the earlier run to the later one.

        Raises:
            RunStateError, ArtifactError, UnavailableError: as `run`.
        """
        before, after = (self.run(row, store=store) for row in (earlier, later))
        key = f"{output_uri_of(earlier)} {output_uri_of(later)}"
        return self._pairs.get(key, lambda: compare_published(before, after))
