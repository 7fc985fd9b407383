"""A client's settings: what counts now, where each value comes from, and what a change would do."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from optimizer.console.context import Context
from optimizer.control_plane.audit import read_audit
from optimizer.control_plane.entities import read_definition
from optimizer.control_plane.entity_values import Values, read_values
from optimizer.control_plane.records import AuditRow, EntityDefinition, EntityValue
from optimizer.core.config.merge import SECTIONS, ConfigKey, parse_value
from optimizer.core.config.settings import RunSettings
from optimizer.errors import ConfigError
from optimizer.runs.config_checks import check_settings

AUDIT_ROWS = 20


class ClientSetting(BaseModel):
    """A config key of the client.

    text: the client's own value as text; None: it has none, so the default counts.
    minimum, maximum, choices: what a value may be; None where the key has no such bound.
    """

    key: str
    section: str
    title: str
    description: str
    kind: Literal["float", "int", "bool", "str"]
    value: bool | int | float | str | None
    source: Literal["default", "entity", "run"]
    text: str | None
    default: str | None
    minimum: str | None
    maximum: str | None
    choices: list[str] | None
    updated_by: str | None
    updated_at: datetime | None


class Settings(BaseModel):
    """The client's settings by section, and the latest changes of the client with their authors."""

    settings: list[ClientSetting]
    changes: list[AuditRow]


class SettingChange(BaseModel):
    """A value before and after, as text; None: the default counts. error: why it cannot be used, or None."""

    key: str
    title: str
    before: str | None
    after: str | None
    default: str | None
    error: str | None = None


def read_settings(asked: Context, entity_code: str) -> Settings:
    """Return the settings that users may see, the targets first.

    Raises:
        ConfigError: the client's config cannot be used; names every wrong value.
    """
    definition, own = read_definition(asked.systems.engine, entity_code), read_values(asked.systems.engine, entity_code)
    merged = definition.merged_config()
    check_settings(definition, merged)
    order = list(RunSettings.model_fields)
    keys = sorted(
        _visible(definition), key=lambda key: (SECTIONS.index(key.config_section), order.index(key.config_key))
    )
    return Settings(
        settings=[
            _setting(key, own.get(key.config_key), value=merged.values[key.config_key]).model_copy(
                update={"source": merged.sources[key.config_key]}
            )
            for key in keys
        ],
        changes=read_audit(asked.systems.engine, entity_code, limit=AUDIT_ROWS),
    )


def changes_of(asked: Context, entity_code: str, wanted: Values) -> list[SettingChange]:
    """Return what would change, key by key, with what is wrong of each; keys that would stay are left out.

    Raises:
        ConfigError: a key is not one that users may set here.
    """
    definition = read_definition(asked.systems.engine, entity_code)
    keys = {key.config_key: key for key in _visible(definition)}
    if unknown := sorted(set(wanted) - set(keys)):
        raise ConfigError(f"entity {entity_code}: {', '.join(unknown)} cannot be set here; known are {', '.join(keys)}")
    present = definition.entity_values
    return [
        SettingChange(
            key=key,
            title=keys[key].display_name,
            before=present.get(key),
            after=value,
            default=keys[key].default_value,
            error=_error(keys[key], value),
        )
        for key, value in wanted.items()
        if not _is_same(keys[key], present.get(key), value)
    ]


def values_of(form: Mapping[str, str], prefix: str = "set.") -> dict[str, str | None]:
    """Return {config_key: text} of a form's fields; an empty field means that the default counts."""
    return {name.removeprefix(prefix): value.strip() or None for name, value in form.items() if name.startswith(prefix)}


def _visible(definition: EntityDefinition) -> list[ConfigKey]:
    return [key for key in definition.config_keys if key.is_ui_visible]


def _setting(key: ConfigKey, own: EntityValue | None, *, value: bool | int | float | str | None) -> ClientSetting:
    return ClientSetting(
        key=key.config_key,
        section=key.config_section,
        title=key.display_name,
        description=key.description,
        kind=key.data_type,
        value=value,
        source="default",
        text=None if own is None else own.config_value,
        default=key.default_value,
        minimum=key.min_value,
        maximum=key.max_value,
        choices=None if key.allowed_values is None else list(key.allowed_values),
        updated_by=None if own is None else own.updated_by,
        updated_at=None if own is None else own.updated_at,
    )


def _error(key: ConfigKey, value: str | None) -> str | None:
    try:
        if value is not None:
            parse_value(key, value)
    except ConfigError as error:
        return str(error)
    return None


def _is_same(key: ConfigKey, before: str | None, after: str | None) -> bool:
    if before == after:
        return True
    if before is None or after is None or _error(key, before) or _error(key, after):
        return False
    return parse_value(key, before) == parse_value(key, after)
