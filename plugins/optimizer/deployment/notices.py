"""Which messages about incidents are due, to whom, and what they say."""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sqlalchemy import Engine

from optimizer.control_plane.notifications import Message, claim_messages, mark_sent, release
from optimizer.control_plane.records import Alert, Notification
from optimizer.errors import ConfigError

log = logging.getLogger(__name__)

CLAIM_TIME = timedelta(minutes=15)
"""A message that was claimed longer ago and did not arrive is sent again: its task died."""

MAX_LENGTH = 200
"""Characters of a destination, as in opt_notifications."""

OPTIONS = {"slack": {"channel"}, "smtp": {"to"}, "webhook": {"path"}}
"""Kind of a destination: the options it knows."""

REQUIRED = {"slack": {"channel"}, "smtp": {"to"}, "webhook": set[str]()}


@dataclass(frozen=True, slots=True)
class Destination:
    """Where messages go: `slack://conn_id?channel=#rtb`, `smtp://conn_id?to=a@b.com` or `webhook://conn_id`.

    text: as it was written; it names the connection and holds no secret.
    """

    kind: str
    connection_id: str
    options: dict[str, list[str]]
    text: str


@dataclass(frozen=True, slots=True)
class Notice:
    """What is sent: a title of one line, the text, and both with the incident's fields as a JSON object."""

    title: str
    text: str
    document: dict[str, Any]


def parse_destinations(text: str) -> tuple[Destination, ...]:
    """Return the destinations of a list separated by commas, in its order; none for an empty one.

    Raises:
        ConfigError: an entry has an unknown kind or option, or lacks its connection or a required option.
    """
    entries = dict.fromkeys(entry for part in text.split(",") if (entry := part.strip()))
    return tuple(_parse(entry) for entry in entries)


def due_messages(
    alerts: Sequence[Alert], sent: Sequence[Notification], *, destinations: Collection[str], now: datetime
) -> Iterator[Message]:
    """Yield what each destination is to hear now.

    An open incident is due until its message has arrived. A closed one is due where the destination got, or should
    have got, the message that it had opened.
    """
    rows = {(row.alert_id, row.event, row.destination): row for row in sent}
    for alert in alerts:
        for destination in destinations:
            is_known = (alert.alert_id, "opened", destination) in rows
            if alert.closed_at is not None and not is_known:
                continue
            message = Message(alert, "opened" if alert.closed_at is None else "closed", destination)
            if _is_due(rows.get((alert.alert_id, message.event, destination)), now=now):
                yield message


def notice_of(message: Message, *, entity_code: str) -> Notice:
    """Return what a message says."""
    alert, is_over = message.alert, message.event == "closed"
    about = alert.kind.replace("_", " ")
    since = f"Since {alert.opened_at:%Y-%m-%d %H:%M} UTC"
    until = f", over at {alert.closed_at:%Y-%m-%d %H:%M} UTC" if is_over else ""
    title = f"{entity_code}: {'over: ' if is_over else ''}{about}"
    text = f"{alert.message}\n{since}{until}."
    return Notice(
        title,
        text,
        {
            "event": message.event,
            "title": title,
            "text": text,
            "entity_code": entity_code,
            **alert.model_dump(mode="json", exclude={"entity_id", "last_seen_at"}),
        },
    )


def send_due(
    entity_code: str,
    *,
    destinations: Sequence[Destination],
    engine: Engine,
    deliver: Callable[[Destination, Notice], None],
    now: datetime,
) -> int:
    """Send the entity's messages that are due and return how many arrived.

    A message that cannot be delivered is logged without its error's text, which may hold a secret, and is due again at
    the next look.
    """
    known = {destination.text: destination for destination in destinations}
    if not known:
        return 0
    choose = partial(due_messages, destinations=known, now=now)
    arrived = 0
    for message in claim_messages(engine, entity_code, choose=choose, now=now):
        destination = known[message.destination]
        try:
            deliver(destination, notice_of(message, entity_code=entity_code))
        except Exception as error:  # whatever a notifier raises: the task's own work is done
            log.error(
                "entity %s: the message of incident %d (%s) cannot be sent over the connection %s: %s; it is sent "
                "again at the next look",
                *(entity_code, message.alert.alert_id, message.event),
                *(destination.connection_id, type(error).__name__),
            )
            release(engine, message)
        else:
            mark_sent(engine, message, now=now)
            arrived += 1
    return arrived


def _parse(entry: str) -> Destination:
    parts = urlsplit(entry, allow_fragments=False)
    kind, options = parts.scheme, parse_qs(parts.query)
    if kind not in OPTIONS:
        raise ConfigError(f"OPTIMIZER_NOTIFIERS: {entry!r} begins with none of {', '.join(f'{k}://' for k in OPTIONS)}")
    if not parts.netloc or parts.path or set("@:") & set(parts.netloc):
        raise ConfigError(f"OPTIMIZER_NOTIFIERS: a {kind} entry must name an Airflow connection only: {kind}://conn_id")
    if unknown := options.keys() - OPTIONS[kind]:
        raise ConfigError(f"OPTIMIZER_NOTIFIERS: {entry!r} has the unknown option {', '.join(sorted(unknown))}")
    if missing := REQUIRED[kind] - options.keys():
        raise ConfigError(f"OPTIMIZER_NOTIFIERS: {entry!r} lacks {', '.join(sorted(missing))}; add ?{min(missing)}=…")
    if len(entry) > MAX_LENGTH:
        raise ConfigError(f"OPTIMIZER_NOTIFIERS: {entry[:40]}… has {len(entry)} characters; {MAX_LENGTH} at most")
    return Destination(kind, parts.netloc, options, entry)


def _is_due(row: Notification | None, *, now: datetime) -> bool:
    if row is None:
        return True
    is_claimed = row.claimed_at is not None and now - row.claimed_at < CLAIM_TIME
    return row.sent_at is None and not is_claimed
