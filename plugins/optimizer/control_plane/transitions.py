"""Move a run through its states: pending, running, then completed, failed or cancelled.

Each move is one UPDATE that names the states it may leave, so a late or repeated task cannot revive a finished run.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, func, select, update

from optimizer.control_plane.audit import AuditedChange, Author, write_audit
from optimizer.control_plane.engine import reading, transaction
from optimizer.control_plane.records import Run, status_words
from optimizer.control_plane.tables import runs
from optimizer.errors import RunCancelled, RunCompleted, RunStateError, RunTaken

MAX_MESSAGE_LENGTH = 10_000  # characters; four bytes each still fit MySQL's TEXT

_NEXT_STEPS = {
    "pending": "start it first",
    "running": "wait for it or cancel it",
    "completed": "its results stand; start a new run for new ones",
    "failed": "read its error_message and start a new run",
    "cancelled": "start a new run of the entity",
}


def start_run(
    engine: Engine,
    run_id: str,
    *,
    config_snapshot: Mapping[str, Any],
    data_start_at: datetime,
    data_end_at: datetime,
    now: datetime,
    is_dry_run: bool = False,
) -> Run:
    """Freeze window and merged config on the pending run, set it running and return it.

    A run that is running already is returned with the snapshot it has, whatever is passed: a retried task goes on
    with the config that the run began with.

    Raises:
        RunStateError: the run is finished, or there is none.
    """
    values = {"status": "running", "config_snapshot": dict(config_snapshot), "started_at": now, "heartbeat_at": now}
    values |= {"data_start_dt": data_start_at, "data_end_dt": data_end_at, "is_dry_run": is_dry_run}
    with transaction(engine) as connection:
        move_run(connection, run_id, leaving=("pending",), values=values)
        return _expect_running(connection, run_id)


def take_run(engine: Engine, run_id: str, *, holder: str, now: datetime) -> Run:
    """Give the running run to a copy of a task and return it; the copy that held it before loses it.

    Args:
        holder: a name that no other copy has.

    Raises:
        RunCancelled: a user cancelled the run.
        RunStateError: the run is not running for another reason.
    """
    with transaction(engine) as connection:
        move_run(connection, run_id, leaving=("running",), values={"heartbeat_at": now, "held_by": holder})
        return _expect_running(connection, run_id)


def require_running(engine: Engine, run_id: str, *, now: datetime, holder: str | None = None) -> Run:
    """Note a sign of life and return the running run; every task calls it before it writes.

    Args:
        holder: the copy of a task that asks; None skips the check of who holds the run.

    Raises:
        RunTaken: another copy has taken the run over.
        RunCancelled: a user cancelled the run.
        RunStateError: the run is not running for another reason.
    """
    with transaction(engine) as connection:
        move_run(connection, run_id, leaving=("running",), values={"heartbeat_at": now}, holder=holder)
        return _expect_running(connection, run_id, holder=holder)


def require_held(engine: Engine, run_id: str, *, holder: str) -> Run:
    """Return the running run where the copy of a task still holds it; raises as `require_running`."""
    with reading(engine) as connection:
        return _expect_running(connection, run_id, holder=holder)


def note_error(engine: Engine, run_id: str, message: str, *, holder: str | None = None) -> None:
    """Write the message on a run that is pending or running, and leave a finished or another copy's run alone."""
    values = {"error_message": fit_message(message)}
    with transaction(engine) as connection:
        move_run(connection, run_id, leaving=("pending", "running"), values=values, holder=holder)


def clear_error(engine: Engine, run_id: str, *, holder: str | None = None) -> None:
    """Take a message off a run that is running again after a try that failed."""
    with transaction(engine) as connection:
        move_run(connection, run_id, leaving=("running",), values={"error_message": None}, holder=holder)


def fail_outlived(engine: Engine, *, dag_id: str, started_before: datetime, message: str, now: datetime) -> int:
    """Set the DAG's running runs failed that started before the moment; return how many there were.

    A DAG run that times out or is ended by hand may never come to close its run.
    """
    outlived = (runs.c.dag_id == dag_id, runs.c.status == "running", runs.c.started_at < started_before)
    values = {"status": "failed", "error_message": fit_message(message), "completed_at": now}
    with transaction(engine) as connection:
        return connection.execute(update(runs).where(*outlived).values(**values)).rowcount


def fail_run(engine: Engine, run_id: str, *, message: str, now: datetime) -> bool:
    """Set a pending or running run failed; return whether it was one."""
    return _finish(engine, run_id, {"status": "failed", "error_message": fit_message(message), "completed_at": now})


def fail_silent(engine: Engine, run_id: str, *, silent_since: datetime, message: str, now: datetime) -> bool:
    """Set an open run failed that gave no sign of life after the moment; return whether it was one."""
    last_sign = func.coalesce(runs.c.heartbeat_at, runs.c.created_at)
    is_silent = (
        runs.c.run_id == run_id,
        runs.c.status.in_(status_words("pending", "running")),
        last_sign < silent_since,
    )
    values = {"status": "failed", "error_message": fit_message(message), "completed_at": now}
    with transaction(engine) as connection:
        return connection.execute(update(runs).where(*is_silent).values(**values)).rowcount == 1


def complete_cancellation(engine: Engine, run_id: str, *, now: datetime) -> None:
    """Give a cancelled run the end and the message that the writer of its status left out."""
    is_cancelled = (runs.c.run_id == run_id, runs.c.status == "cancelled")
    with transaction(engine) as connection:
        for column, value in ((runs.c.completed_at, now), (runs.c.error_message, "cancelled in the control plane")):
            connection.execute(update(runs).where(*is_cancelled, column.is_(None)).values({column: value}))


def cancel_run(engine: Engine, run_id: str, *, author: Author, now: datetime) -> bool:
    """Set a pending or running run cancelled, with who did it and why; return whether it was one.

    The change leaves a row in opt_audit.

    Raises:
        RunStateError: there is no such run.
    """
    reason = f": {author.comment}" if author.comment else ""
    message = fit_message(f"cancelled by {author.name}{reason}")
    values = {"status": "cancelled", "error_message": message, "completed_at": now}
    with transaction(engine) as connection:
        run = find_run(connection, run_id, lock=True)
        is_cancelled = move_run(connection, run_id, leaving=("pending", "running"), values=values)
        if is_cancelled:
            write_audit(
                connection,
                author,
                AuditedChange(
                    "cancel",
                    entity_id=run.entity_id,
                    run_id=run_id,
                    before={"status": run.status},
                    after={"status": "cancelled"},
                ),
                now=now,
            )
    return is_cancelled


def find_run(connection: Connection, run_id: str, *, lock: bool = False) -> Run:
    """Return the run inside a transaction; `lock` keeps its row from everybody else until the end.

    Raises:
        RunStateError: there is no such run.
    """
    statement = select(runs).where(runs.c.run_id == run_id)
    row = connection.execute(statement.with_for_update() if lock else statement).mappings().one_or_none()
    if row is None:
        raise RunStateError(f"run {run_id} is not in opt_runs; check the run_id, `optimizer runs` lists them")
    return Run.model_validate(dict(row))


def move_run(
    connection: Connection,
    run_id: str,
    *,
    leaving: tuple[str, ...],
    values: Mapping[str, Any],
    holder: str | None = None,
) -> bool:
    """Update the run where it is in one of the states, and of this holder if one is named; return if a row changed.

    Some connections count a row that held these very values as unchanged: only a change of status proves a move.
    """
    where = [runs.c.run_id == run_id, runs.c.status.in_(status_words(*leaving))]
    if holder is not None:
        where.append(runs.c.held_by == holder)
    return connection.execute(update(runs).where(*where).values(**values)).rowcount == 1


def check_held(run: Run, *, holder: str) -> None:
    """Pass where the copy of a task holds the run.

    Raises:
        RunTaken: another copy does.
    """
    if run.held_by != holder:
        raise RunTaken(
            f"run {run.run_id}: this copy of the task ({holder}) lost: {run.held_by} took the run over; this copy "
            "stops, and what it has made counts for nothing"
        )


def wrong_state(run: Run, *, needed: str) -> RunStateError:
    """Return the error that says which state the run is in, and what to do."""
    noted = f" ({run.error_message})" if run.error_message else ""
    kind = {"cancelled": RunCancelled, "completed": RunCompleted}.get(run.status, RunStateError)
    return kind(f"run {run.run_id} is {run.status}, not {needed}{noted}; {_NEXT_STEPS[run.status]}")


def _finish(engine: Engine, run_id: str, values: Mapping[str, Any]) -> bool:
    with transaction(engine) as connection:
        return move_run(connection, run_id, leaving=("pending", "running"), values=values)


def _expect_running(connection: Connection, run_id: str, *, holder: str | None = None) -> Run:
    run = find_run(connection, run_id)
    if run.status != "running":
        raise wrong_state(run, needed="running")
    if holder is not None:
        check_held(run, holder=holder)
    return run


def fit_message(message: str) -> str:
    """Return the message as the column can hold it: a stack trace may be long, or hold half a character."""
    return message.encode("utf-8", "replace").decode("utf-8")[:MAX_MESSAGE_LENGTH]
