"""The tables of the page, in words and numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from optimizer.core.frames import rows_of
from optimizer.core.pricing.backtest_estimate import QuantityComparison
from optimizer.presentation.formats import amount, count, measure, percent, points, signed_amount
from optimizer.reporting.report_data import RunStory

MOST_SEGMENTS = 50

REASONS = {
    "target": "no bound: what is wanted at the shadow price",
    "value": "no bound: the value alone reaches the target",
    "margin": "the target margin of the value",
    "cap": "the highest bid allowed",
    "floor": "raised to the floor",
    "hidden_floor": "raised above a price below which no bid wins",
    "round_price": "a cent above a round price: wins more for its price",
    "trust_band": "the edge of the bids that the log knows",
    "step": "the daily step from what was served before",
    "shrinkage": "thin evidence: close to segments like it",
    "exploration": "thin, below the target: lifted to the upper end of what may be right",
    "held": "kept at what was usually bid: the log does not show what a change would do",
    "no_bid_floor": "no bid: nothing is left between its floor and what margin and cap allow",
}
"""What the page says of each reason of a bid."""

SEGMENT_REASONS = REASONS | {"target": "no bound: wins the target of its segment"}
"""The same where each segment has to reach the target on its own, so the shadow price is 0."""

QUANTITIES = {
    "win_rate": ("Win rate", percent, points),
    "spend": ("Spend", amount, signed_amount),
    "cpm": ("CPM", amount, signed_amount),
    "surplus": ("Surplus", amount, signed_amount),
    "margin": ("Margin", percent, points),
}
"""Quantity of a backtest: its name, how it is written, how a difference of it is."""

RELATIONS = {"<=": "≤", ">=": "≥"}


@dataclass(frozen=True, slots=True)
class CheckRow:
    """A validation check; verdict is failed, holds, warning or passed."""

    name: str
    verdict: str
    figure: str
    limit: str
    message: str


@dataclass(frozen=True, slots=True)
class ReasonRow:
    """How many bids one reason set, and what it means."""

    reason: str
    meaning: str
    segments: str
    requests: str


@dataclass(frozen=True, slots=True)
class IntervalText:
    """A number with its 95 % interval; is_clear where a difference's interval leaves 0 out."""

    value: str
    interval: str
    is_clear: bool = False


@dataclass(frozen=True, slots=True)
class BacktestRow:
    """A quantity of the backtest."""

    quantity: str
    active: IntervalText
    new: IntervalText
    difference: IntervalText


def check_rows(story: RunStory) -> list[CheckRow]:
    """Return the checks: failed ones first, then those that hold the run, warnings, and those that passed."""
    order = ("failed", "holds", "warning", "passed")
    rows = [
        CheckRow(
            name=check.name,
            verdict=check.verdict,
            figure=measure(check.figure),
            limit=f"{RELATIONS[check.relation]} {measure(check.limit)}",
            message="" if check.is_passed else check.message,
        )
        for check in story.checks
    ]
    return sorted(rows, key=lambda row: order.index(row.verdict))


def reason_rows(story: RunStory) -> list[ReasonRow]:
    """Return the reasons of the bids, the one with most requests first."""
    grouped = story.bids.groupby("reason")["bids"]
    shares = pd.DataFrame({"segments": grouped.size(), "requests": grouped.sum()})
    shares = shares.sort_values("requests", ascending=False, kind="stable")
    meanings = SEGMENT_REASONS if story.win_rate_scope == "segment" else REASONS
    return [
        ReasonRow(
            reason_name(row.Index),
            meanings.get(row.Index, ""),
            count(row.segments),
            percent(row.requests / shares["requests"].sum()),
        )
        for row in rows_of(shares)
    ]


def reason_name(reason: str) -> str:
    """Return a reason as the page writes it."""
    return reason.replace("_", " ")


def feature_rows(story: RunStory) -> list[tuple[str, str, str, str, str]]:
    """Return name, signal score, gain, its lower bound and the reason of every candidate."""
    return [
        (
            feature.feature_name,
            measure(feature.signal_score),
            measure(feature.gain),
            measure(feature.gain_lower),
            feature.reason,
        )
        for feature in story.features
    ]


def backtest_rows(story: RunStory) -> list[BacktestRow]:
    """Return the quantities of the backtest with their intervals, none where there was no backtest."""
    return [] if story.backtest is None else [_backtest_row(row) for row in story.backtest.rows]


def segment_rows(story: RunStory) -> list[tuple[str, ...]]:
    """Return the largest segments: key, bid, requests, win rate seen, win rate expected, served and reason."""
    largest = story.bids.sort_values("bids", ascending=False, kind="stable").head(MOST_SEGMENTS)
    return [
        (
            row.segment_key,
            amount(row.suggested_bid_cpm),
            count(row.bids),
            percent(row.observed_win_rate),
            percent(row.expected_win_rate),
            "yes" if row.is_served else "no",
            reason_name(row.reason),
        )
        for row in rows_of(largest)
    ]


def figure_rows(story: RunStory) -> list[tuple[str, str]]:
    """Return name and value of every single figure of the run."""
    return [
        (name, measure(value))
        for name, value in sorted(story.figures.items())
        if value is None or isinstance(value, bool | int | float | str)
    ]


def _backtest_row(row: QuantityComparison) -> BacktestRow:
    name, write, write_difference = QUANTITIES.get(row.quantity, (row.quantity, measure, measure))
    difference = _estimate(row, "difference", write_difference)
    low, high = row.difference_low, row.difference_high
    is_clear = low is not None and high is not None and (low > 0 or high < 0)
    return BacktestRow(
        name,
        _estimate(row, "active", write),
        _estimate(row, "new", write),
        IntervalText(difference.value, difference.interval, is_clear),
    )


def _estimate(row: QuantityComparison, side: str, write: Callable[[Any], str]) -> IntervalText:
    value, low, high = (getattr(row, f"{side}{end}") for end in ("", "_low", "_high"))
    return IntervalText(write(value), "" if low is None or high is None else f"{write(low)} to {write(high)}")
