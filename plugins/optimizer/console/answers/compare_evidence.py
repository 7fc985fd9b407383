"""Which of two runs is better, by how much money a day, and how sure that is."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel

from optimizer.console.answers.run_forecast import Number
from optimizer.control_plane.live_rows import LiveDay
from optimizer.control_plane.records import Run
from optimizer.core.live.performance import LEAST_CLICKS, LEAST_WINS
from optimizer.core.live.savings import Savings, measure_savings
from optimizer.deployment.live_policy import daily_table

Side = Literal["better", "worse", "not clear"]


class ForecastChange(BaseModel):
    """A figure of both runs' forecasts with its change."""

    name: str
    before: Number
    after: Number
    change: float | None


class Evidence(BaseModel):
    """How the later run does against the earlier one by one measure, in currency units a day.

    kind: live: both bid on the same days; backtest: both on the log that the later run learned from; forecast: what the
        runs expect of themselves, which measures nothing.
    per_day: what it keeps more a day (value of views and clicks less spend) if it had all the traffic; None where that
        is not known. low, high: the 95 % interval.
    days: how many days were measured.
    saved_per_day: what the later run's wins cost less a day than at the earlier run's CPM; live only.
    """

    kind: Literal["live", "backtest", "forecast"]
    side: Side
    per_day: float | None
    low: float | None
    high: float | None
    days: int
    sentence: str
    saved_per_day: float | None = None
    saved_low: float | None = None
    saved_high: float | None = None


def changes_of_forecasts(before: Sequence[Number], after: Sequence[Number]) -> list[ForecastChange]:
    """Return the figures of both forecasts, which are in the same order, side by side."""
    return [
        ForecastChange(
            name=one.label,
            before=one,
            after=other,
            change=None if one.value is None or other.value is None else other.value - one.value,
        )
        for one, other in zip(before, after, strict=True)
    ]


def evidence_of(
    days: Sequence[LiveDay], metrics: Mapping[str, Any], forecasts: Sequence[ForecastChange], *, before: Run, after: Run
) -> list[Evidence]:
    """Return all evidence there is, the strongest first.

    Args:
        days: daily figures of both runs. metrics: the later run's metrics.json.
    """
    found = (
        _live(days, before.run_id, after.run_id),
        _backtested(metrics, before=before, after=after),
        _forecast(forecasts),
    )
    return [one for one in found if one is not None]


def _live(days: Sequence[LiveDay], before: str, after: str) -> Evidence | None:
    """What was measured on the days on which both bid."""
    totals = daily_table(day for day in days if day.spend is not None)
    try:
        found = measure_savings(totals[totals["run_id"] == after], totals[totals["run_id"] == before])
    except ValueError:
        return None
    # From the total on the later run's bids to a day with the bids of both.
    whole = (found.policy_bids + found.control_bids) / found.policy_bids / found.days
    names = ("gained", "gained_low", "gained_high", "saved", "saved_low", "saved_high")
    per_day = {name: None if (value := getattr(found, name)) is None else value * whole for name in names}
    lack = _lack(found, has_click_revenue=bool((totals["click_revenue"] > 0).any()))
    measured = f"Measured on {_days(found.days)} on which both runs bid, scaled to all their traffic."
    return Evidence(
        kind="live",
        side=_side(per_day["gained_low"], per_day["gained_high"]) if lack is None else "not clear",
        per_day=per_day["gained"],
        low=per_day["gained_low"],
        high=per_day["gained_high"],
        days=found.days,
        sentence=measured if lack is None else f"{measured} {lack}",
        saved_per_day=per_day["saved"],
        saved_low=per_day["saved_low"],
        saved_high=per_day["saved_high"],
    )


def _lack(found: Savings, *, has_click_revenue: bool) -> str | None:
    """What is too little to call a run better, by the rules of the monitor's verdicts; None where there is enough."""
    wins, clicks = min(found.policy_wins, found.control_wins), min(found.policy_clicks, found.control_clicks)
    if wins < LEAST_WINS:
        return f"One of them won {wins:.0f} times; {LEAST_WINS} wins of each are needed to judge."
    if has_click_revenue and clicks < LEAST_CLICKS:
        return f"One of them had {clicks:.0f} clicks; {LEAST_CLICKS} clicks of each are needed to judge."
    return None


def _days(number: int) -> str:
    return "1 day" if number == 1 else f"{number} days"


def _backtested(metrics: Mapping[str, Any], *, before: Run, after: Run) -> Evidence | None:
    """What the later run's backtest says, where it was one against the earlier run."""
    figures = metrics.get("backtest") or {}
    inputs = (after.config_snapshot or {}).get("inputs") or {}
    value, days = figures.get("surplus_difference"), figures.get("days")
    if inputs.get("active_run_id") != before.run_id or value is None or not days:
        return None
    low, high = figures.get("surplus_difference_low"), figures.get("surplus_difference_high")
    return Evidence(
        kind="backtest",
        side=_side(low, high),
        per_day=value / days,
        low=None if low is None else low / days,
        high=None if high is None else high / days,
        days=int(days),
        sentence=f"Estimated on the last {_days(int(days))} of the log, before the later run went live.",
    )


def _forecast(forecasts: Sequence[ForecastChange]) -> Evidence:
    """What the runs expect to keep; without an interval of the difference, so never clear."""
    kept = [_kept([getattr(forecast, side) for forecast in forecasts]) for side in ("before", "after")]
    change = None if kept[0] is None or kept[1] is None else kept[1] - kept[0]
    return Evidence(
        kind="forecast",
        side="not clear",
        per_day=change,
        low=None,
        high=None,
        days=0,
        sentence="What the runs expect of themselves; it measures nothing.",
    )


def _kept(numbers: Sequence[Number]) -> float | None:
    """Value less spend a day: spend * margin / (1 - margin)."""
    values = {number.name: number.value for number in numbers}
    spend, margin = values.get("expected_spend_per_day"), values.get("expected_margin")
    return None if spend is None or margin is None or margin >= 1 else spend * margin / (1 - margin)


def _side(low: float | None, high: float | None) -> Side:
    if low is not None and low > 0:
        return "better"
    return "worse" if high is not None and high < 0 else "not clear"
