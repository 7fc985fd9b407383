"""Claim the pending runs that the UI inserted: each gets its DAG run once, however many processes claim."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, case, literal, select, update

from optimizer.control_plane.engine import reading, transaction
from optimizer.control_plane.records import Run, read_rows, status_words
from optimizer.control_plane.tables import run_configs, runs
from optimizer.control_plane.transitions import fit_message
from optimizer.names import CLAIM_PREFIX

ROWS_AT_ONCE = 200
"""So many rows are locked and changed by one transaction."""

_IS_PENDING = runs.c.status.in_(status_words("pending"))
_IS_FREE = (_IS_PENDING, runs.c.dag_run_id.is_(None))


def read_requests(engine: Engine, *, limit: int) -> dict[str, tuple[Run, dict[str, str]]]:
    """Return {run_id: the run, and its own config values} of the pending runs without a DAG run, the oldest first.

    Two statements, which see the same moment.
    """
    wanted = select(runs).where(*_IS_FREE).order_by(runs.c.created_at, runs.c.run_id).limit(limit)
    with reading(engine) as connection:
        found = {run.run_id: (run, dict[str, str]()) for run in read_rows(Run, connection.execute(wanted).mappings())}
        values = select(run_configs).where(run_configs.c.run_id.in_(found)).order_by(run_configs.c.config_key)
        for row in connection.execute(values) if found else ():
            found[row.run_id][1][row.config_key] = row.config_value
    return found


def claim_runs(engine: Engine, dag_ids: Mapping[str, str], *, now: datetime) -> list[str]:
    """Give each pending run a DAG run of its own, CLAIM_PREFIX and its run_id; return the ids that this call claimed.

    A row that another user is just claiming or cancelling is left alone, not waited for, where the database can
    (SKIP LOCKED). The claim is a run's first sign of life. Takes two statements for each ROWS_AT_ONCE runs.

    Args:
        dag_ids: {run_id: dag_id}.
    """

    def values_of(run_ids: Sequence[str]) -> dict[str, Any]:
        dag_id = case({run_id: dag_ids[run_id] for run_id in run_ids}, value=runs.c.run_id)
        return {"dag_id": dag_id, "dag_run_id": literal(CLAIM_PREFIX) + runs.c.run_id, "heartbeat_at": now}

    return _change_free(engine, dag_ids, values_of)


def refuse_runs(engine: Engine, messages: Mapping[str, str], *, now: datetime) -> list[str]:
    """Fail pending runs that were not claimed, each with its message; return the ids that this call failed.

    Args:
        messages: {run_id: why it can never run}.
    """

    def values_of(run_ids: Sequence[str]) -> dict[str, Any]:
        message = case({run_id: fit_message(messages[run_id]) for run_id in run_ids}, value=runs.c.run_id)
        return {"status": "failed", "error_message": message, "completed_at": now}

    return _change_free(engine, messages, values_of)


def _change_free(
    engine: Engine, wanted: Iterable[str], values_of: Callable[[Sequence[str]], dict[str, Any]]
) -> list[str]:
    """Change those of the wanted runs that are free, ROWS_AT_ONCE in one transaction; return their ids."""
    changed: list[str] = []
    run_ids = sorted(wanted)
    for first in range(0, len(run_ids), ROWS_AT_ONCE):
        some = runs.c.run_id.in_(run_ids[first : first + ROWS_AT_ONCE])
        free = select(runs.c.run_id).where(some, *_IS_FREE).order_by(runs.c.run_id)
        with transaction(engine) as connection:
            locked = connection.scalars(free.with_for_update(skip_locked=True)).all()
            if locked:
                connection.execute(update(runs).where(runs.c.run_id.in_(locked)).values(**values_of(locked)))
        changed += locked
    return changed


def list_claimed(engine: Engine, *, limit: int) -> list[Run]:
    """Return the pending runs that were claimed and have not begun, oldest first."""
    is_claimed = (_IS_PENDING, runs.c.dag_run_id.startswith(CLAIM_PREFIX, autoescape=True))
    statement = select(runs).where(*is_claimed).order_by(runs.c.created_at, runs.c.run_id).limit(limit)
    with reading(engine) as connection:
        return read_rows(Run, connection.execute(statement).mappings())
