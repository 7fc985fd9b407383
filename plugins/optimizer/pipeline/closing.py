"""close_run and the guard around every step: however a run ends, its row says so."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from optimizer.control_plane import runs, transitions
from optimizer.control_plane.records import Run
from optimizer.errors import OptimizerError, RunCancelled, RunStateError
from optimizer.pipeline.heartbeat import BEAT_S, beating
from optimizer.pipeline.run import RunHandle
from optimizer.pipeline.systems import Systems
from optimizer.pipeline.tracking import track_end

log = logging.getLogger(__name__)

REPEATABLE_AFTER_COMPLETION = frozenset({"register"})
"""Steps that check the run's state in their own transaction: a retry may find their work done."""


def guarded(
    run: RunHandle,
    step: Callable[[], dict[str, Any]],
    *,
    name: str,
    systems: Systems,
    now: datetime,
    beat_s: float = BEAT_S,
) -> dict[str, Any]:
    """Return what the step returns, if the run is still running; its error stands on the run until a try succeeds.

    The run gives a sign of life every `beat_s` seconds meanwhile.

    Raises:
        RunCancelled: somebody cancelled the run before the step or while it worked; its result counts for nothing.
        RunStateError: the run was finished before.
    """
    engine = systems.engine
    if not (name in REPEATABLE_AFTER_COMPLETION and runs.read_run(engine, run.run_id).status == "completed"):
        transitions.require_running(engine, run.run_id, now=now)
    try:
        with beating(engine, run.run_id, every_s=beat_s):
            result = step()
    except BaseException as error:  # a time-out of Airflow's is no Exception
        _note(run, f"{name}: {error}", systems=systems)
        raise
    transitions.clear_error(engine, run.run_id)
    _pass_unless_cancelled(run, systems)
    return result


def _note(run: RunHandle, message: str, *, systems: Systems) -> None:
    """Note the step's error on the run's row; an error in a cancelled run is the cancelling's, and raised as such."""
    try:
        transitions.note_error(systems.engine, run.run_id, message)
        _pass_unless_cancelled(run, systems)
    except RunCancelled:
        raise
    except OptimizerError as silent:
        log.warning("the error of run %s could not be noted on its row: %s", run.run_id, silent)


def _pass_unless_cancelled(run: RunHandle, systems: Systems) -> None:
    row = runs.read_run(systems.engine, run.run_id)
    if row.status == "cancelled":
        raise transitions.wrong_state(row, needed="running")


def close_run(
    *, dag_id: str, dag_run_id: str, failed_tasks: Sequence[str], systems: Systems, now: datetime
) -> dict[str, Any]:
    """Leave the DAG run's row completed or failed and return its final state.

    Raises:
        RunStateError: the run is not a success (failed, cancelled, validation failed, or not promoted though it should
            be), so that the DAG run shows red and alerts.
    """
    row = runs.read_run_by_dag_run(systems.engine, dag_id=dag_id, dag_run_id=dag_run_id)
    if row is None:
        raise RunStateError(f"{dag_id} {dag_run_id} has no row in opt_runs; see the log of snapshot_config")
    if row.status in ("pending", "running"):
        unanswered = f"{', '.join(failed_tasks) or 'a task'} ended without an answer; see its log in Airflow"
        message = row.error_message or unanswered
        transitions.fail_run(systems.engine, row.run_id, message=message, now=now)
        row = runs.read_run(systems.engine, row.run_id)
    track_end(row, systems=systems)
    if row.status == "cancelled":
        return _close_cancelled(row, systems, now=now)
    if row.status != "completed":
        raise RunStateError(f"run {row.run_id} {row.status}: {row.error_message}")
    if row.validation_status != "passed":
        raise RunStateError(
            f"run {row.run_id} is completed but its validation failed, it was not promoted: {row.error_message}"
        )
    if failed_tasks:
        raise RunStateError(
            f"run {row.run_id} is completed but {', '.join(failed_tasks)} failed; see the task's log in Airflow"
        )
    return _end_of(row)


def _close_cancelled(row: Run, systems: Systems, *, now: datetime) -> dict[str, Any]:
    # Only a dry run that came to its end has a validation_status.
    if row.validation_status is None:
        transitions.complete_cancellation(systems.engine, row.run_id, now=now)
        message = runs.read_run(systems.engine, row.run_id).error_message
        raise RunCancelled(f"run {row.run_id} cancelled: {message}")
    if row.validation_status != "passed":
        raise RunStateError(f"run {row.run_id}: {row.error_message}")
    return _end_of(row)


def _end_of(row: Run) -> dict[str, Any]:
    states = {"run_id": row.run_id, "status": row.status, "validation_status": row.validation_status}
    return {**states, "validation": row.outcome}
