"""A run: its life, numbers, checks, live days against the forecast, files and settings.

The control plane knows of every run; the forecast and the checks are in its published files. Where those are away, the
answer has the rest and says what is missing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from fastapi import HTTPException
from pydantic import BaseModel

from optimizer.console.access import Visitor
from optimizer.console.answers.run_contents import File, Setting, files_of, settings_shown
from optimizer.console.answers.run_forecast import Number, counts_of, numbers_of, sentences_of
from optimizer.console.answers.run_history import Day, Event, Share, Step, day_of, events_of, share_of, steps_of
from optimizer.console.context import Context
from optimizer.control_plane.live_rows import LiveVerdict
from optimizer.control_plane.records import Run
from optimizer.control_plane.run_views import find_owner, read_view
from optimizer.core.checks.outcome import CheckRecord, checks_of, going_live, held_by
from optimizer.errors import OptimizerError
from optimizer.runs.published_run import PublishedFigures

DRY_RUN_NOTE = "A dry run can never be deployed; start a run with these values to get one that can."

_VERDICTS = ("failed", "holds", "warning", "passed")

T = TypeVar("T")


class Missing(BaseModel):
    """A part of the answer that could not be read, and why."""

    part: str
    why: str


class RunAnswer(BaseModel):
    """A run.

    outcome: passed, passed with n warnings, or failed; None before its validation.
    sentences: what is learned, and what limits the target, where there is something to say.
    checks: those that did not pass first.
    traffic_pct: of the traffic now; 0 where it is not live.
    is_in_airflow: whether Airflow has its DAG run, or does not answer; it has none of a replayed run.
    tracking_name: its name in the tracking service, whose client_id of it is the run_id; is_tracked: whether it was
        sent there.
    """

    run_id: str
    entity_code: str
    status: str
    is_dry_run: bool
    is_running: bool
    outcome: str | None
    going_live: str
    problem: str | None
    triggered_by: str
    trigger_type: str
    window_start: datetime | None
    window_end: datetime | None
    dag_id: str | None
    dag_run_id: str | None
    is_in_airflow: bool
    tracking_name: str
    is_tracked: bool
    traffic_pct: int
    numbers: list[Number]
    sentences: list[str]
    counts: dict[str, float | int | None]
    features: list[str]
    checks: list[CheckRecord]
    events: list[Event]
    steps: list[Step]
    shares: list[Share]
    verdicts: list[LiveVerdict]
    days: list[Day]
    settings: list[Setting]
    files: list[File]
    missing: list[Missing]


@dataclass(frozen=True, slots=True)
class OwnedRun:
    """A run that the visitor may read."""

    row: Run
    entity_code: str


def find_run(asked: Context, run_id: str) -> OwnedRun:
    """Return the run.

    Raises:
        HTTPException: 404, there is none, or the visitor may not read its client.
    """
    found = find_owner(asked.systems.engine, run_id)
    if found is None or not _is_readable(asked.visitor, found[1]):
        raise HTTPException(
            404,
            f"run {run_id!r} does not exist, or you may not read the DAG of its client; look it up in the list of runs",
        )
    return OwnedRun(*found)


def _is_readable(visitor: Visitor, entity_code: str) -> bool:
    return entity_code in visitor.readable([entity_code])


def read_run(asked: Context, found: OwnedRun) -> RunAnswer:
    """Return all that is known of the run; what cannot be read is named in `missing`."""
    row, missing = found.row, list[Missing]()
    view = read_view(asked.systems.engine, row, found.entity_code)
    figures = _read_figures(asked, row, missing)
    steps: list[Step] | None = _read_or(missing, "the tasks of its DAG run", lambda: steps_of(asked, row), None)
    metrics: Mapping[str, Any] = {} if figures is None else figures.metrics
    checks = sorted(checks_of(metrics), key=lambda check: _VERDICTS.index(check.verdict))
    return RunAnswer(
        run_id=row.run_id,
        entity_code=found.entity_code,
        status=row.status_text,
        is_dry_run=row.is_dry_run,
        is_running=row.status in ("pending", "running"),
        outcome=row.outcome,
        going_live=_going_live(row, checks),
        problem=row.error_message,
        triggered_by=row.triggered_by,
        trigger_type=row.trigger_type,
        window_start=row.data_start_dt,
        window_end=row.data_end_dt,
        dag_id=row.dag_id,
        dag_run_id=row.dag_run_id,
        is_in_airflow=row.dag_run_id is not None and (steps is None or bool(steps)),
        tracking_name=f"{found.entity_code} {row.run_code}",
        is_tracked=bool(metrics.get("tracking")),
        traffic_pct=sum(one.traffic_pct for one in view.deployments if one.is_active),
        numbers=numbers_of(row, metrics),
        sentences=sentences_of(row, metrics),
        counts=counts_of(row, metrics),
        features=[feature.feature_name for feature in view.features],
        checks=checks,
        events=events_of(view),
        steps=steps or [],
        shares=[share_of(one) for one in view.deployments],
        verdicts=list(view.verdicts),
        days=[day_of(one) for one in view.days],
        settings=settings_shown(row, figures),
        files=files_of(view, figures),
        missing=missing,
    )


def _read_figures(asked: Context, row: Run, missing: list[Missing]) -> PublishedFigures | None:
    """The run's small files; a run that has none yet, or none anymore, misses nothing that could be read."""
    if not row.s3_output_path and not row.is_finished_dry_run:
        return None
    part = "its forecast, checks and files" if row.outputs_removed_at is None else "its forecast and checks"
    return _read_or(missing, part, lambda: asked.published.figures(row, store=asked.systems.store), None)


def _read_or(missing: list[Missing], part: str, read: Callable[[], T], otherwise: T) -> T:
    try:
        return read()
    except OptimizerError as error:
        missing.append(Missing(part=part, why=str(error)))
        return otherwise


def _going_live(row: Run, checks: Sequence[CheckRecord]) -> str:
    if row.is_dry_run:
        return DRY_RUN_NOTE
    if row.status in ("pending", "running"):
        return "The run is not finished."
    holds = held_by(checks) if checks else None
    return going_live(row.validation_status, row.validation_warnings, holds=holds)
