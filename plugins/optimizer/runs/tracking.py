"""What an optimizer run logs in the tracking service: one run there, its trials as iterations, its held-out segments.

A run never fails and barely waits if tracking does not answer: unsent entries stay on this machine for the next
run, and the figures of section `tracking` say so. Both ends of a run go on with the same one in the service, which is
found by its run_id: training opens it and logs, `close_run` ends it.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from optimizer.control_plane import runs
from optimizer.control_plane.records import Run
from optimizer.core.records.tracking import TrackingFigures
from optimizer.errors import OptimizerError
from optimizer.runs.handle import RunHandle, settings_of
from optimizer.runs.systems import Systems

if TYPE_CHECKING:
    from optimizer.training.job import TrainingReport, Trial

OPTIMIZER_TYPE = "rtb"
METRIC = "log loss of the win-rate model on held-out segments"
PLANNED = "plannedIterations"
"""What `python -m optimization_tracking watch` draws its bar by."""

_UNSENT = ("waiting", "dropped", "refused")

log = logging.getLogger(__name__)


class TrackedTraining:
    """The training's part: a log of trials, or of the one fit. Without a service it does nothing.

    figures: what became of the entries; empty where no service is configured.
    """

    def __init__(self, run_log: Any | None) -> None:
        self._log = run_log
        self._trials = 0
        self.figures = TrackingFigures()

    def log_trial(self, trial: "Trial") -> None:
        """Log a trial of the tuning: its parameters, its loss over the folds, its held-out segments."""
        self._trials += 1
        if self._log is not None:
            metadata = {"foldLosses": trial.fold_losses, **({"error": trial.error} if trial.error else {})}
            _log_iteration(
                self._log,
                trial.number,
                samples=trial.samples,
                score=trial.loss,
                params=trial.parameters.model_dump(),
                duration_ms=round(1000 * trial.seconds),
                metadata=metadata,
            )

    def log_fit(self, report: "TrainingReport") -> None:
        """Log what the run was fitted with; as an iteration where no trial was logged before it."""
        if self._log is None:
            return
        tuning = report.tuning
        if not self._trials:
            _log_iteration(self._log, 0, samples=report.held_out, score=report.wr_model_logloss, params={})
        changes: dict[str, Any] = {"final_score": report.wr_model_logloss}
        if tuning is not None and tuning.later_best_loss is not None:
            used = tuning.later_best_loss if tuning.is_used else tuning.later_usual_loss
            changes = {"initial_score": tuning.later_usual_loss, "final_score": used}
            changes["best_program"] = None if tuning.parameters is None else tuning.parameters.model_dump()
        figures = report.model_dump(exclude={"held_out", "calibration"}, mode="json")
        self._log.update(evaluation_results={"training": figures}, **changes)

    def close(self) -> None:
        """Send what waits, for some seconds at most, and note what became of it."""
        if self._log is None:
            return
        report = self._log.close()
        unsent = {name: float(sum(getattr(report, name).values())) for name in _UNSENT}
        self.figures = TrackingFigures(
            is_complete=float(report.is_complete), sent=float(sum(report.sent.values())), **unsent
        )


def _log_iteration(run_log: Any, number: int, *, samples: list[dict[str, Any]], **fields: Any) -> None:
    counts = {"samples_in_iteration": len(samples)}
    counts["successful_samples"] = sum(sample["is_within_chance"] for sample in samples)
    run_log.log_iteration(number, **counts, **fields)
    run_log.log_samples(number, map(_sample, samples))


@contextmanager
def tracked_training(run: RunHandle, *, systems: Systems) -> Iterator[TrackedTraining]:
    """Yield what training logs into; at the end of the block its figures are known."""
    run_log = None
    if systems.track_run is not None:
        run_log = _open(runs.read_run(systems.engine, run.run_id), systems)
    tracked = TrackedTraining(run_log)
    if systems.track_run is not None and run_log is None:
        tracked.figures = TrackingFigures(is_complete=0.0)
    try:
        yield tracked
    finally:
        tracked.close()


def track_end(row: Run, *, systems: Systems) -> None:
    """End the run in the tracking service as its row has ended, even if training never started."""
    if systems.track_run is None or (run_log := _open(row, systems)) is None:
        return
    try:
        outcome = {
            "validationStatus": row.validation_status,
            "validationWarnings": row.validation_warnings,
            "segments": row.segments_count,
            "bidMedian": row.bid_median,
        }
        run_log.end(row.status, error_message=row.error_message, metadata={**_metadata(row), **outcome})
    finally:
        run_log.close()


def _open(row: Run, systems: Systems) -> Any | None:
    """Return the log of the row's run in the tracking service; the same words each time make it the same run."""
    if systems.track_run is None:
        return None
    try:
        snapshot: Mapping[str, Any] = row.config_snapshot or {}
        return systems.track_run(
            f"{_entity_code(row)} {row.run_code}",
            optimizer_type=OPTIMIZER_TYPE,
            client_id=row.run_id,
            start_time=row.started_at or row.created_at,
            direction="minimize",
            metric=METRIC,
            config={
                section: snapshot[section] for section in ("business", "technical", "static") if section in snapshot
            },
            metadata=_metadata(row),
            tags=[_entity_code(row)],
        )
    except OptimizerError as error:
        log.warning("run %s is not tracked, it goes on: %s", row.run_id, error)
        return None


def _metadata(row: Run) -> dict[str, Any]:
    snapshot = row.config_snapshot or {}
    trials = settings_of(row).tuning_trials if snapshot else 0
    places = {"runId": row.run_id, "dagId": row.dag_id, "dagRunId": row.dag_run_id}
    known = {name: value for name, value in places.items() if value is not None}
    return {"entity": _entity_code(row), PLANNED: max(1, trials), **known}


def _entity_code(row: Run) -> str:
    snapshot = row.config_snapshot or {}
    return snapshot["inputs"]["entity_code"] if snapshot else f"entity {row.entity_id}"


def _sample(sample: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "input": {"segmentKey": sample["segment_key"], "bids": sample["bids"]},
        "predicted_output": {"winRate": sample["predicted"]},
        "expected_output": {"winRate": sample["observed"]},
        "score": sample["loss"],
        "is_correct": sample["is_within_chance"],
    }
