"""Several runs' configs, row by row."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optimization_tracking.dashboard.formatting import json_text

_ABSENT = object()


@dataclass(frozen=True, slots=True)
class ConfigRow:
    """One key of several configs; a config that lacks it has None."""

    key: str
    values: tuple[str | None, ...]
    differs: bool


def flatten(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested objects as one, its keys joined by dots; lists stay whole.

    A key that holds a dot or a quote itself is quoted: {"a.b": 1} is not {"a": {"b": 1}}.
    """
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        key = json.dumps(name, ensure_ascii=False) if "." in name or '"' in name else name
        if isinstance(inner, dict) and inner:
            flat |= flatten(inner, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = inner
    return flat


def compare_configs(configs: Sequence[dict[str, Any]]) -> list[ConfigRow]:
    """Return every key of the configs in the order of its first appearance."""
    flat = [flatten(config) for config in configs]
    rows = []
    for key in dict.fromkeys(key for config in flat for key in config):
        values = [config.get(key, _ABSENT) for config in flat]
        texts = tuple(None if value is _ABSENT else json_text(value) for value in values)
        rows.append(ConfigRow(key, texts, differs=any(not _same(value, values[0]) for value in values)))
    return rows


def _same(one: Any, other: Any) -> bool:
    # In JSON true is not 1.
    return isinstance(one, bool) == isinstance(other, bool) and one == other
