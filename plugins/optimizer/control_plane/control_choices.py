"""Which entities have no control because a user chose so: the last change of their control took it away."""

from collections.abc import Collection

from sqlalchemy import Connection, Engine, func, select

from optimizer.control_plane.engine import reading
from optimizer.control_plane.tables import audit

SET_CONTROL = "set_control"
"""The action of an audit row that sets or removes an entity's control; run_id is the new control, or NULL."""


def select_declined(connection: Connection, entity_ids: Collection[int]) -> frozenset[int]:
    """Return those of the entities whose last chosen control is none."""
    of_entities = (audit.c.action == SET_CONTROL, audit.c.entity_id.in_(list(entity_ids)))
    last = select(func.max(audit.c.audit_id).label("audit_id")).where(*of_entities).group_by(audit.c.entity_id)
    newest = last.subquery()
    chosen = select(audit.c.entity_id).join(newest, newest.c.audit_id == audit.c.audit_id)
    return frozenset(connection.scalars(chosen.where(audit.c.run_id.is_(None))))


def is_declined(engine: Engine, entity_id: int) -> bool:
    """Return whether a user chose that the entity has no control."""
    with reading(engine) as connection:
        return entity_id in select_declined(connection, [entity_id])
