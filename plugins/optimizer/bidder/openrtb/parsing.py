"""The JSON of a body: at once where it is strict, and with patience where it is not."""

import json
import math
from typing import Any

from pydantic_core import from_json

from optimizer.bidder.openrtb.oddities import Oddities, Oddity
from optimizer.errors import RequestError

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def parse_json(body: bytes) -> Any:
    """Return the JSON of the body, which must be strict.

    Raises:
        RequestError: it is none, or has numbers that are none, or is nested beyond sense.
    """
    try:
        return from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        raise RequestError(f"the body is not JSON: {error}") from None


def parse_leniently(body: bytes, oddities: Oddities) -> Any:
    """Return the JSON of the body. What strict JSON forbids inside values does not cost the request.

    NaN becomes a float; a byte that is not UTF-8, or half a surrogate pair, becomes a letter that UTF-8 cannot write.

    Raises:
        RequestError: it is not JSON, or is nested beyond sense.
    """
    try:
        return from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        first_error = error
    if body.startswith(_BYTE_ORDER_MARK):
        oddities.append(Oddity.BYTE_ORDER_MARK)
        return parse_leniently(body.lstrip(_BYTE_ORDER_MARK), oddities)  # JSON begins with none of its bytes
    try:
        text = body.decode(json.detect_encoding(body), "surrogateescape")
        found = json.loads(text, parse_int=_parse_int, strict=False)
    except (ValueError, RecursionError):
        raise RequestError(f"the body is not JSON: {first_error}") from None
    oddities.append(Oddity.LOOSE_JSON)
    return found


def is_writable(text: str) -> bool:
    """Return whether the text can be written as UTF-8."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _parse_int(digits: str) -> int | float:
    try:
        return int(digits)
    except ValueError:  # Python reads no integer of more than 4,300 digits
        return math.copysign(math.inf, -1 if digits.startswith("-") else 1)
