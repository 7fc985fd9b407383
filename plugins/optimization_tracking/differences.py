"""What differs between JSON objects, key by key."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MAX_KEY_LENGTH = 200
"""Of the keys around a value, joined; below longer ones an object stays whole, or its values would repeat them."""
MAX_CELLS = 100_000
"""Keys times objects that are compared: of more keys those that the most objects have."""

_ABSENT = object()


@dataclass(frozen=True, slots=True)
class KeyValues:
    """One key of several objects. `is_set`: which of them have it; the value of the others is None."""

    key: str
    values: tuple[Any, ...]
    is_set: tuple[bool, ...]
    differs: bool


@dataclass(frozen=True, slots=True)
class ComparedObjects:
    """Keys of several objects in the order of their first appearance. `left_out`: how many more there are."""

    keys: list[KeyValues]
    left_out: int


def flatten(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested objects as one, its keys joined by dots; lists stay whole.

    A key that holds a dot or a quote itself is quoted: {"a.b": 1} is not {"a": {"b": 1}}.
    """
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        key = json.dumps(name, ensure_ascii=False) if "." in name or '"' in name else name
        if isinstance(inner, dict) and inner and len(prefix) + len(key) <= MAX_KEY_LENGTH:
            flat |= flatten(inner, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = inner
    return flat


def compare_objects(objects: Sequence[dict[str, Any]], *, max_cells: int = MAX_CELLS) -> ComparedObjects:
    """Return the keys of the objects, every one unless they are very many."""
    flat = [flatten(one) for one in objects]
    known = Counter(key for one in flat for key in one)
    most = max(1, max_cells // max(1, len(objects)))
    kept = {key for key, _ in known.most_common(most)} if len(known) > most else known.keys()
    found = []
    for key in (key for key in known if key in kept):
        values = [one.get(key, _ABSENT) for one in flat]
        is_set = tuple(value is not _ABSENT for value in values)
        shown = tuple(None if value is _ABSENT else value for value in values)
        found.append(KeyValues(key, shown, is_set, differs=any(not _same(value, values[0]) for value in values)))
    return ComparedObjects(found, left_out=len(known) - len(found))


def _same(one: Any, other: Any) -> bool:
    # In JSON true is not 1.
    return isinstance(one, bool) == isinstance(other, bool) and one == other
