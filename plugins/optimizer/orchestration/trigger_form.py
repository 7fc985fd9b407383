"""The trigger form of an entity's DAG: every UI-visible key with its bounds and the entity's effective value."""

import logging
from typing import Any

from airflow.sdk import Param

from optimizer.control_plane.records import EntityDefinition
from optimizer.core.config import SECTIONS, ConfigKey, ConfigValue, parse_value
from optimizer.errors import ConfigError

log = logging.getLogger(__name__)

_JSON_TYPES = {"float": "number", "int": "integer", "bool": "boolean", "str": "string"}


def build_params(definition: EntityDefinition) -> dict[str, Param]:
    """Return the form's fields by key: the window first, then the version's keys section by section."""
    keys = sorted(definition.config_keys, key=lambda key: (SECTIONS.index(key.config_section), key.config_key))
    fields = {key.config_key: _field(key, definition) for key in keys if key.is_ui_visible}
    return {
        "data_start_dt": _day("Window start", "First day of the window, UTC. Empty: lookback_days before its end."),
        "data_end_dt": _day("Window end", "The day after the window's last, UTC. Empty: the day of the run."),
        **fields,
    }


def effective_value(key: ConfigKey, definition: EntityDefinition) -> ConfigValue:
    """Return the entity's value of the key, or the version's default where the entity's cannot be used."""
    raw = definition.entity_values.get(key.config_key, key.default_value)
    try:
        return None if raw is None else parse_value(key, raw)
    except ConfigError as error:
        log.error("entity %s: %s; the form shows the default", definition.entity.entity_code, error)
        return None if key.default_value is None else parse_value(key, key.default_value)


def _field(key: ConfigKey, definition: EntityDefinition) -> Param:
    schema: dict[str, Any] = {
        "type": _JSON_TYPES[key.data_type] if key.is_required else ["null", _JSON_TYPES[key.data_type]],
        "title": key.display_name,
        "description_md": f"{key.description} `{key.config_key}`",
        "section": key.config_section.capitalize(),
    }
    for bound, name in ((key.min_value, "minimum"), (key.max_value, "maximum")):
        if bound is not None and key.data_type in ("int", "float"):
            schema[name] = int(float(bound)) if key.data_type == "int" else float(bound)
    if key.allowed_values is not None:
        schema["enum"] = list(key.allowed_values)
    return Param(effective_value(key, definition), **schema)


def _day(title: str, description: str) -> Param:
    return Param(
        None, type=["null", "string"], format="date", title=title, description_md=description, section="Window"
    )
