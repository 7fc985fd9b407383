"""Values as the pages write them; numbers are the report's own."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from markupsafe import Markup

from optimizer.core.pricing.segment_search import key_text
from optimizer.presentation.formats import (
    MINUS,
    MISSING,
    NO_BREAK,
    amount,
    change,
    count,
    measure,
    percent,
    points,
    signed_amount,
    significant,
)
from optimizer.reporting.tables import REASONS

_AGES = ((timedelta(minutes=1), "s", 1), (timedelta(hours=1), "min", 60), (timedelta(days=2), "h", 3600))
_DAY_S = 86_400

_CODE, _NOTHING = Markup("<code>{}</code>"), Markup()

SPARK_WIDTH, SPARK_HEIGHT = 120, 28


def moment(value: datetime | None) -> str:
    """Return a time as an element: 2026-02-03 15:04 UTC, which zone.js turns into the reader's zone on demand."""
    if value is None:
        return MISSING
    return Markup('<time datetime="{}" data-moment>{}</time>').format(value.isoformat(), moment_text(value))


def moment_text(value: datetime | None) -> str:
    """Return a time in UTC to the minute, as text: 2026-02-03 15:04 UTC."""
    return MISSING if value is None else f"{value.astimezone(UTC):%Y-%m-%d %H:%M}{NO_BREAK}UTC"


def day(value: date | None) -> str:
    """Return a day: 2026-02-03."""
    return MISSING if value is None else f"{value:%Y-%m-%d}"


def age(value: datetime | None, now: datetime) -> str:
    """Return how long ago a time was, or in how long it will be: 12 min ago, in 3 h, 9 days ago."""
    if value is None:
        return MISSING
    distance = now - value
    seconds = abs(distance.total_seconds())
    text = next(
        (f"{seconds // unit_s:.0f}{NO_BREAK}{unit}" for below, unit, unit_s in _AGES if abs(distance) < below),
        f"{seconds // _DAY_S:,.0f} days",
    )
    return f"{text} ago" if distance >= timedelta() else f"in {text}"


def spark_points(values: Sequence[float | None]) -> str:
    """Return the points of a polyline in a box of SPARK_WIDTH x SPARK_HEIGHT; days without a value are left out."""
    known = [(place, value) for place, value in enumerate(values) if value is not None]
    if len(known) < 2:
        return ""
    low, high = min(value for _, value in known), max(value for _, value in known)
    step, room = SPARK_WIDTH / (len(values) - 1), SPARK_HEIGHT - 4
    scale = room / (high - low) if high > low else 0.0
    return " ".join(f"{place * step:.1f},{SPARK_HEIGHT - 2 - (value - low) * scale:.1f}" for place, value in known)


FIGURE_NAMES = {"win_rate": "win rate", "cpm": "CPM", "ctr": "CTR", "margin": "margin"}
PERIOD_NAMES = {"yesterday": "Yesterday", "month": "This month", "since_start": "Since the start"}


def small_percent(value: float | None) -> str:
    """Return a small share of one with three digits that matter: 0.00264 becomes 0.264 %."""
    return MISSING if value is None else f"{significant(100 * value)}{NO_BREAK}%"


def figure(value: float | None, name: str) -> str:
    """Return a live figure in its unit: CPM as money, the others as a percent."""
    if name == "cpm":
        return amount(value)
    return small_percent(value) if name == "ctr" else percent(value)


def figure_name(name: str) -> str:
    """Return a live figure's name in words."""
    return FIGURE_NAMES.get(name, name.replace("_", " "))


EXPECTED_NAMES = {"win_rate": "Win rate", "cpm": "CPM", "spend_per_day": "Spend a day"}


def expected_name(name: str) -> str:
    """Return the name of an expected figure in words."""
    return EXPECTED_NAMES[name]


def expected_figure(value: float | None, name: str) -> str:
    """Return an expected figure in its unit: the win rate as a percent, the others as money."""
    return percent(value) if name == "win_rate" else amount(value)


def expected_change(after: float | None, before: float | None, name: str) -> str:
    """Return how an expected figure changes: the win rate in points, the others in money."""
    if after is None or before is None:
        return MISSING
    return points(after - before) if name == "win_rate" else signed_amount(after - before)


def pairs(value: Mapping[str, Any] | None) -> str:
    """Return an audited value in words: key value, key value."""
    if not value:
        return MISSING
    return ", ".join(f"{name} {_plain(part)}" for name, part in value.items())


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return " / ".join(f"{part} {name}" for name, part in value.items()) or "nothing"
    return "default" if value is None else "yes" if value is True else "no" if value is False else str(value)


def period_name(name: str) -> str:
    """Return a period of savings in words."""
    return PERIOD_NAMES.get(name, name.replace("_", " "))


def small_points(value: float | None) -> str:
    """Return a difference of two small shares in percentage points with three digits that matter: +0.0264 pp."""
    if value is None:
        return MISSING
    digits = significant(100 * abs(value))
    return f"{'+' if value > 0 else MINUS if value < 0 else ''}{digits}{NO_BREAK}pp"


def as_sentence(text: str) -> str:
    """Return a remark with a capital and a full stop; the name of a setting keeps its letters."""
    first = text.split(maxsplit=1)[0] if text.strip() else ""
    start = text if "_" in first or "=" in first else text[:1].upper() + text[1:]
    return start if start.endswith(".") else f"{start}."


def coded(text: str | None) -> str:
    """Return a text in which what stands between backticks is marked as code."""
    parts = (text or "").split("`")
    if len(parts) % 2 == 0:
        return text or ""
    return _NOTHING.join(_CODE.format(part) if place % 2 else part for place, part in enumerate(parts))


def reason(name: str) -> str:
    """Return the reason of a bid in words."""
    return REASONS.get(name, name.replace("_", " "))


FILTERS: dict[str, Callable[..., Any]] = {
    "age": age,
    "amount": amount,
    "as_sentence": as_sentence,
    "change": change,
    "coded": coded,
    "count": count,
    "day": day,
    "expected_change": expected_change,
    "expected_figure": expected_figure,
    "expected_name": expected_name,
    "figure": figure,
    "figure_name": figure_name,
    "key_text": key_text,
    "measure": measure,
    "moment": moment,
    "moment_text": moment_text,
    "pairs": pairs,
    "percent": percent,
    "period_name": period_name,
    "points": points,
    "reason": reason,
    "signed_amount": signed_amount,
    "small_percent": small_percent,
    "small_points": small_points,
    "spark_points": spark_points,
}
