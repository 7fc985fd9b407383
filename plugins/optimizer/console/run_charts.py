"""What the charts of runs and segments draw, as charts.js takes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any

import numpy as np
import pandas as pd

from optimizer.console.answers.run_history import Day
from optimizer.console.answers.segments import Segment
from optimizer.core.pricing.bid_steps import BidStep
from optimizer.core.pricing.segment_curve import CurvePoints
from optimizer.core.pricing.step_notes import step_note
from optimizer.presentation.formats import count

Chart = dict[str, Any]

BINS = 40
COVERAGE_POINTS = 120

_LIVE: tuple[tuple[str, str, str], ...] = (("win_rate", "Win rate", "%"), ("cpm", "CPM", ""), ("margin", "Margin", "%"))
"""Attribute of a live day and of its forecast, title and unit."""


def live_charts(days: Sequence[Day]) -> list[Chart]:
    """Return a chart for each figure that was measured: day by day, with what the run had forecast."""
    return [
        {
            "kind": "days",
            "title": title,
            "unit": unit,
            "xLabel": "Day (UTC)",
            "x": [datetime.combine(one.day, time(), UTC).timestamp() for one in days],
            "series": [
                _line(title, [getattr(one, name) for one in days], "s0", dots=5),
                _line("forecast", [getattr(one, f"forecast_{name}") for one in days], "s1", dash=True),
            ],
            "bands": [],
            "marks": [],
        }
        for name, title, unit in _LIVE
        if any(getattr(one, name) is not None for one in days)
    ]


def segment_chart(segment: Segment) -> Chart:
    """Return the win-rate curve of a segment with its interval, what was seen, and its bids as marks."""
    curve, explained = segment.curve, segment.explanation
    x, series = _with_seen(curve)
    wanted = explained.steps[0].bid_cpm
    marks = [("wanted", wanted), ("served", explained.suggested_bid_cpm)]
    if explained.curve.hidden_floor_cpm is not None:
        marks.append(("hidden floor", explained.curve.hidden_floor_cpm))
    return {
        "kind": "curve",
        "title": "Win rate against the bid",
        "unit": "%",
        "xUnit": "",
        "xLabel": "bid, CPM",
        "x": x,
        "series": series,
        "bands": [[2, 3]],
        "marks": [{"x": bid, "text": f"{name} {bid:.2f}"} for name, bid in marks if bid is not None],
    }


def _with_seen(curve: CurvePoints) -> tuple[list[float], list[Chart]]:
    """The bids, with the one at which the log shows a win rate among them, and the lines."""
    points = sorted(zip(curve.bid_cpm, curve.win_rate, curve.low, curve.high, strict=True))
    rows: list[tuple[Any, ...]] = [(*point, None, None, None) for point in points]
    if (seen := curve.seen) is not None:
        at = np.asarray(curve.bid_cpm)
        between = [
            None if any(value is None for value in values) else float(np.interp(seen.bid_cpm, at, np.asarray(values)))
            for values in (curve.win_rate, curve.low, curve.high)
        ]
        rows.append((seen.bid_cpm, *between, seen.win_rate, seen.low, seen.high))
        rows.sort(key=lambda row: row[0])
    columns = [list(column) for column in zip(*rows, strict=True)]
    series = [
        _line("expected", columns[1], "s0"),
        {"label": "95 % up to", "values": columns[3], "edge": True},
        {"label": "95 % from", "values": columns[2], "edge": True},
    ]
    if curve.seen is not None:
        series.append(_line("seen lately", columns[4], "s1", dots=9, line=False))
        series.append(_line("seen lately, 95 % from", columns[5], "s1", dots=4, line=False))
        series.append(_line("seen lately, 95 % up to", columns[6], "s1", dots=4, line=False))
    return columns[0], series


def bid_distribution(bids: pd.DataFrame) -> Chart | None:
    """Return the share of requests by planned bid, now and before; None where nothing is bid."""
    now = bids[bids["planned_bid_cpm"].notna()]
    before = bids[bids["previous_bid_cpm"].notna()]
    if now.empty:
        return None
    every = np.concatenate([now["planned_bid_cpm"].to_numpy(float), before["previous_bid_cpm"].to_numpy(float)])
    edges = np.linspace(every.min(), max(every.max(), every.min() + 0.01), BINS + 1)
    total = max(1.0, float(bids["bids"].sum()))
    series = [_line("this run", _shares(now["planned_bid_cpm"], now["bids"], edges, total), "s0")]
    if len(before):
        shares = _shares(before["previous_bid_cpm"], before["bids"], edges, total)
        series.append(_line("the run live before", shares, "s5", dash=True))
    middles = ((edges[1:] + edges[:-1]) / 2).tolist()
    return _curve("Bids now and before", "bid, CPM", middles, series)


def coverage(bids: pd.DataFrame) -> Chart:
    """Return the share of requests that the largest segments hold, and how much of it is served its own bid."""
    table = bids.sort_values("bids", ascending=False, kind="stable")
    requests = table["bids"].to_numpy(float) / max(1.0, float(table["bids"].sum()))
    every, served = np.cumsum(requests), np.cumsum(requests * table["is_served"].to_numpy(bool))
    places = np.unique(np.linspace(1, len(table), min(COVERAGE_POINTS, len(table))).round().astype(int))
    series = [
        _line("all segments", every[places - 1].tolist(), "s5", dash=True),
        _line("served their own bid", served[places - 1].tolist(), "s0"),
    ]
    return _curve("Coverage", "segments, the largest first", places.tolist(), series)


def calibration(bins: Sequence[Mapping[str, float]]) -> Chart | None:
    """Return predicted against observed win rates on the test days; None where the run left none."""
    if len(bins) < 2:
        return None
    ordered = sorted(bins, key=lambda one: one["predicted"])
    return {
        "kind": "agreement",
        "title": "Predicted and observed win rates",
        "unit": "%",
        "xUnit": "%",
        "xLabel": "predicted win rate",
        "x": [one["predicted"] for one in ordered],
        "notes": [f"{count(one['bids'])} bids" for one in ordered],
        "series": [{"label": "observed", "values": [one["observed"] for one in ordered], "dots": True}],
    }


def multipliers(table: pd.DataFrame, *, title: str, weight: str | None) -> Chart | None:
    """Return the distribution of multipliers, over requests or over the rows; None without any.

    Args:
        weight: the column that counts, None: each row counts once.
    """
    if table.empty:
        return None
    values = table["multiplier"].to_numpy(float)
    weights = np.ones(len(values)) if weight is None else table[weight].to_numpy(float)
    edges = np.linspace(values.min(), max(values.max(), values.min() + 0.01), BINS + 1)
    shares = _shares(table["multiplier"], pd.Series(weights), edges, max(1.0, float(weights.sum())))
    middles = ((edges[1:] + edges[:-1]) / 2).tolist()
    return _curve(title, "multiplier", middles, [_line(title.lower(), shares, "s0")])


def small_curve(title: str, curve: CurvePoints, *, served: float | None) -> Chart:
    """Return the win-rate curve of one of several segments."""
    x, series = _with_seen(curve)
    marks = [] if served is None else [{"x": served, "text": f"{served:.2f}"}]
    return _curve(title, "bid, CPM", x, series) | {"bands": [[2, 3]], "marks": marks}


def _curve(title: str, x_label: str, x: list[float], series: list[Chart]) -> Chart:
    return {
        "kind": "curve",
        "title": title,
        "unit": "%",
        "xUnit": "",
        "xLabel": x_label,
        "x": x,
        "series": series,
        "bands": [],
        "marks": [],
    }


def _line(label: str, values: list[Any], color: str, **options: Any) -> Chart:
    return {"label": label, "values": values, "color": color, **options}


def _shares(values: pd.Series, weights: pd.Series, edges: np.ndarray, total: float) -> list[float]:
    counted = np.histogram(values.to_numpy(float), bins=edges, weights=weights.to_numpy(float))[0]
    return [float(share) for share in counted / total]


@dataclass(frozen=True, slots=True)
class WaterfallRow:
    """A step of a bid as a bar, positions in hundredths of the chart's width.

    before, after: of the bid, None where there is none. low, high: ends of what the step allows.
    """

    step: BidStep
    note: str
    before: float | None
    after: float | None
    low: float
    high: float


def waterfall(steps: Sequence[BidStep]) -> list[WaterfallRow]:
    """Return a bar for each step from the wanted bid to the served one, on one scale."""
    bids = [step.bid_cpm for step in steps if step.bid_cpm is not None]
    least, most = 0.85 * min(bids), 1.15 * max(bids)

    def place(bid_cpm: float) -> float:
        return round(100 * min(max((bid_cpm - least) / (most - least), 0.0), 1.0), 2)

    rows, before = list[WaterfallRow](), steps[0].bid_cpm
    for step in steps:
        rows.append(
            WaterfallRow(
                step=step,
                note=step_note(step),
                before=None if before is None else place(before),
                after=None if step.bid_cpm is None else place(step.bid_cpm),
                low=0.0 if step.low_cpm is None else place(step.low_cpm),
                high=100.0 if step.high_cpm is None else place(step.high_cpm),
            )
        )
        before = step.bid_cpm
    return rows
