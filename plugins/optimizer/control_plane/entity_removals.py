"""How many entities a person confirmed there to be: the DAGs of many that vanish at once stay until then."""

from datetime import datetime

from sqlalchemy import Engine, func, select

from optimizer.control_plane.audit import AuditedChange, Author, write_audit
from optimizer.control_plane.engine import reading, transaction
from optimizer.control_plane.tables import audit, entities
from optimizer.errors import ConfigError

_ACTION = "confirm_entities"


def confirm_entities(engine: Engine, count: int, *, author: Author, now: datetime) -> None:
    """Write that opt_entities rightly has this many rows, so that the DAGs of those that are gone may go.

    Raises:
        ConfigError: it has another number of rows; UnavailableError: the database is silent.
    """
    with transaction(engine) as connection:
        present = connection.scalar(select(func.count()).select_from(entities))
        if present != count:
            raise ConfigError(
                f"opt_entities has {present:,} rows and not {count:,}; look at them (`optimizer entities`), restore "
                f"those that are missing, or confirm {present:,}"
            )
        before = {"entities": _newest(connection.scalar(_NEWEST))}
        write_audit(connection, author, AuditedChange(_ACTION, before=before, after={"entities": count}), now=now)


def read_confirmed_count(engine: Engine) -> int | None:
    """Return the number of entities that was confirmed last, None where none was."""
    with reading(engine) as connection:
        return _newest(connection.scalar(_NEWEST))


_NEWEST = select(audit.c.after_value).where(audit.c.action == _ACTION).order_by(audit.c.audit_id.desc()).limit(1)


def _newest(value: dict[str, int] | None) -> int | None:
    return None if value is None else value["entities"]
