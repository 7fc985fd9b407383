"""A live run against its forecast and its control: a finding with a verdict for each figure.

All figures are ratios of sums over days: win rate, CPM, click rate and margin. Intervals come from a bootstrap of whole
days; against a control the same days are drawn for both, so what a day did to both of them cancels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from optimizer.core.landscape.day_blocks import draw_days, margin_of_error

FIGURES = ("win_rate", "cpm", "ctr", "margin")
SUMS = ("bids", "wins", "clicks", "spend", "view_revenue", "click_revenue")
"""Columns of the daily totals; spend and revenue are currency units."""

DECISIVE = ("win_rate", "cpm")
"""Figures that must be on target before the run is; clicks, and a margin that depends on them, may stay too few."""

_BOUNDS = {"win_rate": (0.0, 1.0), "cpm": (0.0, np.inf), "ctr": (0.0, 1.0), "margin": (-np.inf, 1.0)}
"""Between which values a figure can lie."""

CONFIDENCE = 0.95
RESAMPLES = 1_000
LEAST_WINS, LEAST_CLICKS = 100, 50
UNDECIDED_WIDTH = 0.15
"""A figure is on target where its interval excludes a shortfall of more than the tolerance plus this."""

Verdict = Literal["on target", "below target", "inconclusive"]
VERDICT_NUMBERS: dict[Verdict, float] = {"below target": -1.0, "inconclusive": 0.0, "on target": 1.0}
"""Verdicts in opt_run_metrics, which holds numbers."""

LIVE = "live"
"""Section of opt_run_metrics with the live figures."""


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
class Estimate:
    """A value with its 95 % interval; None where there is nothing to estimate it from, or too few days."""

    value: float | None = None
    low: float | None = None
    high: float | None = None


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
        _divide(won.sum(), requests.sum()),
        _divide((won * cost).sum(), won.sum()),
        _divide((won * ctr).sum(), won.sum()),
        1 - _divide((won * cost).sum(), (won * value).sum()),
    )
    return ForecastFigures(*(_known(figure) for figure in forecast))


def against_forecast(
    days: pd.DataFrame, *, forecast: ForecastFigures, limits: Limits, seed: int
) -> tuple[Finding, ...]:
    """Return a finding for each of FIGURES.

    Args:
        days: the run's totals, one row a day, with the columns SUMS.
        seed: of the bootstrap.
    """
    sample = _Sample.of([days], seed=seed)
    return tuple(_find(figure, sample, expected=forecast.of(figure), limits=limits) for figure in FIGURES)


def against_control(
    days: pd.DataFrame,
    control_days: pd.DataFrame,
    *,
    forecast: ForecastFigures,
    control_forecast: ForecastFigures,
    limits: Limits,
    seed: int,
) -> tuple[Finding, ...]:
    """Return a finding for each of FIGURES, over the days that both have.

    The control is the measure, moved by the difference of the two forecasts: a run that forecast to pay more for more
    wins is not below target for doing so.

    Args:
        days, control_days: as in `against_forecast`, with a column day.
    """
    both = sorted(set(days["day"]) & set(control_days["day"]))
    sample = _Sample.of([table.set_index("day").loc[both] for table in (days, control_days)], seed=seed)
    findings = []
    for figure in FIGURES:
        control = sample.figure(figure, of=1)
        expected = _moved(figure, control, forecast.of(figure), control_forecast.of(figure))
        findings.append(_find(figure, sample, expected=expected, limits=limits, control=control))
    return tuple(findings)


def overall(findings: Sequence[Finding]) -> Verdict:
    """Return the verdict over all figures: below target where one is, on target where the decisive ones are."""
    verdicts = {finding.figure: finding.verdict for finding in findings}
    if "below target" in verdicts.values():
        return "below target"
    return "on target" if findings and all(verdicts[figure] == "on target" for figure in DECISIVE) else "inconclusive"


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


@dataclass(frozen=True, slots=True)
class _Sample:
    """Sums over the days of one run, or of two, as they are (first) and in each resample.

    sums: shape (runs, 1 + RESAMPLES, len(SUMS)).
    """

    days: int
    sums: np.ndarray

    @classmethod
    def of(cls, tables: Sequence[pd.DataFrame], *, seed: int) -> "_Sample":
        by_day = np.array([table[list(SUMS)].to_numpy(float) for table in tables])
        days = by_day.shape[1]
        drawn = draw_days(np.random.default_rng(seed), days=days, resamples=RESAMPLES) if days else np.zeros((0, 0))
        return cls(days, np.vstack([np.ones((1, days)), drawn]) @ by_day)

    def total(self, name: str) -> float:
        """Return the own run's sum over the days."""
        return float(self.sums[0, 0, SUMS.index(name)])

    def figure(self, name: str, *, of: int = 0) -> np.ndarray:
        """Return a figure of the own run (0) or the control (1), shape (1 + RESAMPLES,); NaN where it has none."""
        bids, wins, clicks, spend, view_revenue, click_revenue = np.moveaxis(self.sums[of], -1, 0)
        match name:
            case "win_rate":
                return _divide(wins, bids)
            case "cpm":
                return _divide(1000 * spend, wins)
            case "ctr":
                return _divide(clicks, wins)
            case _:
                return 1 - _divide(spend, view_revenue + click_revenue)

    def estimate(self, sample: np.ndarray, *, least: float = -np.inf, most: float = np.inf) -> Estimate:
        """Return the first of the values with its interval, which ends where values are no longer possible."""
        value, margin = sample[0], margin_of_error(sample[1:], days=self.days, confidence=CONFIDENCE)
        if not np.isfinite([value, margin]).all():
            return Estimate(_known(value))
        return Estimate(float(value), max(float(value - margin), least), min(float(value + margin), most))


def _find(
    figure: str,
    sample: _Sample,
    *,
    expected: np.ndarray | float | None,
    limits: Limits,
    control: np.ndarray | None = None,
) -> Finding:
    live, target = sample.figure(figure), np.broadcast_to(np.nan if expected is None else expected, len(sample.sums[0]))
    least, most = _BOUNDS[figure]
    estimate = sample.estimate(live, least=least, most=most)
    shortfall = sample.estimate(_shortfall(figure, live, target))
    verdict, reason = _judge(figure, sample, _known(target[0]), shortfall, limits)
    spread = "" if estimate.low is None else f" ({say(figure, estimate.low)} to {say(figure, estimate.high)})"
    return Finding(
        figure=figure,
        live=estimate,
        expected=_known(target[0]),
        shortfall=shortfall,
        verdict=verdict,
        reason=f"{say(figure, estimate.value)}{spread}, expected {say(figure, _known(target[0]))}: {reason}",
        control=None if control is None else _known(control[0]),
        difference=Estimate() if control is None else sample.estimate(live - control),
    )


def _judge(
    figure: str, sample: _Sample, expected: float | None, shortfall: Estimate, limits: Limits
) -> tuple[Verdict, str]:
    unit = "points" if figure == "margin" else "%"
    if sample.days < limits.min_days:
        return "inconclusive", f"{sample.days} of {limits.min_days} days"
    if expected is None or (expected == 0 and figure != "margin"):
        return "inconclusive", "nothing to compare with"
    if lack := _lack(figure, sample, expected):
        return "inconclusive", lack
    if shortfall.value is None or shortfall.low is None or shortfall.high is None:
        return "inconclusive", "nothing was earned" if figure == "margin" else "nothing was won"
    if shortfall.low > limits.tolerance:
        return "below target", f"short by more than {100 * limits.tolerance:.3g} {unit}"
    if shortfall.high > limits.tolerance + UNDECIDED_WIDTH:
        return "inconclusive", f"may still be short by {100 * shortfall.high:.0f} {unit}"
    return "on target", f"short by {100 * max(shortfall.high, 0):.0f} {unit} at most"


def _lack(figure: str, sample: _Sample, expected: float) -> str | None:
    """What is too little to judge by, or None; what should have been won or clicked counts as if it had."""
    wins, clicks = sample.total("wins"), sample.total("clicks")
    if figure == "win_rate":
        wins = max(wins, expected * sample.total("bids"))
    if wins < LEAST_WINS:
        return f"{wins:.0f} wins, at least {LEAST_WINS} are needed"
    if figure == "ctr":
        clicks = max(clicks, expected * wins)
    hangs_on_clicks = figure == "ctr" or (figure == "margin" and sample.total("click_revenue") > 0)
    if hangs_on_clicks and clicks < LEAST_CLICKS:
        return f"{clicks:.0f} clicks, at least {LEAST_CLICKS} are needed"
    return None


def _shortfall(figure: str, live: np.ndarray, expected: np.ndarray) -> np.ndarray:
    match figure:
        case "margin":
            return expected - live
        case "cpm":
            return _divide(live, expected) - 1
        case _:
            return 1 - _divide(live, expected)


def _moved(figure: str, control: np.ndarray, forecast: float | None, control_forecast: float | None) -> np.ndarray:
    """What the control did, moved by as much as the forecasts differ; as it is where one is not known."""
    if forecast is None or control_forecast is None:
        return control
    return (
        control + forecast - control_forecast if figure == "margin" else control * _divide(forecast, control_forecast)
    )


def _divide(part: np.ndarray | float, whole: np.ndarray | float) -> np.ndarray:
    """The ratio; NaN where the whole is not above 0."""
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    return np.divide(part, whole, out=np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan), where=whole > 0)


def _known(value: np.ndarray | float) -> float | None:
    """The single value, or None where it is not finite."""
    return float(value) if np.isfinite(value) else None
