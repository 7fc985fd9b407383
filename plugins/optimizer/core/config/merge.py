"""Merge, check and freeze a run's configuration: version defaults < entity values < run values."""

import json
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from optimizer.errors import ConfigError

ConfigValue = bool | int | float | str | None
Source = Literal["default", "entity", "run"]

SECTIONS = ("business", "technical", "static")

_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


class ConfigKey(BaseModel):
    """One row of opt_version_configs: the type, default, bounds and display of a key.

    `default_value`, `min_value` and `max_value` are text, as the table holds them; `allowed_values` is a list of text.
    """

    model_config = ConfigDict(frozen=True)

    config_key: str
    config_section: Literal["business", "technical", "static"]
    display_name: str
    description: str = ""
    data_type: Literal["float", "int", "bool", "str"]
    default_value: str | None = None
    min_value: str | None = None
    max_value: str | None = None
    allowed_values: tuple[str, ...] | None = None
    is_required: bool = True
    is_ui_visible: bool = True


@dataclass(frozen=True, slots=True)
class EffectiveConfig:
    """The typed value of every key of a version, and the layer it came from."""

    values: Mapping[str, ConfigValue]
    sources: Mapping[str, Source]
    sections: Mapping[str, str] = field(default_factory=dict)

    def by_section(self) -> dict[str, dict[str, ConfigValue]]:
        """Return {section: {key: value}} with every section present."""
        return {
            section: {key: value for key, value in self.values.items() if self.sections[key] == section}
            for section in SECTIONS
        }


def merge_config(
    keys: Iterable[ConfigKey],
    *,
    entity_code: str,
    entity_values: Mapping[str, str],
    run_values: Mapping[str, Any],
    supported_keys: Iterable[str] | None = None,
) -> EffectiveConfig:
    """Return the effective configuration of one run.

    A run value that equals what the entity has already is not an override: the trigger form sends every key.

    Raises:
        ConfigError: names every unknown key, wrong type, value out of bounds and missing key together.
    """
    specs = {key.config_key: key for key in keys}
    problems = _version_problems(specs, supported_keys)
    layers: tuple[tuple[Source, Mapping[str, Any]], ...] = (
        ("default", {name: spec.default_value for name, spec in specs.items()}),
        ("entity", entity_values),
        ("run", run_values),
    )
    values: dict[str, ConfigValue] = {}
    sources: dict[str, Source] = {}
    for source, layer in layers:
        for name, raw in sorted(layer.items()):
            if name not in specs:
                problems.append(
                    f"{name}={raw!r} ({source} value) is not a key of this version; remove it or add the key"
                )
                continue
            if raw is None:
                continue
            try:
                value = parse_value(specs[name], raw)
            except ConfigError as error:
                problems.append(f"{error} ({source} value)")
                continue
            if name not in values or values[name] != value:
                values[name], sources[name] = value, source
    for name, spec in specs.items():
        if name not in values:
            if spec.is_required:
                problems.append(f"{name} is required and has no value; set it on the entity or on the run")
            values[name], sources[name] = None, "default"
    if problems:
        raise ConfigError(f"entity {entity_code}: " + "; ".join(dict.fromkeys(problems)))
    return EffectiveConfig(values, sources, {name: spec.config_section for name, spec in specs.items()})


def parse_value(spec: ConfigKey, raw: Any) -> ConfigValue:
    """Return `raw` as the key's type.

    Raises:
        ConfigError: the type is wrong, or the value is out of bounds or not among the allowed ones.
    """
    value = _PARSERS[spec.data_type](spec, raw)
    for bound, is_broken, word in (
        (spec.min_value, operator.lt, "below its minimum"),
        (spec.max_value, operator.gt, "above its maximum"),
    ):
        if bound is None or spec.data_type not in ("int", "float") or not isinstance(value, int | float):
            continue
        if is_broken(value, float(bound)):
            raise ConfigError(f"{spec.config_key}={value} is {word} {bound}; {_allowed_text(spec)}")
    parse = _PARSERS[spec.data_type]
    if spec.allowed_values is not None and value not in [parse(spec, allowed) for allowed in spec.allowed_values]:
        raise ConfigError(f"{spec.config_key}={value!r} is not allowed; {_allowed_text(spec)}")
    return value


def _version_problems(specs: Mapping[str, ConfigKey], supported_keys: Iterable[str] | None) -> list[str]:
    if supported_keys is None:
        return []
    supported = set(supported_keys)
    missing, extra = sorted(supported - set(specs)), sorted(set(specs) - supported)
    problems = [f"{name} is in supported_configs but has no row in opt_version_configs; add one" for name in missing]
    return problems + [f"{name} has a row in opt_version_configs but is not in supported_configs" for name in extra]


def _parse_bool(spec: ConfigKey, raw: Any) -> bool:
    value = raw if isinstance(raw, bool) else _BOOLEANS.get(str(raw).strip().lower())
    if value is None:
        raise ConfigError(f"{spec.config_key}={raw!r} is not a bool; write true or false")
    return value


def _parse_int(spec: ConfigKey, raw: Any) -> int:
    try:
        if isinstance(raw, bool) or (isinstance(raw, float) and not raw.is_integer()) or _is_misread(raw):
            raise ValueError
        return int(raw)
    except (TypeError, ValueError):
        raise ConfigError(f"{spec.config_key}={raw!r} is not an int; {_rewritten(raw)}{_allowed_text(spec)}") from None


def _parse_float(spec: ConfigKey, raw: Any) -> float:
    try:
        value = float("nan") if isinstance(raw, bool) or _is_misread(raw) else float(raw)
    except (TypeError, ValueError):
        value = float("nan")
    if value != value or value in (float("inf"), float("-inf")):
        raise ConfigError(f"{spec.config_key}={raw!r} is not a number; {_rewritten(raw)}{_allowed_text(spec)}")
    return value


def _is_misread(raw: Any) -> bool:
    """Whether Python reads a number that a person did not write: 1_5 as 15, and digits of other scripts."""
    return isinstance(raw, str) and ("_" in raw or not raw.isascii())


def _parse_str(spec: ConfigKey, raw: Any) -> str:
    if not isinstance(raw, str):
        raise ConfigError(f"{spec.config_key}={raw!r} is not text; {_allowed_text(spec)}")
    return raw.strip()


_PARSERS: dict[str, Callable[[ConfigKey, Any], ConfigValue]] = {
    "bool": _parse_bool,
    "int": _parse_int,
    "float": _parse_float,
    "str": _parse_str,
}


def _rewritten(raw: Any) -> str:
    """How to write a number with a comma: `write 0.4; `; three digits after it may also be thousands."""
    parts = re.fullmatch(r"([-+]?\d+),(\d+)", raw.strip()) if isinstance(raw, str) else None
    if parts is None:
        return ""
    whole, rest = parts.groups()
    thousands = f" or {whole}{rest}" if len(rest) == 3 and whole.lstrip("+-") != "0" else ""
    return f"write {whole}.{rest}{thousands}; "


def _allowed_text(spec: ConfigKey) -> str:
    if spec.allowed_values:
        return "set it to one of " + json.dumps(list(spec.allowed_values))
    if spec.min_value is not None and spec.max_value is not None:
        return f"set it between {spec.min_value} and {spec.max_value}"
    if spec.min_value is not None:
        return f"set it to {spec.min_value} or more"
    if spec.max_value is not None:
        return f"set it to {spec.max_value} or less"
    return f"write a value of type {spec.data_type}"
