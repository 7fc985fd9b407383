"""Incidents: each is opened once when it begins and closed once when it is over, however often it is seen."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, insert, select, update

from optimizer.control_plane.engine import reading, transaction
from optimizer.control_plane.records import Alert, read_rows
from optimizer.control_plane.tables import alerts, entities
from optimizer.control_plane.transitions import fit_message


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that a person should look at: a kind, what it is about, and the message for people."""

    kind: str
    message: str
    subject: str = ""


@dataclass(frozen=True, slots=True)
class IncidentChanges:
    """What began and what is over since the last look."""

    opened: tuple[Alert, ...] = ()
    closed: tuple[Alert, ...] = ()


def record_incidents(
    engine: Engine, entity_id: int, seen: Iterable[Incident], *, kinds: Iterable[str], now: datetime
) -> IncidentChanges:
    """Open the incidents that are new, renew those that last, and close those that were not seen anymore.

    Args:
        kinds: the kinds that were looked for: an open incident of another kind is left as it is.
    """
    wanted = {(incident.kind, incident.subject): incident for incident in seen}
    with transaction(engine) as connection:
        lock = select(entities.c.entity_id).where(entities.c.entity_id == entity_id).with_for_update()
        connection.execute(lock)
        is_open = (alerts.c.entity_id == entity_id, alerts.c.closed_at.is_(None))
        found = read_rows(Alert, connection.execute(select(alerts).where(*is_open)).mappings())
        open_now = {(alert.kind, alert.subject): alert for alert in found}
        over = [alert for key, alert in open_now.items() if key not in wanted and alert.kind in set(kinds)]
        for alert in over:
            is_this = alerts.c.alert_id == alert.alert_id
            connection.execute(update(alerts).where(is_this).values(closed_at=now))
        for key in wanted.keys() & open_now.keys():
            is_this = alerts.c.alert_id == open_now[key].alert_id
            values = {"message": fit_message(wanted[key].message), "last_seen_at": now}
            connection.execute(update(alerts).where(is_this).values(**values))
        new = [wanted[key] for key in wanted if key not in open_now]
        for incident in new:
            connection.execute(
                insert(alerts).values(
                    entity_id=entity_id,
                    kind=incident.kind,
                    subject=incident.subject,
                    message=fit_message(incident.message),
                    opened_at=now,
                    last_seen_at=now,
                )
            )
        rows = read_rows(Alert, connection.execute(select(alerts).where(*is_open)).mappings())
    opened = {(incident.kind, incident.subject) for incident in new}
    return IncidentChanges(
        opened=tuple(row for row in rows if (row.kind, row.subject) in opened),
        closed=tuple(alert.model_copy(update={"closed_at": now}) for alert in over),
    )


def list_alerted(engine: Engine, *, kinds: Iterable[str]) -> frozenset[str]:
    """Return the codes of the entities with an open incident of one of the kinds."""
    of_kinds = (alerts.c.closed_at.is_(None), alerts.c.kind.in_(list(kinds)))
    statement = select(entities.c.entity_code).join(alerts, alerts.c.entity_id == entities.c.entity_id)
    with reading(engine) as connection:
        return frozenset(connection.scalars(statement.where(*of_kinds)))


def read_open(engine: Engine, entity_code: str) -> list[Alert]:
    """Return the entity's open incidents, the oldest first."""
    of_entity = select(alerts).join(entities, entities.c.entity_id == alerts.c.entity_id)
    is_open = (entities.c.entity_code == entity_code, alerts.c.closed_at.is_(None))
    statement = of_entity.where(*is_open).order_by(alerts.c.opened_at, alerts.c.alert_id)
    with reading(engine) as connection:
        return read_rows(Alert, connection.execute(statement).mappings())
