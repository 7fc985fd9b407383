"""One run as the tasks of its DAG make it, in this process and at a moment of the past."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from optimizer.control_plane import runs
from optimizer.control_plane.audit import system
from optimizer.control_plane.records import Run
from optimizer.errors import OptimizerError, RunStateError
from optimizer.lifecycle.guard import guarded
from optimizer.lifecycle.heartbeat import BEAT_S
from optimizer.names import DAG_PREFIX
from optimizer.runs.handle import RunHandle
from optimizer.runs.systems import Systems
from optimizer.steps import (
    approve,
    close_run,
    compute_bids,
    extract,
    register,
    select_features,
    snapshot_config,
    train_models,
    upload,
    validate,
)
from optimizer.steps.promote import promote
from optimizer.training.job import REPORT_FILE, TrainingReport, Trial

DAG_RUN_PREFIX = "replay__"
"""The dag_run_id of a replayed run is this and the moment: Airflow has no such DAG run."""

APPROVER, APPROVAL = "anna", "the forecast is plausible, and the control keeps its share"
"""The user who approves the first run, and why."""

COMPUTED_AFTER, PROMOTED_AFTER = timedelta(minutes=8), timedelta(minutes=10)
"""How long after its start a run is published, and goes live."""

STEPS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "extract": extract.extract,
    "select_features": select_features.select_features,
    "train_models": train_models.train_models,
    "compute_bids": compute_bids.compute_bids,
    "validate": validate.validate,
    "upload": upload.upload,
    "register": register.register,
}
"""The steps between the start of a run and its promotion, by the names of their tasks, in order."""

TIMED_STEPS = ("upload", "register")
"""The steps that take the moment at which they run."""

NO_BEAT_S = 86_400.0
"""A heartbeat would be of the present."""


@dataclass(frozen=True, slots=True)
class RunOrder:
    """Who starts a run, when, and with which values; `values` are config values of this run alone."""

    entity_code: str
    at: datetime
    values: Mapping[str, Any]
    triggered_by: str = "airflow"
    trigger_type: str = "cron"

    @property
    def dag_run(self) -> dict[str, str]:
        """The DAG and the DAG run that the run's row names."""
        return {
            "dag_id": DAG_PREFIX + self.entity_code,
            "dag_run_id": f"{DAG_RUN_PREFIX}{self.at:%Y-%m-%dT%H:%M:%S}",
        }


def make_run(order: RunOrder, *, systems: Systems) -> Run:
    """Start the run, take it through its steps, put it live as its config says, close it, and return its row.

    A step that fails ends the run as in Airflow: it is closed as failed, with the incident `run_failed`. A run that has
    ended before is returned as it is.
    """
    found = runs.read_run_by_dag_run(systems.engine, **order.dag_run)
    if found is not None and found.status not in ("pending", "running"):
        return found
    request = snapshot_config.RunRequest(
        entity_code=order.entity_code,
        as_of=order.at,
        triggered_by=order.triggered_by,
        trigger_type=order.trigger_type,
        values=order.values,
        **order.dag_run,
    )
    handle = snapshot_config.snapshot_config(request, systems=systems, now=order.at)
    failed_tasks = _run_steps(handle, now=order.at + COMPUTED_AFTER, systems=systems)
    ended_at = order.at + PROMOTED_AFTER
    if not failed_tasks:
        _promote(handle, systems=systems, now=ended_at)
    # It has left the error on the run's row, and opened the incident.
    with suppress(RunStateError):
        close_run.close_run(**order.dag_run, failed_tasks=failed_tasks, systems=systems, now=ended_at)
    return runs.read_run(systems.engine, handle.run_id)


def run_step(
    handle: RunHandle, name: str, *, systems: Systems, now: datetime, beat_s: float = BEAT_S, **options: Any
) -> dict[str, Any]:
    """Run one of STEPS behind its guard, as its task does, and return what it returns; raises as the step.

    Args:
        options: of the step itself.
    """
    timed = {"now": now} if name in TIMED_STEPS else {}
    step = partial(STEPS[name], handle, **timed, **options)
    return guarded(handle, lambda own: step(systems=own), name=name, systems=systems, now=now, beat_s=beat_s)


def _run_steps(handle: RunHandle, *, now: datetime, systems: Systems) -> tuple[str, ...]:
    """The step that failed, or none."""
    for name in STEPS:
        options = {"run_training": _train_here} if name == "train_models" else {}
        try:
            run_step(handle, name, systems=systems, now=now, beat_s=NO_BEAT_S, **options)
        except OptimizerError:
            return (name,)
    return ()


def _train_here(folder: Path, *, on_trial: Callable[[Trial], None]) -> TrainingReport:
    """Run the job of the folder in this process, which forks no task: a fresh one would load libraries for seconds."""
    from optimizer.training.fitting import fit_models

    fit_models(folder, on_trial=on_trial)
    return TrainingReport.model_validate_json((folder / REPORT_FILE).read_text())


def _promote(handle: RunHandle, *, systems: Systems, now: datetime) -> None:
    """Put the run live; where it asks for approval, APPROVER gives it."""
    request = approve.request_of(handle, systems=systems)
    approved_by, comment = None, ""
    if isinstance(request, approve.ApprovalRequest):
        approved_by, comment = APPROVER, APPROVAL
        approve.note_waiting(handle, request, systems=systems, now=now)
        answer = approve.ApprovalAnswer(is_approved=True, name=APPROVER, reason=APPROVAL)
        approve.record_answer(handle, answer, systems=systems, now=now)
    author = system(DAG_PREFIX + handle.entity_code)
    promote(handle, systems=systems, author=author, now=now, approved_by=approved_by, comment=comment)
