"""What a change of the split needs of an entity's config, also where another of its values is wrong."""

from collections.abc import Collection
from dataclasses import dataclass

from optimizer.control_plane.records import EntityDefinition
from optimizer.core.config.merge import merge_config
from optimizer.core.config.settings import RunSettings


@dataclass(frozen=True, slots=True)
class SplitSettings:
    """control_pct: percents of the control. manual_split_days: how long a split that a person set is left alone."""

    control_pct: int
    manual_split_days: int


def split_settings(definition: EntityDefinition) -> SplitSettings:
    """Return the entity's values, or the version's defaults; a person may deploy though another value is wrong.

    Raises:
        ConfigError: one of these values itself is wrong.
    """
    settings = some_settings(definition, ("control_pct", "monitor_min_days"))
    return SplitSettings(settings.control_pct, settings.monitor_min_days)


def some_settings(definition: EntityDefinition, names: Collection[str]) -> RunSettings:
    """Return settings in which these keys have the entity's values, and all others the defaults of the code.

    Raises:
        ConfigError: one of these values is wrong.
    """
    config = merge_config(
        [key for key in definition.config_keys if key.config_key in names],
        entity_code=definition.entity.entity_code,
        entity_values={name: value for name, value in definition.entity_values.items() if name in names},
        run_values={},
        supported_keys=None,
    )
    return RunSettings.model_validate(config.values)
