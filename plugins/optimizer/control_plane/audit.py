"""Who changed what, when and why: a row of opt_audit with each write, in the transaction that makes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, insert, select

from optimizer.control_plane.engine import reading
from optimizer.control_plane.records import AuditRow, read_rows
from optimizer.control_plane.tables import audit, entities
from optimizer.errors import ConfigError

SYSTEM_PREFIX = "airflow:"
"""What the names of the system's own authors begin with."""

MAX_NAME, MAX_COMMENT = 200, 1000
"""Characters that a name and a comment may have."""


@dataclass(frozen=True, slots=True)
class Author:
    """Who makes a change, and why: a person, or a part of the system."""

    name: str
    is_person: bool = True
    comment: str = ""

    def __post_init__(self) -> None:
        if self.is_person and self.name.startswith(SYSTEM_PREFIX):
            raise ConfigError(
                f"{self.name!r} cannot be a person's name: {SYSTEM_PREFIX} marks the system's own changes"
            )
        for what, text, most in (("name", self.name, MAX_NAME), ("comment", self.comment, MAX_COMMENT)):
            if len(text) > most:
                raise ConfigError(f"the {what} {text[:40]}… has {len(text):,} characters; write at most {most:,}")


def system(part: str, *, comment: str = "") -> Author:
    """Return the author of what a part of the system does automatically, such as `monitor`."""
    return Author(f"{SYSTEM_PREFIX}{part}", is_person=False, comment=comment)


@dataclass(frozen=True, slots=True)
class AuditedChange:
    """What was changed.

    before, after: the changed values by name; None where the action has none.
    """

    action: str
    entity_id: int | None = None
    run_id: str | None = None
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None


def write_audit(connection: Connection, author: Author, change: AuditedChange, *, now: datetime) -> None:
    """Add the row that says who made the change; to be called in the transaction that makes it."""
    connection.execute(
        insert(audit).values(
            occurred_at=now,
            actor=author.name or "unknown",
            is_person=author.is_person,
            action=change.action,
            entity_id=change.entity_id,
            run_id=change.run_id,
            before_value=None if change.before is None else dict(change.before),
            after_value=None if change.after is None else dict(change.after),
            comment=author.comment,
        )
    )


def read_audit(engine: Engine, entity_code: str, *, limit: int = 100) -> list[AuditRow]:
    """Return the entity's newest changes, the newest first."""
    of_entity = select(audit).join(entities, entities.c.entity_id == audit.c.entity_id)
    newest_first = of_entity.where(entities.c.entity_code == entity_code).order_by(audit.c.audit_id.desc())
    with reading(engine) as connection:
        return read_rows(AuditRow, connection.execute(newest_first.limit(limit)).mappings())
