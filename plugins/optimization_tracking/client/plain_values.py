"""Values of a program's own libraries as the plain ones that JSON has; no such library is needed for it."""

import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

MAX_NOTED = 20
"""Numbers that are not finite which an entry's metadata name; of more, only how many."""

NOT_FINITE = "notFinite"

_PLAIN = frozenset({str, int, float, bool, type(None)})


def plain(value: Any) -> Any:
    """Return the value with NumPy's scalars and arrays, and what is like them, as Python's numbers and lists.

    Mappings, lists and tuples are looked into; what is none of these comes back as it is.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if callable(getattr(value, "tolist", None)):  # NumPy, pandas, PyTorch and JAX have it
        listed = value.tolist()
        return plain(listed) if type(listed) is not kind else _number(listed)
    return value


def without_odd_numbers(fields: dict[str, Any]) -> dict[str, Any]:
    """Return plain fields in which a number that JSON does not have is none, named in the metadata instead.

    A field of its own (a score of NaN) is left out; within a field (in params) it becomes None.
    """
    odd: dict[str, str] = {}
    rest = {}
    for name, value in fields.items():
        clean = _without_odd(value, name, odd)
        if clean is not None or value is None:
            rest[name] = clean
    if not odd:
        return fields
    noted = dict(list(odd.items())[:MAX_NOTED])
    if len(odd) > MAX_NOTED:
        noted["more"] = f"{len(odd) - MAX_NOTED:,}"
    metadata = rest.get("metadata", {})
    return {**rest, "metadata": {**metadata, NOT_FINITE: noted} if isinstance(metadata, Mapping) else metadata}


def _without_odd(value: Any, path: str, odd: dict[str, str]) -> Any:
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        odd[path] = str(value)
        return None
    if isinstance(value, dict):
        return {name: _without_odd(item, f"{path}.{name}", odd) for name, item in value.items()}
    if isinstance(value, list):
        return [_without_odd(item, f"{path}.{place}", odd) for place, item in enumerate(value)]
    return value


def _number(value: Any) -> Any:
    """Return a number that is of no Python type, such as NumPy's long double, as the nearest that is."""
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else value
