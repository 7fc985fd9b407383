"""Which entities have no control because a user chose so: the last change of their control took it away."""

from collections.abc import Collection

from sqlalchemy import ColumnElement, Connection, Engine, case, false, func, select

from optimizer.control_plane.engine import reading
from optimizer.control_plane.tables import audit, entities

SET_CONTROL = "set_control"
"""The action of an audit row that sets or removes an entity's control; run_id is the new control, or NULL."""


def is_none_chosen() -> ColumnElement[bool]:
    """Return, as part of a statement over opt_entities, whether its last chosen control is none."""
    of_entity = (audit.c.entity_id == entities.c.entity_id, audit.c.action == SET_CONTROL)
    newest_first = (audit.c.occurred_at.desc(), audit.c.audit_id.desc())
    last = select(audit.c.run_id.is_(None)).where(*of_entity).order_by(*newest_first).limit(1).correlate(entities)
    # The first entry of this index read backwards; left to choose, MariaDB may read the table's key instead.
    forced = last.with_hint(audit, "FORCE INDEX (ix_opt_audit_entity_id_occurred_at)", "mysql").scalar_subquery()
    return case((entities.c.control_run_id.is_(None), func.coalesce(forced, false())), else_=false())


def select_declined(connection: Connection, entity_ids: Collection[int]) -> frozenset[int]:
    """Return those of the entities whose last chosen control is none."""
    of_entities = entities.c.entity_id.in_(list(entity_ids))
    return frozenset(connection.scalars(select(entities.c.entity_id).where(of_entities, is_none_chosen())))


def is_declined(engine: Engine, entity_id: int) -> bool:
    """Return whether a user chose that the entity has no control."""
    with reading(engine) as connection:
        return entity_id in select_declined(connection, [entity_id])
