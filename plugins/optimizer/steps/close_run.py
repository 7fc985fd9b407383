"""close_run: records on the run's row how the run ended."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from optimizer.control_plane import runs, transitions
from optimizer.control_plane.entities import read_entity_id
from optimizer.control_plane.records import Run
from optimizer.deployment import run_incidents
from optimizer.errors import RunCancelled, RunStateError
from optimizer.names import DAG_PREFIX
from optimizer.runs.systems import Systems
from optimizer.runs.tracking import track_end


def close_run(
    *, dag_id: str, dag_run_id: str, failed_tasks: Sequence[str], systems: Systems, now: datetime
) -> dict[str, Any]:
    """Leave the DAG run's row completed or failed and return its final state.

    A run that is not a success opens the entity's incident `run_failed`, and the next completed run closes it.

    Raises:
        RunStateError: the run is not a success (failed, cancelled, validation failed, or not promoted though it should
            be), so that the DAG run shows red and alerts.
    """
    row = runs.read_run_by_dag_run(systems.engine, dag_id=dag_id, dag_run_id=dag_run_id)
    entity_code = dag_id.removeprefix(DAG_PREFIX)
    entity_id = read_entity_id(systems.engine, entity_code) if row is None else row.entity_id
    try:
        if row is None:
            raise RunStateError(f"{dag_id} {dag_run_id} has no row in opt_runs; see the log of snapshot_config")
        end = _close(row, failed_tasks=failed_tasks, systems=systems, now=now)
    except RunCancelled:
        run_incidents.close_approval(systems.engine, entity_id, now=now)
        raise
    except RunStateError as error:
        run_incidents.open_failure(systems.engine, entity_id, message=f"entity {entity_code}: {error}", now=now)
        raise
    if end["status"] == "completed":
        run_incidents.close_failure(systems.engine, entity_id, now=now)
    return end


def _close(row: Run, *, failed_tasks: Sequence[str], systems: Systems, now: datetime) -> dict[str, Any]:
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
