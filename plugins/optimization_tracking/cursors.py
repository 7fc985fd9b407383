"""Cursors: where a page ended, as one opaque word.

They hold nothing secret, and a forged one leads to the caller's own rows only: the database decides who sees what.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any

from optimization_tracking.models.values import MAX_COUNT, MAX_SCORE, check_text
from optimization_tracking.problem_details import Refusal, invalid


def write_cursor(order: str, place: Sequence[Any]) -> str:
    """Return the cursor of a place, which is JSON values, in an order, which is any word of ours."""
    text = json.dumps([order, *place], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(cursor: str, *, order: str, kinds: Sequence[type | tuple[type, ...]]) -> list[Any]:
    """Return the place of a cursor.

    Args:
        order: what the page is ordered by; a cursor of another order has no place in it.
        kinds: the type of each value of the place.

    Raises:
        Refusal: it is not a cursor, or one of another order.
    """
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        found, *place = json.loads(text)
    except (binascii.Error, ValueError, TypeError, RecursionError):
        raise wrong_cursor() from None
    if found != order:
        raise invalid("cursor", "belongs to another order; keep orderBy and orderDirection from page to page")
    fits = len(place) == len(kinds) and all(_is(value, kind) for value, kind in zip(place, kinds, strict=True))
    if not fits:
        raise wrong_cursor()
    return list(place)


def _is(value: Any, kind: type | tuple[type, ...]) -> bool:
    """Return whether a value is of its type, and one that its column can hold; true and false are no numbers."""
    if isinstance(value, bool):
        return False
    if isinstance(value, int | float):
        return isinstance(value, kind) and abs(value) <= (MAX_COUNT if isinstance(value, int) else MAX_SCORE * 2)
    return isinstance(value, kind) and (not isinstance(value, str) or _is_text(value))


def _is_text(value: str) -> bool:
    try:
        check_text(value)
    except ValueError:
        return False
    return True


def wrong_cursor() -> Refusal:
    """The refusal of what is not a cursor of this API."""
    return invalid("cursor", "is not one of this API; take nextCursor of the page before")
