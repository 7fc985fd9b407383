"""What a user asks for: other config values of a client, or a run with values of its own; checked, then written."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Engine

from optimizer.control_plane import entities, entity_values, runs
from optimizer.control_plane.audit import Author
from optimizer.control_plane.entity_values import Values
from optimizer.control_plane.records import EntityDefinition, EntityValue, Run
from optimizer.core.config.schedule import check_schedule
from optimizer.errors import ConfigError
from optimizer.runs.config_checks import check_settings


def change_config(
    engine: Engine, entity_code: str, changes: Values, *, seen: Values | None = None, author: Author, now: datetime
) -> dict[str, EntityValue]:
    """Set values of the client, or remove them (None: the version's default counts); return its values afterwards.

    Args:
        seen: what the changed keys had when the change was decided; None: anything.

    Raises:
        ConfigError: a key is unknown, or its value of a wrong type or out of bounds; nothing is changed.
        ConfigChanged, UnavailableError: as `change_values`.
    """
    return entity_values.change_values(
        engine, entity_code, changes, seen=seen, check=_check_definition, author=author, now=now
    )


def request_run(engine: Engine, entity_code: str, values: Mapping[str, str], *, author: Author, now: datetime) -> Run:
    """Insert a pending run of the client with values of its own, and return it; the DAG `pending_runs` starts it.

    Raises:
        ConfigError: the client is unknown or inactive, or a value cannot be used; nothing is written.
        UnavailableError: the database is silent.
    """
    definition = entities.read_definition(engine, entity_code)
    check_settings(definition, definition.merged_config(values))
    return runs.request_run(engine, definition, values=values, author=author, now=now)


def _check_definition(definition: EntityDefinition) -> None:
    check_settings(definition, definition.merged_config())
    try:
        check_schedule(definition.schedule)
    except ConfigError as error:
        raise ConfigError(f"entity {definition.entity.entity_code}: {error}") from None
