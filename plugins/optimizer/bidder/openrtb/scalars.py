"""Fields of a bid request as values: whatever type an exchange writes them in, with a note of what was odd."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from optimizer.bidder.openrtb.oddities import Oddities, Oddity
from optimizer.bidder.openrtb.parsing import is_writable

Object = Mapping[str, Any]

_USUAL_AMOUNT = 1e300
"""An amount below this one is a float without a look at anything else."""

NOTHING: Object = MappingProxyType({})
"""An object that is not there."""

_TRUE, _FALSE = frozenset({"1", "true", "yes", "y", "on"}), frozenset({"0", "false", "no", "n", "off"})


def read_object(parent: Object, name: str, oddities: Oddities) -> Object:
    """Return the object in the field, or an empty one where there is none that can be read."""
    value = parent.get(name, NOTHING)
    if type(value) is dict or value is NOTHING:
        return value
    oddities.append(oddity_of(value))
    return NOTHING


def read_list(parent: Object, name: str, oddities: Oddities) -> list[Any]:
    """Return the list in the field, or an empty one where there is none that can be read."""
    value = parent.get(name, NOTHING)
    if type(value) is list:
        return value
    if value is not NOTHING:
        oddities.append(oddity_of(value))
    return []


def read_amount(parent: Object, name: str, oddities: Oddities) -> float | None:
    """Return the number, at least 0; 0 where the field is absent, null or empty, None where it cannot be read."""
    value = parent.get(name, 0)
    if type(value) in (int, float) and 0 <= value < _USUAL_AMOUNT:
        return float(value)
    if value is None or value == "":
        oddities.append(Oddity.NULL if value is None else Oddity.EMPTY)
        return 0.0
    number = read_number(value, oddities)
    return number if number is not None and number >= 0 else None


def read_number(value: object, oddities: Oddities) -> float | None:
    """Return a number that is written as number or text, or None where it is not one."""
    if isinstance(value, str):
        if "_" in value:  # Python's own
            return None
        oddities.append(Oddity.NUMBER_AS_TEXT)
    elif isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def read_flag(parent: Object, name: str, oddities: Oddities) -> bool | None:
    """Return the flag; False where the field is absent, null or empty, None where it cannot be read."""
    return as_flag(parent.get(name, 0), oddities)


def as_flag(value: object, oddities: Oddities) -> bool | None:
    """Return the flag; False where it is null or empty, None where it cannot be read."""
    if type(value) is int:
        if value in (0, 1):
            return value == 1
        oddities.append(Oddity.OUT_OF_RANGE)
        return None
    if value is None or value in ("", [], {}):
        oddities.append(Oddity.NULL if value is None else Oddity.EMPTY)
        return False
    if value in (0, 1):  # 1.0 or true
        oddities.append(Oddity.FLAG_AS_NUMBER)
        return bool(value)
    text = value.strip().casefold().removesuffix(".0") if isinstance(value, str) else ""
    is_known = text in _TRUE or text in _FALSE
    oddities.append(Oddity.NUMBER_AS_TEXT if is_known else Oddity.WRONG_TYPE)
    return text in _TRUE if is_known else None


def read_id(value: object, oddities: Oddities) -> str | None:
    """Return an id that an answer can repeat, or None; OpenRTB wants text, and a whole number will do."""
    if type(value) is str:
        return value if value.strip() and (value.isascii() or is_writable(value)) else None
    if type(value) is int:
        oddities.append(Oddity.ID_AS_NUMBER)
        return str(value)
    return None


def read_texts(parent: Object, name: str, oddities: Oddities) -> list[str] | None:
    """Return the texts of a list, without outer spaces, or of one text; None where none of what it has can be read."""
    value = parent.get(name, NOTHING)
    if value is NOTHING:
        return []
    if type(value) is not list:
        if is_empty(value):
            oddities.append(oddity_of(value))
            return []
        if type(value) not in (str, int):
            oddities.append(Oddity.WRONG_TYPE)
            return None
        oddities.append(Oddity.TEXT_AS_LIST)
        value = value.split(",") if type(value) is str else [value]
    texts = [text for text in map(as_text, value) if text]
    if len(texts) < len(value):
        oddities.append(Oddity.WRONG_TYPE)
    return texts if texts or all(map(is_empty, value)) else None


def as_text(value: object) -> str | None:
    """Return a text without outer spaces, or a whole number as text; None where it is empty or neither."""
    kind = type(value)
    if kind is str:
        return value.strip() or None  # type: ignore[attr-defined]
    if kind is int:
        return str(value)
    if kind is float and value.is_integer():  # type: ignore[attr-defined]
        return str(int(value))  # type: ignore[call-overload]
    return None


def is_empty(value: object) -> bool:
    """Return whether the value says nothing: null, text of spaces at most, or an empty list or object."""
    return value is None or value in ([], {}) or (isinstance(value, str) and not value.strip())


def oddity_of(value: object) -> Oddity:
    """Return what is odd about a value in the place of another type."""
    if value is None:
        return Oddity.NULL
    return Oddity.EMPTY if is_empty(value) else Oddity.WRONG_TYPE
