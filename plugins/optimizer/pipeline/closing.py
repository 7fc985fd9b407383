"""close_run and the guard around every step: however a run ends, its row says so."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from optimizer.control_plane import runs, transitions
from optimizer.errors import OptimizerError, RunStateError
from optimizer.pipeline.run import RunHandle
from optimizer.pipeline.systems import Systems

log = logging.getLogger(__name__)

REPEATABLE_AFTER_COMPLETION = frozenset({"register"})
"""Steps that check the run's state in their own transaction: a retry may find their work done."""


def guarded(
    run: RunHandle, step: Callable[[], dict[str, Any]], *, name: str, systems: Systems, now: datetime
) -> dict[str, Any]:
    """Return what the step returns, if the run is still running; its error stands on the run until a try succeeds.

    Raises:
        RunStateError: the run was cancelled or finished meanwhile.
    """
    engine = systems.engine
    if not (name in REPEATABLE_AFTER_COMPLETION and runs.read_run(engine, run.run_id).status == "completed"):
        transitions.require_running(engine, run.run_id, now=now)
    try:
        result = step()
    except BaseException as error:  # a time-out of Airflow's is no Exception
        try:
            transitions.note_error(engine, run.run_id, f"{name}: {error}")
        except OptimizerError as silent:
            log.warning("the error of run %s could not be noted on its row: %s", run.run_id, silent)
        raise
    transitions.clear_error(engine, run.run_id)
    return result


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
    return {"run_id": row.run_id, "status": row.status, "validation_status": row.validation_status}
