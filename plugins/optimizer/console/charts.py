"""What the pages' charts draw, as charts.js takes it."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import Any

from optimizer.bidder.funnel import HourOfDay
from optimizer.console.answers.client import ClientDay, Mark
from optimizer.console.answers.what_if import WhatIfAnswer

Chart = dict[str, Any]

MAX_LABELS = 4

_FIGURES: tuple[tuple[str, str, str], ...] = (
    ("win_rate", "Win rate", "%"),
    ("cpm", "CPM", ""),
    ("margin", "Margin", "%"),
    ("spend", "Spend a day", ""),
    ("ctr", "CTR", "%"),
)
"""Attribute of Day, title and unit; money is in currency units."""


def day_charts(days: Sequence[ClientDay], marks: Sequence[Mark], targets: dict[str, float | None]) -> list[Chart]:
    """Return a chart for each figure that is known on a day: measured, control, forecast and target."""
    return [
        _day_chart(days, marks, name=name, title=title, unit=unit, target=targets.get(name))
        for name, title, unit in _FIGURES
        if any(getattr(day, name) is not None for day in days)
    ]


def hour_chart(hours: Sequence[HourOfDay]) -> Chart:
    """Return impressions asked and bid by hour."""
    return {
        "kind": "hours",
        "unit": "",
        "xLabel": "Hour (UTC)",
        "x": [one.hour.timestamp() for one in hours],
        "series": [
            {"label": "asked", "values": [one.asked for one in hours], "color": "s5"},
            {"label": "bid", "values": [one.bid for one in hours], "color": "s0"},
        ],
    }


def frontier_chart(found: WhatIfAnswer) -> Chart:
    """Return CPM by win rate: a line over targets, and the points of now and proposed."""
    points = {point.win_rate: point.cpm for point in found.frontier}
    marked = {
        label: (figures.win_rate.value, figures.cpm.value)
        for label, figures in (("now", found.proposal.now), ("proposed", found.proposal.proposed))
    }
    x = sorted({*points, *(win_rate for win_rate, _ in marked.values() if win_rate is not None)})
    line = {"label": "CPM", "values": [points.get(one) for one in x], "color": "s0", "dots": 5}
    own = [
        {"label": label, "values": [cpm if one == win_rate else None for one in x], "color": color, "dots": 11,
         "line": False}
        for (label, (win_rate, cpm)), color in zip(marked.items(), ("s5", "s1"), strict=True)
    ]  # fmt: skip
    marks = [{"x": win_rate, "text": label} for label, (win_rate, _) in marked.items() if win_rate is not None]
    axes = {"kind": "curve", "unit": "", "xUnit": "%", "xLabel": "Win rate"}
    return {**axes, "x": x, "series": [line, *own], "marks": marks}


def _day_chart(
    days: Sequence[ClientDay], marks: Sequence[Mark], *, name: str, title: str, unit: str, target: float | None
) -> Chart:
    series: list[Chart] = [{"label": title, "values": _values(days, name), "color": "s0", "dots": 5}]
    bands = []
    if _has(days, f"{name}_low"):
        series += [
            {"label": f"95 % {side}", "values": _values(days, f"{name}_{end}"), "edge": True}
            for side, end in (("up to", "high"), ("from", "low"))
        ]
        bands = [[2, 3]]
    if _has(days, f"control_{name}"):
        series.append({"label": "control", "values": _values(days, f"control_{name}"), "color": "s5", "dash": True})
    if _has(days, f"forecast_{name}"):
        series.append({"label": "forecast", "values": _values(days, f"forecast_{name}"), "color": "s1"})
    if target is not None:
        series.append({"label": "target", "values": [target] * len(days), "color": "s2", "dash": True})
    return {
        "kind": "days",
        "title": title,
        "unit": unit,
        "xLabel": "Day (UTC)",
        "x": [_seconds(day.day) for day in days],
        "series": series,
        "bands": bands,
        "marks": _marks([mark for mark in marks if _is_within(mark, days)]),
    }


def _has(days: Sequence[ClientDay], name: str) -> bool:
    return any(getattr(day, name, None) is not None for day in days)


def _values(days: Sequence[ClientDay], name: str) -> list[float | None]:
    return [getattr(day, name) for day in days]


def _seconds(day: date) -> float:
    return datetime.combine(day, time(), UTC).timestamp()


def _marks(marks: Sequence[Mark]) -> list[Chart]:
    """A line a day on which the split was changed; few of them have room for the shares."""
    of_day = {_place(mark.at): _shares(mark) for mark in marks}
    return [{"x": place, "text": text if len(of_day) <= MAX_LABELS else ""} for place, text in of_day.items()]


def _place(moment: datetime) -> float:
    """Days are drawn at their start, so a change of the split is drawn at the start of its day."""
    return _seconds(moment.astimezone(UTC).date())


def _is_within(mark: Mark, days: Sequence[ClientDay]) -> bool:
    return bool(days) and days[0].day <= mark.at.date() <= days[-1].day


def _shares(mark: Mark) -> str:
    return " / ".join(f"{percent}" for percent in mark.split.values()) + " %"
