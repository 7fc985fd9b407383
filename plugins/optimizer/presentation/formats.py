"""Numbers as the page writes them; what is missing is an en dash."""

import math
import re
from typing import Any

MISSING = "\N{EN DASH}"
NO_BREAK = "\N{NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"

# Control characters but tab and the ends of lines, what has no width (soft hyphens, fillers, tags; not the joiners and
# variation selectors of emoji), and marks that change the direction of a text.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0\U000e0000-\U000e007f]|\r(?!\n)"
)
_BREAKS = re.compile("[\t\n\r]")


def visible(text: str) -> str:
    """Return a text with its unseen characters as escapes, so that a terminal or a page shows what it holds."""
    return _UNSEEN.sub(_escape, text)


def one_line(text: str) -> str:
    """Return a text as `visible` does, its tabs and ends of lines as escapes too."""
    return visible(_BREAKS.sub(_escape, text))


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def amount(value: Any) -> str:
    """Return money: 12.34, and from a thousand on without cents: 1,234."""
    return MISSING if _is_missing(value) else _signs(f"{value:,.{_cents(value)}f}")


def percent(value: Any) -> str:
    """Return a share of one: 0.305 becomes 30.5 %, and a share that is all but nothing <0.1 %."""
    if _is_missing(value):
        return MISSING
    return f"<0.1{NO_BREAK}%" if 0 < value < 0.0005 else _signs(f"{100 * value:.1f}{NO_BREAK}%")


def change(value: Any) -> str:
    """Return a relative change with its sign: +15.0 %."""
    return MISSING if _is_missing(value) else _signs(f"{100 * value:+.1f}{NO_BREAK}%")


def points(value: Any) -> str:
    """Return a difference of two shares in percentage points, with its sign: +1.5 pp."""
    return MISSING if _is_missing(value) else _signs(f"{100 * value:+.1f}{NO_BREAK}pp")


def signed_amount(value: Any) -> str:
    """Return a difference of money with its sign: +0.35."""
    return MISSING if _is_missing(value) else _signs(f"{value:+,.{_cents(value)}f}")


def count(value: Any) -> str:
    """Return a whole number: 141,775."""
    return MISSING if _is_missing(value) else _signs(f"{value:,.0f}")


def segments(number: int) -> str:
    """Return how many segments: 1 segment, 1,529 segments."""
    return f"{count(number)} segment{'' if number == 1 else 's'}"


def count_days(number: int) -> str:
    """Return how many days: 1 day, 14 days."""
    return f"{count(number)} day{'' if number == 1 else 's'}"


def measure(value: Any) -> str:
    """Return a number of any size with four digits that matter: 0.0123, 250, 1e-09."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if _is_missing(value):
        return MISSING
    if not isinstance(value, int | float):
        return str(value)
    is_whole_or_large = math.isfinite(value) and (value == int(value) or abs(value) >= 1000)
    return _signs(f"{value:,.0f}" if is_whole_or_large else f"{value:.4g}")


def significant(value: float, *, digits: int = 3) -> str:
    """Return a number with that many digits that matter, as messages write it: 0.0123, 2.5, 1e-09."""
    return f"{value:.{digits}g}"


def _cents(value: float) -> int:
    return 2 if abs(value) < 1000 else 0


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _signs(text: str) -> str:
    # A zero has no sign, and the mark of a negative number is as wide as a plus.
    if text.lstrip("+-").strip("0.,%p" + NO_BREAK) == "":
        text = text.lstrip("+-")
    return text.replace("-", MINUS) if "e" not in text else text
