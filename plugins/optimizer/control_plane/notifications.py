"""Messages about incidents: each is claimed before it is sent, so that two tasks do not send it twice."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import ColumnElement, Connection, Engine, insert, or_, select, update

from optimizer.control_plane.engine import transaction
from optimizer.control_plane.records import Alert, Notification, read_rows
from optimizer.control_plane.tables import alerts, entities, notifications

OLDEST_CLOSED = timedelta(days=30)
"""An incident that ended earlier is not reported anymore."""

Event = Literal["opened", "closed"]


@dataclass(frozen=True, slots=True)
class Message:
    """What one destination is to hear: that an incident has opened, or that it is closed."""

    alert: Alert
    event: Event
    destination: str


Choose = Callable[[Sequence[Alert], Sequence[Notification]], Iterable[Message]]


def claim_messages(engine: Engine, entity_code: str, *, choose: Choose, now: datetime) -> list[Message]:
    """Return the messages that the caller is to send now; no other task gets them meanwhile.

    Args:
        choose: returns the messages that are due, from the entity's incidents, the oldest first, and what was sent of
            them. It is called in the transaction that claims them.
    """
    with transaction(engine) as connection:
        lock = select(entities.c.entity_id).where(entities.c.entity_code == entity_code).with_for_update()
        entity_id = connection.scalar(lock)
        recent = or_(alerts.c.closed_at.is_(None), alerts.c.closed_at >= now - OLDEST_CLOSED)
        statement = select(alerts).where(alerts.c.entity_id == entity_id, recent).order_by(alerts.c.alert_id)
        incidents = read_rows(Alert, connection.execute(statement).mappings())
        of_these = notifications.c.alert_id.in_([alert.alert_id for alert in incidents])
        sent = read_rows(Notification, connection.execute(select(notifications).where(of_these)).mappings())
        due = list(choose(incidents, sent))
        known = {(row.alert_id, row.event, row.destination) for row in sent}
        for message in due:
            _claim(connection, message, now=now, is_known=_key(message) in known)
    return due


def mark_sent(engine: Engine, message: Message, *, now: datetime) -> None:
    """Note that the claimed message has arrived: it is never sent again."""
    _settle(engine, message, sent_at=now)


def release(engine: Engine, message: Message) -> None:
    """Give back a claimed message that could not be sent: it is due again at the next look."""
    _settle(engine, message, sent_at=None)


def _key(message: Message) -> tuple[int, str, str]:
    return message.alert.alert_id, message.event, message.destination


def _is_row_of(message: Message) -> tuple[ColumnElement[bool], ...]:
    columns = (notifications.c.alert_id, notifications.c.event, notifications.c.destination)
    return tuple(column == value for column, value in zip(columns, _key(message), strict=True))


def _claim(connection: Connection, message: Message, *, now: datetime, is_known: bool) -> None:
    if is_known:
        again = {"claimed_at": now, "attempts": notifications.c.attempts + 1}
        connection.execute(update(notifications).where(*_is_row_of(message)).values(again))
        return
    alert_id, event, destination = _key(message)
    connection.execute(
        insert(notifications).values(alert_id=alert_id, event=event, destination=destination, claimed_at=now)
    )


def _settle(engine: Engine, message: Message, *, sent_at: datetime | None) -> None:
    with transaction(engine) as connection:
        settled = {"claimed_at": None, "sent_at": sent_at}
        connection.execute(update(notifications).where(*_is_row_of(message)).values(settled))
