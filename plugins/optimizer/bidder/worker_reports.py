"""What the workers of one bidder tell each other: a file each, in a folder that ends with them.

A worker writes its file once a second, and before it answers /metrics or /health. The worker that is asked reads all of
them, so that every one gives the same answer, and no counter falls from one scrape to the next. A worker that takes
the place of another goes on with its counters.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from optimizer.bidder.metrics import Measures
from optimizer.bidder.tally import Durations

INTERVAL_S = 1.0
"""Between two reports of a worker."""

LATE = timedelta(seconds=10)
"""A worker that did not report for so long is not counted among those that answer."""

log = logging.getLogger(__name__)


class Report(BaseModel):
    """What a worker says of itself.

    generations: what it serves, by entity. numbers, durations: its measures, those of its predecessors included.
    """

    model_config = ConfigDict(frozen=True)

    worker: int
    pid: int
    started_at: datetime
    reported_at: datetime
    status: str
    last_refresh: dict[str, Any] | None
    last_success_at: str | None
    generations: Mapping[str, str]
    numbers: tuple[tuple[tuple[str, ...], float], ...]
    durations: Mapping[str, Durations]

    @property
    def measures(self) -> Measures:
        """Its metrics."""
        return Measures(dict(self.numbers), self.durations)


class WorkerReports:
    """The reports of all workers, seen from one of them."""

    def __init__(
        self,
        folder: Path,
        *,
        worker: int,
        health: Callable[[], Mapping[str, Any]],
        measure: Callable[[], Measures],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Report what `health` and `measure` say of worker number `worker`."""
        self._folder, self.worker, self._health, self._measure, self._clock = folder, worker, health, measure, clock
        self._started_at, self._lock = clock(), threading.Lock()
        predecessor = self._read(self._path(worker))
        self._inherited = [] if predecessor is None else [predecessor.measures.counted()]

    def publish(self) -> None:
        """Write this worker's report."""
        with self._lock:
            health, measures = self._health(), Measures.combine([self._measure(), *self._inherited])
            report = Report(
                worker=self.worker,
                pid=os.getpid(),
                started_at=self._started_at,
                reported_at=self._clock(),
                status=health["status"],
                last_refresh=health["last_refresh"],
                last_success_at=health["last_success_at"],
                generations={code: entity["generation"] for code, entity in health["entities"].items()},
                numbers=tuple(measures.numbers.items()),
                durations=measures.durations,
            )
            path = self._path(self.worker)
            written = path.with_suffix(".new")
            try:
                written.write_text(report.model_dump_json(), encoding="utf-8")
                written.replace(path)
            except OSError as error:  # no report is worth a bid
                log.error("the report %s was not written: %s", path, error)

    def read_all(self) -> list[Report]:
        """Publish, and return the reports of all workers, in the order of their numbers."""
        self.publish()
        found = [self._read(path) for path in self._folder.glob("*.json")]
        return sorted((it for it in found if it is not None), key=lambda report: report.worker)

    def measure_all(self) -> Measures:
        """Return the metrics of all workers together; the counters of one that does not report any more stay."""
        reports, now = self.read_all(), self._clock()
        live = [it for it in reports if now - it.reported_at < LATE]
        parts = [it.measures if it in live else it.measures.counted() for it in reports]
        combined = Measures.combine(parts)
        generations: dict[tuple[str, ...], float] = {
            ("generations", code): len(found) for code, found in _generations(live).items()
        }
        return Measures({**combined.numbers, **generations}, combined.durations)

    def describe_all(self) -> dict[str, Any]:
        """Return which worker serves what, as JSON's types.

        is_mixed: two of them serve different generations of an entity, as in the seconds of a refresh.
        """
        reports = self.read_all()
        shown = [report.model_dump(mode="json", exclude={"numbers", "durations"}) for report in reports]
        is_mixed = any(len(found) > 1 for found in _generations(reports).values())
        return {"worker": self.worker, "is_mixed": is_mixed, "workers": shown}

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """Publish every second, in a thread, until the block ends."""
        ended = threading.Event()

        def publish() -> None:
            while not ended.wait(INTERVAL_S):
                self.publish()

        thread = threading.Thread(target=publish, name="bidder-reports", daemon=True)
        self.publish()
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self.publish()

    def _path(self, worker: int) -> Path:
        return self._folder / f"{worker}.json"

    def _read(self, path: Path) -> Report | None:
        try:
            return Report.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None


def _generations(reports: list[Report]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for report in reports:
        for code, generation in report.generations.items():
            found.setdefault(code, set()).add(generation)
    return found
