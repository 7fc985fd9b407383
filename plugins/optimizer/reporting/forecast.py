"""A run's forecast of the next days, with its intervals, in words and for programs."""

from collections.abc import Callable, Mapping
from typing import Any

from optimizer.presentation.formats import amount, percent

QUANTITIES: dict[str, tuple[str, Callable[[Any], str]]] = {
    "expected_win_rate": ("win rate", percent),
    "expected_cpm": ("CPM", amount),
    "expected_spend_per_day": ("spend a day", amount),
    "expected_margin": ("margin", percent),
}
"""Figure of a forecast: its name, and how it is written."""

ENDS = ("", "_low", "_high", "_low_80", "_high_80")
FORECAST_KEYS = tuple(f"{name}{end}" for name in QUANTITIES for end in ENDS)
"""Every figure of a forecast: the value, its 95 % interval and its 80 % interval."""


def forecast_of(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the forecast in a run's metrics, {section: {key: value}}; runs of older versions have no intervals."""
    figures = {**(metrics.get("bidding") or {}), **(metrics.get("forecast") or {})}
    return {key: figures[key] for key in FORECAST_KEYS if figures.get(key) is not None}


def forecast_sentence(figures: Mapping[str, Any]) -> str | None:
    """Return the forecast as one line, None where there is none."""
    known = [name for name in QUANTITIES if figures.get(name) is not None]
    if not known:
        return None
    parts = (f"{QUANTITIES[name][0]} {written(figures, name)}" for name in known)
    has_intervals = any(interval(figures, name) for name in known)
    return f"Forecast of the next days{', with 95 % intervals' if has_intervals else ''}: {', '.join(parts)}"


def written(figures: Mapping[str, Any], name: str) -> str:
    """Return a figure with its 95 % interval where it has one: 14.20 (13.90 to 14.60)."""
    value, ends = QUANTITIES[name][1](figures.get(name)), interval(figures, name)
    return f"{value} ({ends})" if ends else value


def interval(figures: Mapping[str, Any], name: str) -> str:
    """Return the 95 % interval of a figure: 13.90 to 14.60; empty where it has none."""
    low, high = (figures.get(f"{name}{end}") for end in ("_low", "_high"))
    write = QUANTITIES[name][1]
    return "" if low is None or high is None else f"{write(low)} to {write(high)}"
