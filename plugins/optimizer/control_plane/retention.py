"""Runs whose objects may be removed, and the marks that say that they were.

Rows of opt_runs are never deleted: deployments, live figures and the audit refer to them.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, and_, delete, func, or_, select, update

from optimizer.control_plane.audit import AuditedChange, Author, write_audit
from optimizer.control_plane.engine import reading, transaction
from optimizer.control_plane.prefixes import find_shared, is_prefix
from optimizer.control_plane.records import Run, read_rows, status_words
from optimizer.control_plane.tables import canaries, deployments, entities, run_outputs, runs

_ENDED_AT = func.coalesce(runs.c.completed_at, runs.c.created_at)
_HAS_ENDED = runs.c.status.in_(status_words("completed", "failed", "cancelled"))


def list_bases(engine: Engine, *, before: datetime) -> list[tuple[int, str, str]]:
    """Return entity_id, entity_code and s3_base_path of the entities with a run that ended before the moment.

    Their status does not matter. An entity whose prefix is invalid, or shared with an earlier entity, is left out.
    """
    columns = (entities.c.entity_id, entities.c.entity_code, entities.c.s3_base_path)
    with reading(engine) as connection:
        rows = connection.execute(select(*columns).order_by(entities.c.entity_id)).mappings().all()
        with_runs = set(connection.scalars(select(runs.c.entity_id).where(_HAS_ENDED, before > _ENDED_AT).distinct()))
    shared = find_shared(rows)
    return [
        (row["entity_id"], row["entity_code"], row["s3_base_path"])
        for row in rows
        if row["entity_id"] in with_runs - shared.keys() and is_prefix(row["s3_base_path"])
    ]


def list_ended(engine: Engine, entity_id: int, *, run_codes: Collection[str], before: datetime) -> list[Run]:
    """Return those of the entity's runs that ended before the moment, the oldest first."""
    is_named = (runs.c.entity_id == entity_id, runs.c.run_code.in_(run_codes))
    of_entity = select(runs).where(*is_named, _HAS_ENDED, before > _ENDED_AT)
    with reading(engine) as connection:
        rows = connection.execute(of_entity.order_by(runs.c.created_at, runs.c.run_id)).mappings()
        return read_rows(Run, rows)


def list_protected(engine: Engine, entity_id: int, *, since: datetime) -> set[str]:
    """Return the runs whose files must stay: live or tried since the moment, the control, and the active run."""
    with reading(engine) as connection:
        return _protected(connection, entity_id, since=since)


def mark_removed(engine: Engine, run: Run, *, since: datetime, author: Author, now: datetime, what: Any) -> bool:
    """Mark the run's files as removed, so that it cannot be deployed anymore; return whether that is allowed.

    To be called before the first file is removed. The entity's row is locked, as it is while a split is deployed.

    Args:
        since: as in `list_protected`.
        what: for the audit: a JSON object.
    """
    with transaction(engine) as connection:
        lock = select(entities.c.entity_id).where(entities.c.entity_id == run.entity_id).with_for_update()
        connection.execute(lock)
        if run.run_id in _protected(connection, run.entity_id, since=since):
            return False
        is_first = (runs.c.run_id == run.run_id, runs.c.outputs_removed_at.is_(None))
        if connection.execute(update(runs).where(*is_first).values(outputs_removed_at=now)).rowcount:
            _audit(connection, run, author=author, now=now, what=what)
        return True


def forget_outputs(engine: Engine, run_id: str) -> None:
    """Delete the rows of the run's objects, once those are gone."""
    with transaction(engine) as connection:
        connection.execute(delete(run_outputs).where(run_outputs.c.run_id == run_id))


def record_removal(engine: Engine, run: Run, *, author: Author, now: datetime, what: Any) -> None:
    """Write to the audit that staged files of the run are removed."""
    with transaction(engine) as connection:
        _audit(connection, run, author=author, now=now, what=what)


def _audit(connection: Connection, run: Run, *, author: Author, now: datetime, what: Any) -> None:
    write_audit(
        connection,
        author,
        AuditedChange("remove_objects", entity_id=run.entity_id, run_id=run.run_id, after=what),
        now=now,
    )


def _protected(connection: Connection, entity_id: int, *, since: datetime) -> set[str]:
    # Where the SQL of others took a row off without saying when, it is not known how long the run was live.
    was_live = or_(deployments.c.deactivated_at.is_(None), deployments.c.deactivated_at >= since)
    was_tried = or_(canaries.c.ended_at.is_(None), canaries.c.ended_at >= since)
    named = select(entities.c.active_run_id, entities.c.control_run_id).where(entities.c.entity_id == entity_id)
    return {
        *_run_ids(connection, deployments.c.run_id, and_(deployments.c.entity_id == entity_id, was_live)),
        *_run_ids(connection, canaries.c.run_id, and_(canaries.c.entity_id == entity_id, was_tried)),
        *(run_id for row in connection.execute(named) for run_id in row if run_id is not None),
    }


def _run_ids(connection: Connection, column: Any, is_wanted: ColumnElement[bool]) -> Iterable[str]:
    return connection.scalars(select(column).where(is_wanted)).all()
