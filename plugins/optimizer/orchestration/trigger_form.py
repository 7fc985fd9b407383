"""The trigger form of an entity's DAG: every UI-visible key with its bounds and the entity's effective value."""

import logging
from typing import Any

from airflow.sdk import Param

from optimizer.control_plane.records import EntityDefinition
from optimizer.core.config.form import FORM_STAMP, config_stamp
from optimizer.core.config.merge import SECTIONS, ConfigKey, ConfigValue, parse_value
from optimizer.core.config.settings import RunSettings
from optimizer.errors import ConfigError

log = logging.getLogger(__name__)

_JSON_TYPES = {"float": "number", "int": "integer", "bool": "boolean", "str": "string"}
_ORDER = {name: position for position, name in enumerate(RunSettings.model_fields)}


def build_params(definition: EntityDefinition) -> dict[str, Param]:
    """Return the form's fields by key: the window first, then the version's keys section by section.

    Within a section the keys stand as RunSettings lists them, what people set most often first.
    """
    fields = {
        key.config_key: _field(key, definition)
        for key in sorted(definition.config_keys, key=_place)
        if key.is_ui_visible
    }
    return {
        "data_start_dt": _day(
            "Window start", "Its first day, UTC. Empty: *lookback_days* before its end. *data_start_dt*"
        ),
        "data_end_dt": _day("Window end", "The day after its last, UTC. Empty: the day of the run. *data_end_dt*"),
        **fields,
        FORM_STAMP: Param(
            config_stamp(definition.config_keys, definition.entity_values),
            type="string",
            title="Config",
            description_md="Leave it as it is: a run is refused if the entity's config changed after this form was "
            f"opened. *{FORM_STAMP}*",
            section="Form",
        ),
    }


def effective_value(key: ConfigKey, definition: EntityDefinition) -> ConfigValue:
    """Return the entity's value of the key, or the version's default where the entity's cannot be used."""
    raw = definition.entity_values.get(key.config_key, key.default_value)
    try:
        return None if raw is None else parse_value(key, raw)
    except ConfigError as error:
        log.error("entity %s: %s; the form shows the default", definition.entity.entity_code, error)
        return None if key.default_value is None else parse_value(key, key.default_value)


def _place(key: ConfigKey) -> tuple[int, int, str]:
    return SECTIONS.index(key.config_section), _ORDER.get(key.config_key, len(_ORDER)), key.config_key


def _field(key: ConfigKey, definition: EntityDefinition) -> Param:
    bounds, types = _bounds(key), [_JSON_TYPES[key.data_type]]
    schema: dict[str, Any] = {}
    if key.data_type in ("int", "float") and key.allowed_values is None:
        # Airflow's number field makes null of a text such as 0,4, and a null is the default. A text field sends it as
        # it was typed, and snapshot_config refuses it. Without `examples`, two types make a field of six lines.
        types, schema["examples"] = ["string", *types], []
    if not key.is_required:
        types = ["null", *types]
    schema |= {
        "type": types[0] if len(types) == 1 else types,
        "title": key.display_name,
        # The key is set in italics: the box around code would cover the line above it.
        "description_md": " ".join(filter(None, [key.description, _say(bounds), f"*{key.config_key}*"])),
        "section": key.config_section.capitalize(),
    }
    if bounds:
        # For numbers that come by the API: Airflow's server refuses those out of bounds before a run starts.
        schema["allOf"] = [bounds]
    if key.allowed_values is not None:
        schema["enum"] = list(key.allowed_values)
    return Param(effective_value(key, definition), **schema)


def _bounds(key: ConfigKey) -> dict[str, int | float]:
    if key.data_type not in ("int", "float"):
        return {}
    named = {"minimum": key.min_value, "maximum": key.max_value}
    return {
        name: int(float(bound)) if key.data_type == "int" else float(bound)
        for name, bound in named.items()
        if bound is not None
    }


def _say(bounds: dict[str, int | float]) -> str:
    words = {"minimum": "from", "maximum": "to"}
    text = " ".join(f"{words[name]} {bound:,.10g}" for name, bound in bounds.items())
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _day(title: str, description: str) -> Param:
    return Param(
        None, type=["null", "string"], format="date", title=title, description_md=description, section="Window"
    )
