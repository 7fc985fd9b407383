"""A live run against its forecast and its control: a finding with a verdict for each figure.

All figures are ratios of sums over days: win rate, CPM, click rate and margin. Verdicts may be read every day: the
intervals of `daily_ratio` allow for it. Against a control, a day counts as much as the run's bids of that day.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd

from optimizer.core.live.daily_ratio import DailyRatio, divide
from optimizer.core.records.estimate import Estimate

FIGURES = ("win_rate", "cpm", "ctr", "margin")
SUMS = ("bids", "wins", "clicks", "spend", "view_revenue", "click_revenue")
"""Columns of the daily totals; spend and revenue are currency units."""

ROWS = (*SUMS, "click_views")
"""What figures are made of: the totals, and the wins weighed by the share of their clicks that has arrived."""

DECISIVE = ("win_rate", "cpm")
"""Figures that must be on target before the run is; clicks, and a margin that depends on them, may stay too few."""

_BOUNDS = {"win_rate": (0.0, 1.0), "cpm": (0.0, np.inf), "ctr": (0.0, 1.0), "margin": (-np.inf, 1.0)}
"""Between which values a figure can lie."""

LEAST_WINS, LEAST_CLICKS = 100, 50
UNDECIDED_WIDTH = 0.15
"""A figure is on target where its interval excludes a shortfall of more than the tolerance plus this."""

Verdict = Literal["on target", "below target", "inconclusive"]


@dataclass(frozen=True, slots=True)
class ForecastFigures:
    """What a run's published bids let expect; None where they do not say. Money is CPM."""

    win_rate: float | None = None
    cpm: float | None = None
    ctr: float | None = None
    margin: float | None = None

    def of(self, figure: str) -> float | None:
        """Return the forecast of one of FIGURES."""
        return getattr(self, figure)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a verdict needs.

    tolerance: how far a figure may fall short: a share of what is expected, of the margin points (0.1: ten).
    """

    min_days: int
    tolerance: float


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure of a run against what was expected of it.

    expected: the forecast; against a control the control's figure times the ratio of the two forecasts.
    shortfall: how far the figure falls short of what was expected, as a share of it (margin: in points).
    control, difference: the control's figure, and live less that, in the figure's unit; None without a control.
    """

    figure: str
    live: Estimate
    expected: float | None
    shortfall: Estimate
    verdict: Verdict
    reason: str
    control: float | None = None
    difference: Estimate = field(default=Estimate())


def forecast_of_bids(bids: pd.DataFrame) -> ForecastFigures:
    """Return what the bids forecast over the requests of the next days.

    Args:
        bids: suggested_bids.csv, one row a segment that is bid on: requests (bids of the window where an older run has
            none), expected_win_rate, expected_cost_cpm, modelled_ctr and value_cpm; a column that is missing forecasts
            nothing.
    """
    weight = "requests" if "requests" in bids else "bids"
    requests, win_rate, cost, ctr, value = (
        pd.to_numeric(bids.get(name, pd.Series(np.nan, bids.index)), errors="coerce").to_numpy(float)
        for name in (weight, "expected_win_rate", "expected_cost_cpm", "modelled_ctr", "value_cpm")
    )
    won = requests * win_rate
    forecast = (
        divide(won.sum(), requests.sum()),
        divide((won * cost).sum(), won.sum()),
        divide((won * ctr).sum(), won.sum()),
        1 - divide((won * cost).sum(), (won * value).sum()),
    )
    return ForecastFigures(*(_known(figure) for figure in forecast))


def against_forecast(days: pd.DataFrame, *, forecast: ForecastFigures, limits: Limits) -> tuple[Finding, ...]:
    """Return a finding for each of FIGURES.

    Args:
        days: the run's totals, as in `daily_sums`.
    """
    own = daily_sums(days)
    return tuple(
        find(figure, own, expected=DailyRatio.constant(forecast.of(figure), days=len(days)), limits=limits)
        for figure in FIGURES
    )


def against_control(
    days: pd.DataFrame,
    control_days: pd.DataFrame,
    *,
    forecast: ForecastFigures,
    control_forecast: ForecastFigures,
    limits: Limits,
) -> tuple[Finding, ...]:
    """Return a finding for each of FIGURES, over the days that both have.

    The control is the measure, moved by the difference of the two forecasts: a run that forecast to pay more for more
    wins is not below target for doing so.

    Args:
        days, control_days: as in `against_forecast`, with a column day.
    """
    own, control = paired_sums(days, control_days)
    findings = []
    for figure in FIGURES:
        measured = figure_of(control, figure)
        forecasts = (
            DailyRatio.constant(known.of(figure), days=measured.days) for known in (forecast, control_forecast)
        )
        expected = moved(figure, measured, *forecasts)
        findings.append(find(figure, own, expected=expected, limits=limits, control=measured))
    return tuple(findings)


def overall(findings: Sequence[Finding]) -> Verdict:
    """Return the verdict over all figures: below target where one is, on target where the decisive ones are."""
    verdicts = {finding.figure: finding.verdict for finding in findings}
    if "below target" in verdicts.values():
        return "below target"
    return "on target" if findings and all(verdicts[figure] == "on target" for figure in DECISIVE) else "inconclusive"


def undecided(finding: Finding, *, why: str) -> Finding:
    """Return the finding without a verdict, for a reason that lies outside its figures; the figures stay."""
    values = f"{say(finding.figure, finding.live.value)}, expected {say(finding.figure, finding.expected)}"
    return replace(finding, verdict="inconclusive", reason=f"{values}: {why}")


def say(figure: str, value: float | None) -> str:
    """Return the value as people read it: percents, or CPM."""
    if value is None:
        return "-"
    return f"{value:.2f} CPM" if figure == "cpm" else f"{100 * value:.3g} %"


def say_difference(figure: str, value: float | None) -> str:
    """Return a difference as people read it, with its sign: points of a hundred, or CPM."""
    if value is None:
        return "-"
    return f"{value:+.2f} CPM" if figure == "cpm" else f"{100 * value:+.3g} points"


def daily_sums(days: pd.DataFrame) -> np.ndarray:
    """Return ROWS by day, shape (len(ROWS), days).

    Args:
        days: one row a day, with the columns SUMS and perhaps click_views (see `with_click_views`).
    """
    return with_click_views(days)[list(ROWS)].to_numpy(float).T


def with_click_views(days: pd.DataFrame) -> pd.DataFrame:
    """Return the totals with the column click_views: the wins where it is missing, as if all clicks had arrived."""
    return days if "click_views" in days else days.assign(click_views=days["wins"])


def common_days(days: pd.DataFrame, control_days: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of the days on which both bid, in order of the days.

    Args:
        days, control_days: as in `daily_sums`, with a column day.
    """
    tables = [table[table["bids"] > 0].set_index("day", drop=False) for table in (days, control_days)]
    both = sorted(set(tables[0].index) & set(tables[1].index))
    return tables[0].loc[both], tables[1].loc[both]


def paired_sums(days: pd.DataFrame, control_days: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums of both over the days on which both bid, shape (len(ROWS), days) each.

    The control's sums of a day are scaled to the other's bids of that day: where shares of the traffic change, a day
    would otherwise count more for one of them than for the other.

    Args:
        days, control_days: as in `common_days`.
    """
    own, control = (daily_sums(table) for table in common_days(days, control_days))
    return own, control * divide(own[0], control[0])


def figure_of(sums: np.ndarray, figure: str) -> DailyRatio:
    """Return one of FIGURES of sums with shape (len(ROWS), ..., days).

    Where clicks earn, the margin counts the spend, and what views earned, by the share of the clicks that has arrived:
    only so much of them has what clicks earned so far on the other side.
    """
    bids, wins, clicks, spend, view_revenue, click_revenue, click_views = sums
    match figure:
        case "win_rate":
            return DailyRatio.of(wins, bids)
        case "cpm":
            return DailyRatio.of(1000 * spend, wins)
        case "ctr":
            return DailyRatio.of(clicks, click_views)
        case _:
            arrived = np.where(click_revenue.sum(-1, keepdims=True) > 0, maturity_of(wins, click_views), 1.0)
            revenue = arrived * view_revenue + click_revenue
            return DailyRatio.of(revenue - arrived * spend, revenue)


def maturity_of(wins: np.ndarray, click_views: np.ndarray) -> np.ndarray:
    """Return the share of the clicks that has arrived, same shape; 1 where nothing was won."""
    return np.divide(click_views, wins, out=np.ones(np.shape(wins)), where=wins > 0)


def shortfall_of(figure: str, live: DailyRatio, expected: DailyRatio) -> DailyRatio:
    """Return how far the figure falls short of what is expected, as a share of it; the margin in points."""
    if figure == "margin":
        return expected - live
    one = DailyRatio.constant(1.0, days=live.days)
    return live / expected - one if figure == "cpm" else one - live / expected


def moved(figure: str, control: DailyRatio, forecast: DailyRatio, control_forecast: DailyRatio) -> DailyRatio:
    """Return what the control did, moved by as much as the forecasts differ; as it is where one is not known."""
    change = forecast - control_forecast if figure == "margin" else forecast / control_forecast
    if not np.isfinite(change.value):
        return control
    return control + change if figure == "margin" else control * change


def find(
    figure: str, sums: np.ndarray, *, expected: DailyRatio, limits: Limits, control: DailyRatio | None = None
) -> Finding:
    """Return the finding of one of FIGURES.

    Args:
        sums: of `daily_sums`, shape (len(ROWS), days).
        expected: over the same days; NaN where nothing is expected.
        control: the control's figure over the same days, if there is one.
    """
    live, target = figure_of(sums, figure), _known(expected.value)
    least, most = _BOUNDS[figure]
    estimate = _estimate(live, least=least, most=most)
    shortfall = _estimate(shortfall_of(figure, live, expected))
    verdict, reason = _judge(figure, sums, target, shortfall, limits)
    spread = "" if estimate.low is None else f" ({say(figure, estimate.low)} to {say(figure, estimate.high)})"
    return Finding(
        figure=figure,
        live=estimate,
        expected=target,
        shortfall=shortfall,
        verdict=verdict,
        reason=f"{say(figure, estimate.value)}{spread}, expected {say(figure, target)}: {reason}",
        control=None if control is None else _known(control.value),
        difference=Estimate() if control is None else _estimate(live - control),
    )


def _estimate(ratio: DailyRatio, *, least: float = -np.inf, most: float = np.inf) -> Estimate:
    """The value with its interval, which ends where values are no longer possible."""
    value, margin = float(ratio.value), float(ratio.margin_of_error)
    if not np.isfinite([value, margin]).all():
        return Estimate(_known(value))
    return Estimate(value, max(value - margin, least), min(value + margin, most))


def _judge(
    figure: str, sums: np.ndarray, expected: float | None, shortfall: Estimate, limits: Limits
) -> tuple[Verdict, str]:
    unit = "points" if figure == "margin" else "%"
    if (days := sums.shape[-1]) < limits.min_days:
        return "inconclusive", f"{days} of {limits.min_days} days"
    if expected is None or (expected == 0 and figure != "margin"):
        return "inconclusive", "nothing to compare with"
    if lack := _lack(figure, sums, expected):
        return "inconclusive", lack
    if shortfall.value is None or shortfall.low is None or shortfall.high is None:
        return "inconclusive", "nothing was earned" if figure == "margin" else "nothing was won"
    if shortfall.low > limits.tolerance:
        return "below target", f"short by more than {100 * limits.tolerance:.3g} {unit}"
    if shortfall.high > limits.tolerance + UNDECIDED_WIDTH:
        return "inconclusive", f"may still be short by {100 * shortfall.high:.0f} {unit}"
    return "on target", f"short by {100 * max(shortfall.high, 0):.0f} {unit} at most"


def _lack(figure: str, sums: np.ndarray, expected: float) -> str | None:
    """What is too little to judge by, or None; what should have been won or clicked by now counts as if it had."""
    bids, wins, clicks, _, _, click_revenue, click_views = sums.sum(-1)
    if figure == "win_rate":
        wins = max(wins, expected * bids)
    if wins < LEAST_WINS:
        return f"{wins:.0f} wins, at least {LEAST_WINS} are needed"
    if figure == "ctr":
        clicks = max(clicks, expected * click_views)
    hangs_on_clicks = figure == "ctr" or (figure == "margin" and click_revenue > 0)
    if hangs_on_clicks and clicks < LEAST_CLICKS:
        return f"{clicks:.0f} clicks, at least {LEAST_CLICKS} are needed"
    return None


def _known(value: np.ndarray | float) -> float | None:
    """The single value, or None where it is not finite."""
    return float(value) if np.isfinite(value) else None
