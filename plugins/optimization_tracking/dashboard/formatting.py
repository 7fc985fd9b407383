"""Values as the pages write them: durations, moments, money, JSON. Numbers are the report's own."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from optimizer.presentation.formats import MINUS, MISSING, NO_BREAK, change, count, measure

_AGES = ((60, "s", 1), (3600, "min", 60), (86_400, "h", 3600), (30 * 86_400, "d", 86_400))
_UNITS = ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))
LONGEST_TEXT = 400


def moment(value: datetime | None) -> str:
    """Return a time in UTC to the minute: 2026-02-03 15:04 UTC."""
    return MISSING if value is None else f"{value.astimezone(UTC):%Y-%m-%d %H:%M}{NO_BREAK}UTC"


def local_moment(text: str) -> str:
    """Return what the input of a time shows: the ISO time in UTC without its offset; another text as it is."""
    try:
        value = datetime.fromisoformat(text)
        value = value.astimezone(UTC) if value.tzinfo else value
    except (ValueError, OverflowError):  # the latter outside the years 1 to 9999 in UTC
        return text
    return value.replace(tzinfo=None).isoformat(timespec="minutes")


def age(value: datetime, *, now: datetime) -> str:
    """Return how long ago a time was: just now, 12 min ago, in 3 h; beyond 30 days nothing."""
    seconds = (now - value).total_seconds()
    for limit_s, unit, unit_s in _AGES:
        if abs(seconds) < limit_s:
            if unit == "s":
                return "just now"
            amount = f"{abs(seconds) // unit_s:.0f}{NO_BREAK}{unit}"
            return f"{amount} ago" if seconds > 0 else f"in {amount}"
    return ""


def duration(value_ms: float | None) -> str:
    """Return a duration in the two units that matter: 340 ms, 12.5 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    if value_ms is None:
        return MISSING
    if value_ms < 1000:
        return f"{measure(value_ms)}{NO_BREAK}ms"
    seconds = value_ms / 1000
    if seconds < 59.95:
        return f"{seconds:.1f}{NO_BREAK}s"
    for unit_s, unit, part_s, part in _UNITS:
        if round(seconds) >= unit_s:
            whole, rest = divmod(round(seconds), unit_s)
            return f"{whole:,}{NO_BREAK}{unit} {rest // part_s}{NO_BREAK}{part}"
    raise AssertionError("every duration has a unit")


def dollars(value: float | None) -> str:
    """Return money in US dollars: $12.34, and what is less than a cent with two digits that matter."""
    if value is None:
        return MISSING
    return f"${value:.2g}" if 0 < value < 0.01 else f"${value:,.2f}"


def percent_change(value: float | None) -> str:
    """Return percent with its sign: +15.0 %."""
    return MISSING if value is None else change(value / 100)


def signed(value: float | None) -> str:
    """Return a difference with its sign: +0.0123."""
    text = measure(value)
    return text if value is None or value <= 0 or text.startswith(MINUS) else f"+{text}"


def p_value(value: float) -> str:
    """Return a p-value with two digits that matter, and a very small one as a bound: 0.031, <0.0001."""
    return "<0.0001" if value < 0.0001 else f"{value:.2g}"


def json_text(value: Any) -> str:
    """Return any JSON value exactly, as one line; a text without its quotes."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def brief(value: Any) -> str:
    """Return any JSON value as one line, its numbers with the four digits that matter."""
    return json_text(_rounded(value))


def shortened(text: str, longest: int = LONGEST_TEXT) -> str:
    """Return the text, or its beginning and an ellipsis."""
    return text if len(text) <= longest else f"{text[:longest]}…"


def pretty_json(value: Any) -> str:
    """Return a JSON value over several lines."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return float(f"{value:.4g}") if isinstance(value, float) and abs(value) < 1000 else value


FILTERS: dict[str, Callable[..., Any]] = {
    "age": age,
    "brief": brief,
    "count": count,
    "measure": measure,
    "moment": moment,
    "local_moment": local_moment,
    "duration": duration,
    "dollars": dollars,
    "percent_change": percent_change,
    "signed": signed,
    "json_text": json_text,
    "shortened": shortened,
    "pretty_json": pretty_json,
    "p_value": p_value,
}
