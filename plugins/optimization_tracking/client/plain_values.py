"""Values of a program's own libraries as the plain ones that JSON has; no such library is needed for it."""

import math
from collections import deque
from collections.abc import Mapping, Set, ValuesView
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from numbers import Integral, Real
from typing import Any

from optimization_tracking.models.values import MAX_JSON_DEPTH

MAX_NOTED = 20
"""Numbers that are not finite which an entry's metadata name; of more, only how many."""

MAX_TEXT_OF_UNKNOWN = 1000
"""Characters of the text of a value that JSON does not have."""

NOT_FINITE = "notFinite"

_EXACT = 1e300
"""Whole numbers below are kept digit by digit."""

_PLAIN = frozenset({str, int, float, bool, type(None)})
_LISTED = (list, tuple, Set, range, deque, ValuesView)
_MISSING = frozenset({"NAType", "NaTType"})
"""pandas' types of what is missing, which compare with nothing."""


def plain(value: Any, *, level: int = 0) -> Any:
    """Return the value with NumPy's scalars and arrays, and what is like them, as Python's numbers and lists.

    Mappings, lists and sets are looked into, and names of any type become texts; decimals and fractions become numbers,
    what pandas has for a missing value becomes NaN, and bytes become text. Any other value comes back as it is.

    Raises:
        ValueError: it is nested deeper than JSON may be here, or contains itself.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if level > MAX_JSON_DEPTH + 1:  # that of the fields, and one more for the model to name the field
        raise ValueError(f"a value is nested deeper than {MAX_JSON_DEPTH} levels, or contains itself")
    if isinstance(value, Mapping):
        return {_name(name): plain(item, level=level + 1) for name, item in value.items()}
    if isinstance(value, _LISTED):
        return [plain(item, level=level + 1) for item in value]
    if isinstance(value, bytes | bytearray):
        return value.decode(errors="backslashreplace")
    if isinstance(value, Decimal | Fraction):
        return _nearest(value)
    return math.nan if kind.__name__ in _MISSING else _unpacked(value, level=level)


def without_odd_numbers(fields: dict[str, Any]) -> dict[str, Any]:
    """Return plain fields in which a number that JSON does not have is none, named in the metadata instead.

    A field of its own (a score of NaN) is left out; within a field (in params) it becomes None. Characters that cannot
    be stored become escapes.
    """
    odd: dict[str, str] = {}
    rest = {}
    for name, value in fields.items():
        clean = _without_odd(value, name, odd)
        if clean is not None or value is None:
            rest[name] = clean
    if not odd:
        return rest
    noted = dict(list(odd.items())[:MAX_NOTED])
    if len(odd) > MAX_NOTED:
        noted["more"] = f"{len(odd) - MAX_NOTED:,}"
    metadata = rest.get("metadata", {})
    return {**rest, "metadata": {**metadata, NOT_FINITE: noted} if isinstance(metadata, Mapping) else metadata}


def storable(text: str) -> str:
    """Return the text with what the service cannot store, NUL and halves of surrogate pairs, as escapes."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.replace("\x00", "\\0").encode(errors="backslashreplace").decode()


def as_text(value: Any, *, longest: int = MAX_TEXT_OF_UNKNOWN) -> str:
    """Return a text for a value that JSON does not have: the beginning of what it says of itself, or its type."""
    try:
        return storable(str(value)[:longest])
    except Exception:  # a caller's own value may raise anything
        return f"<{type(value).__name__}>"


def _without_odd(value: Any, path: str, odd: dict[str, str]) -> Any:
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        odd[path] = str(value)
        return None
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {storable(name): _without_odd(item, storable(f"{path}.{name}"), odd) for name, item in value.items()}
    if isinstance(value, list):
        return [_without_odd(item, f"{path}.{place}", odd) for place, item in enumerate(value)]
    return value


def _unpacked(value: Any, *, level: int) -> Any:
    """Return what a value of NumPy, pandas, PyTorch or JAX holds; of any other the value itself."""
    kind = type(value)
    with suppress(Exception):  # it may raise anything, and is then a value like any other
        if getattr(getattr(value, "dtype", None), "kind", "") in ("m", "M"):  # beyond microseconds it gives numbers
            value = value.astype(f"{value.dtype.kind}8[us]")
        for method in ("tolist", "item"):
            if callable(getattr(value, method, None)):
                found = getattr(value, method)()
                return plain(found, level=level + 1) if type(found) is not kind else _number(found)
    return value


def _name(name: Any) -> str:
    """Return a name of a mapping as JSON writes it."""
    if isinstance(name, str):
        return name
    spelled = {None: "null", True: "true", False: "false"}
    found = plain(name) if not isinstance(name, tuple) else name
    return spelled[found] if found is None or isinstance(found, bool) else as_text(found)


def _nearest(value: Decimal | Fraction) -> int | float:
    """Return the number, of a whole one its exact value."""
    if isinstance(value, Decimal) and value.is_nan():
        return math.nan  # a signaling one would raise
    try:
        number = float(value)
    except OverflowError:  # a fraction
        return math.inf if value > 0 else -math.inf
    return int(value) if abs(number) < _EXACT and value == int(value) else number


def _number(value: Any) -> Any:
    """Return a number that is of no Python type, such as NumPy's long double, as the nearest that is."""
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else value
