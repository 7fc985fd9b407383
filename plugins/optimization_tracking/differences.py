"""What differs between JSON objects, key by key."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_ABSENT = object()


@dataclass(frozen=True, slots=True)
class KeyValues:
    """One key of several objects. `is_set`: which of them have it; the value of the others is None."""

    key: str
    values: tuple[Any, ...]
    is_set: tuple[bool, ...]
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


def compare_objects(objects: Sequence[dict[str, Any]]) -> list[KeyValues]:
    """Return every key of the objects in the order of its first appearance."""
    flat = [flatten(one) for one in objects]
    found = []
    for key in dict.fromkeys(key for one in flat for key in one):
        values = [one.get(key, _ABSENT) for one in flat]
        is_set = tuple(value is not _ABSENT for value in values)
        shown = tuple(None if value is _ABSENT else value for value in values)
        found.append(KeyValues(key, shown, is_set, differs=any(not _same(value, values[0]) for value in values)))
    return found


def _same(one: Any, other: Any) -> bool:
    # In JSON true is not 1.
    return isinstance(one, bool) == isinstance(other, bool) and one == other
