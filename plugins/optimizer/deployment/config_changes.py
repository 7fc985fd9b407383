"""Whether an entity's config is another one than a run was made with, by the time that the run goes live."""

from sqlalchemy import Engine

from optimizer.control_plane import entities
from optimizer.control_plane.records import EntityDefinition, Run
from optimizer.core.records.config_snapshot import FrozenConfig
from optimizer.errors import ConfigError


def config_changes(definition: EntityDefinition, used: FrozenConfig) -> list[str]:
    """Return each key of the entity that has another value than the run used; values of the run alone are left out.

    Raises:
        ConfigError: the present config is invalid.
    """
    present = definition.merged_config().values
    return [
        f"{key} is now {present[key]}, and the run used {value}"
        for key, value in used.values.items()
        if used.sources.get(key) != "run" and key in present and present[key] != value
    ]


def read_config_notice(engine: Engine, row: Run, *, entity_code: str) -> str | None:
    """Return that the entity's config was changed after the run took it, or None.

    Raises:
        UnavailableError: the database is silent.
    """
    used = FrozenConfig.model_validate(row.config_snapshot)
    try:
        changes = config_changes(entities.read_definition(engine, entity_code), used)
    except ConfigError as error:
        changes = [f"it cannot be used now ({error})"]
    if not changes:
        return None
    return (
        f"entity {entity_code}: the config was changed after run {row.run_id} took it: {'; '.join(changes)}. "
        "The next run takes the present values"
    )
