"""Claim the pending runs that the UI inserted: each gets its DAG run once, however many processes claim."""

from datetime import datetime

from sqlalchemy import Engine, select, update

from optimizer.control_plane.engine import reading, transaction
from optimizer.control_plane.records import Run, read_rows, status_words
from optimizer.control_plane.tables import entities, runs
from optimizer.control_plane.transitions import fit_message
from optimizer.names import CLAIM_PREFIX

_IS_PENDING = runs.c.status.in_(status_words("pending"))
_IS_FREE = (_IS_PENDING, runs.c.dag_run_id.is_(None))


def claim_run(engine: Engine, run_id: str, *, dag_id: str, now: datetime) -> bool:
    """Give the pending run a DAG run of its own, CLAIM_PREFIX and its run_id; return whether this call did it.

    A row that another user is just claiming or cancelling is left alone, not waited for, where the database can
    (SKIP LOCKED). The claim is the run's first sign of life.
    """
    is_this = (runs.c.run_id == run_id, *_IS_FREE)
    values = {"dag_id": dag_id, "dag_run_id": CLAIM_PREFIX + run_id, "heartbeat_at": now}
    with transaction(engine) as connection:
        if connection.execute(select(runs.c.run_id).where(*is_this).with_for_update(skip_locked=True)).first() is None:
            return False
        return connection.execute(update(runs).where(*is_this).values(**values)).rowcount == 1


def refuse_run(engine: Engine, run_id: str, *, message: str, now: datetime) -> bool:
    """Fail a pending run that was not claimed; return whether there was one."""
    values = {"status": "failed", "error_message": fit_message(message), "completed_at": now}
    with transaction(engine) as connection:
        return connection.execute(update(runs).where(runs.c.run_id == run_id, *_IS_FREE).values(**values)).rowcount == 1


def list_claimed(engine: Engine, *, limit: int) -> list[Run]:
    """Return the pending runs that were claimed and have not begun, oldest first."""
    is_claimed = (_IS_PENDING, runs.c.dag_run_id.startswith(CLAIM_PREFIX, autoescape=True))
    statement = select(runs).where(*is_claimed).order_by(runs.c.created_at, runs.c.run_id).limit(limit)
    with reading(engine) as connection:
        return read_rows(Run, connection.execute(statement).mappings())


def find_entity_code(engine: Engine, entity_id: int) -> str | None:
    """Return the code of the entity, or None where there is no such entity."""
    with reading(engine) as connection:
        return connection.scalar(select(entities.c.entity_code).where(entities.c.entity_id == entity_id))
