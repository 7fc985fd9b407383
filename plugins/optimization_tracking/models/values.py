"""The kinds of values in the API, with the bounds that the tables have too. Wrong types are refused, not converted."""

import json
import re
from datetime import UTC, datetime
from math import isfinite
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, WithJsonSchema

MAX_COUNT = 2**53 - 1
"""The largest integer that every JSON reader keeps exact."""
MAX_INT = 2**31 - 1
MAX_SCORE = 1e100
MAX_JSON_DEPTH = 32
MAX_JSON_VALUES = 10_000
MAX_JSON_INT = 10**1000
MAX_JSON_BYTES = 4 * 1024 * 1024
"""Of one JSON value; a request can hardly bring a longer one, many of them together can."""
MAX_TAGS = 50
NO_NUL = r"^[^\x00]*$"

_ISO_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d")


def check_text(text: str) -> str:
    """Return the text, which Postgres can store.

    Raises:
        ValueError: it holds the NUL character or half of a surrogate pair.
    """
    if "\x00" in text:
        raise ValueError("the character NUL cannot be stored")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("half of a surrogate pair is not a character") from None
    return text


def check_json(value: Any) -> Any:
    """Return a JSON value that Postgres can store and other readers can take.

    Raises:
        ValueError: too deep, too many values, a number that is not finite, or a text that cannot be stored.
    """
    seen, level = 1, [value]
    for _ in range(MAX_JSON_DEPTH + 1):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict | list):
                seen += len(item)
                if seen > MAX_JSON_VALUES:  # counted before they are looked at
                    raise ValueError(f"holds more than {MAX_JSON_VALUES:,} values")
            if isinstance(item, dict):
                for key in item:
                    check_text(key)
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
            else:
                _check_scalar(item)
        if not below:
            return value
        level = below
    raise ValueError(f"is nested deeper than {MAX_JSON_DEPTH} levels")


class RepeatedName(ValueError):
    """A name that stands twice in one object: readers of JSON differ in which value they take."""

    def __init__(self, name: str) -> None:
        self.name = name[:100].encode(errors="replace").decode()
        super().__init__(f"the name {self.name!r} stands twice in one object")


def parse_json(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        RepeatedName, ValueError, RecursionError: it cannot be read, or not in one way only.
    """
    return json.loads(text, object_pairs_hook=_as_object)


def _as_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise RepeatedName(name)
            seen.add(name)
    return found


def parse_json_object(text: Any) -> Any:
    """Return the JSON object that a query parameter spells."""
    if not isinstance(text, str):
        return text
    try:
        value = parse_json(text)
    except RepeatedName:
        raise
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object")
    return value


def _check_scalar(value: Any) -> None:
    if isinstance(value, str):
        check_text(value)
    elif isinstance(value, float) and not isfinite(value):
        raise ValueError("NaN and infinity are not JSON numbers")
    elif isinstance(value, int) and abs(value) > MAX_JSON_INT:
        raise ValueError("holds an integer of more than 1,000 digits")


def _require_iso(value: Any) -> Any:
    # Pydantic would take numbers, in text too, as seconds since 1970.
    if isinstance(value, datetime) or (isinstance(value, str) and _ISO_MOMENT.match(value)):
        return value
    raise ValueError("must be a date and time with its offset, as 2026-02-03T15:00:00Z")


def _to_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is outside the years 1 to 9999 in UTC") from None


Moment = Annotated[AwareDatetime, BeforeValidator(_require_iso), AfterValidator(_to_utc)]
"""An ISO 8601 date and time with its offset; kept in UTC."""

Score = Annotated[float, Field(strict=True, ge=-MAX_SCORE, le=MAX_SCORE, allow_inf_nan=False)]
Amount = Annotated[float, Field(strict=True, ge=0, le=MAX_SCORE, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=0, le=MAX_COUNT)]
Index = Annotated[int, Field(strict=True, ge=0, le=MAX_INT)]
Flag = Annotated[bool, Field(strict=True)]

Text = Annotated[str, Field(strict=True, max_length=100_000, pattern=NO_NUL), AfterValidator(check_text)]
Name = Annotated[str, Field(strict=True, min_length=1, max_length=255, pattern=NO_NUL), AfterValidator(check_text)]
Tag = Annotated[str, Field(strict=True, min_length=1, max_length=100, pattern=NO_NUL), AfterValidator(check_text)]
MetricName = Annotated[
    str, Field(strict=True, min_length=1, max_length=200, pattern=NO_NUL), AfterValidator(check_text)
]
"""What a score measures, in the words of its readers: log loss on held-out segments."""
Tags = Annotated[list[Tag], Field(max_length=MAX_TAGS, fail_fast=True)]
OptimizerType = Annotated[str, Field(strict=True, pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
"""miprov2, bootstrap, copro, knn, random, custom, rtb, or any other name of this form."""
ProjectId = Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]

JsonValue = Annotated[Any, AfterValidator(check_json)]
JsonObject = Annotated[dict[str, Any], BeforeValidator(check_json)]
JsonObjectText = Annotated[
    JsonObject,
    BeforeValidator(parse_json_object),
    WithJsonSchema({"type": "string", "contentMediaType": "application/json", "examples": ['{"depth": 6}']}),
]
"""A JSON object written into a query parameter."""

Status = Literal["pending", "running", "completed", "failed", "cancelled"]
Direction = Literal["maximize", "minimize"]


def absent() -> Any:
    """The default of a field that may be left out but never be null; callers look at model_fields_set."""
    return None
