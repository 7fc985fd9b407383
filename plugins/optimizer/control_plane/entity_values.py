"""An entity's own config values: who set each and when, and changing them with an audit row."""

from collections.abc import Callable, Mapping
from datetime import datetime

from sqlalchemy import Connection, Engine, delete, insert, select, update

from optimizer.control_plane.audit import AuditedChange, Author, write_audit
from optimizer.control_plane.engine import reading, transaction
from optimizer.control_plane.entities import select_definition
from optimizer.control_plane.records import EntityDefinition, EntityValue, read_rows
from optimizer.control_plane.tables import entities, entity_configs
from optimizer.errors import ConfigChanged

Values = Mapping[str, str | None]
"""{config_key: text of the value}; None: the entity has no value of its own, so the version's default counts."""


def read_values(engine: Engine, entity_code: str) -> dict[str, EntityValue]:
    """Return {config_key: the entity's own value}, with who set it and when."""
    of_entity = select(entities.c.entity_id).where(entities.c.entity_code == entity_code).scalar_subquery()
    with reading(engine) as connection:
        return _select_values(connection, entity_configs.c.entity_id == of_entity)


def change_values(
    engine: Engine,
    entity_code: str,
    changes: Values,
    *,
    seen: Values | None,
    check: Callable[[EntityDefinition], None],
    author: Author,
    now: datetime,
) -> dict[str, EntityValue]:
    """Set or remove values of the entity in one transaction with its row locked; return its values afterwards.

    A change to what is there already writes nothing. The next run reads the values; runs in progress keep theirs.

    Args:
        seen: what the changed keys had when the change was decided; None: anything.
        check: passes where the entity with the changed values can be used, or raises.

    Raises:
        ConfigChanged: a key has another value than was seen; names it, who set it and when.
        ConfigError: the entity is unknown or inactive; and what `check` raises. Nothing is changed.
        UnavailableError: the database is silent.
    """
    with transaction(engine) as connection:
        lock = select(entities.c.entity_id).where(entities.c.entity_code == entity_code).with_for_update()
        connection.execute(lock)
        definition = select_definition(connection, entity_code)
        of_entity = entity_configs.c.entity_id == definition.entity.entity_id
        present = _select_values(connection, of_entity)
        _check_seen(entity_code, present, seen or {})
        before = {key: _text_of(present, key) for key in changes}
        changed = {key: value for key, value in changes.items() if value != before[key]}
        check(definition.model_copy(update={"entity_values": _merged(definition.entity_values, changes)}))
        if not changed:
            return present
        for key, value in changed.items():
            _write(
                connection, definition.entity.entity_id, key, value, is_new=before[key] is None, author=author, now=now
            )
        write_audit(
            connection,
            author,
            AuditedChange(
                "change_config",
                entity_id=definition.entity.entity_id,
                before={key: before[key] for key in changed},
                after=changed,
            ),
            now=now,
        )
        return _select_values(connection, of_entity)


def _select_values(connection: Connection, of_entity: object) -> dict[str, EntityValue]:
    statement = select(entity_configs).where(of_entity).order_by(entity_configs.c.config_key)  # type: ignore[arg-type]
    return {row.config_key: row for row in read_rows(EntityValue, connection.execute(statement).mappings())}


def _check_seen(entity_code: str, present: Mapping[str, EntityValue], seen: Values) -> None:
    other = [
        f"{key} is {_described(present.get(key))}, and was {'not set' if value is None else value} when you looked"
        for key, value in seen.items()
        if _text_of(present, key) != value
    ]
    if other:
        raise ConfigChanged(f"entity {entity_code}: {'; '.join(other)}; look again, and decide again")


def _described(value: EntityValue | None) -> str:
    if value is None:
        return "not set now"
    return (
        f"{value.config_value}, set by {value.updated_by or 'an unknown user'} at {value.updated_at:%Y-%m-%d %H:%M} UTC"
    )


def _text_of(present: Mapping[str, EntityValue], key: str) -> str | None:
    return present[key].config_value if key in present else None


def _merged(values: Mapping[str, str], changes: Values) -> dict[str, str]:
    return {key: value for key, value in {**values, **changes}.items() if value is not None}


def _write(
    connection: Connection, entity_id: int, key: str, value: str | None, *, is_new: bool, author: Author, now: datetime
) -> None:
    of_key = (entity_configs.c.entity_id == entity_id, entity_configs.c.config_key == key)
    if value is None:
        connection.execute(delete(entity_configs).where(*of_key))
        return
    values = {"config_value": value, "updated_by": author.name, "updated_at": now}
    if is_new:
        connection.execute(insert(entity_configs).values(entity_id=entity_id, config_key=key, **values))
    else:
        connection.execute(update(entity_configs).where(*of_key).values(**values))
