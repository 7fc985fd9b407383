"""What a run's bids will bring in the next days, with intervals, and what earlier forecasts missed.

The level of the market moves from day to day: how far is read from the log itself, by forecasting each of its days
from the week before. What the log cannot show (a market that drifts, a new rival) shows in the days that earlier runs
forecast: what they missed corrects the next run's levels, damped.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import logit

from optimizer.core.distributions import student_t_quantile

HISTORY_DAYS = 35
WEEK_DAYS = 7
LEAST_LEVEL_SD = 0.05
"""No day is forecast better than this, in logit units (about one point of win rate at .3)."""

SHORT_LOG_LEVEL_SD = 0.15
"""Day-to-day deviation assumed where the log is too short to show it."""

EXTRAPOLATION_SHARE = 0.1
"""The forecast change of a logit is off by this share for reasons that its standard error does not know."""

MIX_SD = 0.01
"""Relative deviation of a CPM, as the traffic of the next days is mixed in another way."""

CORRECTED_DAYS = 7
CORRECTION_HALF_LIFE_DAYS = 2.0
PRIOR_DAYS = 0.5
"""A correction is damped as if this many more days had been forecast without error."""

LEAST_DAY_BIDS = 500.0
"""A day with this many bids counts half of one with very many."""

MAX_CORRECTION = 0.5

COVERAGES = {80: "_80", 95: ""}
"""Coverage of each interval, %, and the end of its figures' names: `expected_cpm_low_80`, `expected_cpm_low`."""


@dataclass(frozen=True, slots=True)
class DayLevel:
    """How far a day's level lay from the curve, logit units, and its bids."""

    day: str
    level: float
    bids: float


@dataclass(frozen=True, slots=True)
class EarlierForecast:
    """What a run forecast of its own days: the win rate, and the correction of the level in it, logit units."""

    win_rate: float
    level_correction: float


@dataclass(frozen=True, slots=True)
class Outlook:
    """Standard deviation of the level of the next days, logit units, and of the log of a day's volume, with freedom."""

    level_sd: float
    volume_sd: float
    freedom: float
    bids_per_day: float


@dataclass(frozen=True, slots=True)
class Expected:
    """What bids bring at one level: win rate, CPM of a win, wins and spend (currency units) by request, and margin."""

    win_rate: float
    cpm: float
    margin: float | None


def read_outlook(history: Sequence[DayLevel]) -> Outlook:
    """Return how well days can be forecast: each from the mean level of the week before it."""
    days = list(history)[-HISTORY_DAYS:]
    levels, bids = np.array([day.level for day in days]), np.array([day.bids for day in days])
    per_day = float(bids[-WEEK_DAYS:].mean()) if len(bids) else 0.0
    if len(days) < WEEK_DAYS + 3:
        return Outlook(SHORT_LOG_LEVEL_SD, 0.3, 3.0, per_day)
    known = np.log(np.maximum(bids, 1.0))
    level_sd = max(LEAST_LEVEL_SD, *_errors(levels))
    return Outlook(level_sd, max(0.05, *_errors(known)), max(3.0, len(days) / 4), per_day)


def _errors(series: np.ndarray) -> tuple[float, float]:
    """Root mean square error of a day, and of the mean of the next days up to a week, forecast by the week before."""
    day_errors, week_errors = [], []
    for origin in range(WEEK_DAYS, len(series)):
        base = series[origin - WEEK_DAYS : origin].mean()
        ahead = series[origin : origin + WEEK_DAYS] - base
        day_errors += list(ahead)
        if len(ahead) >= 3:
            week_errors.append(ahead.mean())
    root = [float(np.sqrt(np.mean(np.square(errors)))) for errors in (day_errors, week_errors) if errors]
    return root[0], root[-1]


@dataclass(frozen=True, slots=True)
class BidMove:
    """How far bids leave what was usually bid.

    slope_error: standard error of the slope. mean_move: mean log move. mean_change: mean absolute change of the logit
    that the move is expected to make.
    """

    slope_error: float
    mean_move: float
    mean_change: float


@dataclass(frozen=True, slots=True)
class ClickValue:
    """What clicks make up of a win's value, 0 to 1; the clicks expected in a week, and those of the window."""

    share: float
    ahead: float
    seen: float


def forecast_figures(
    expect: Callable[[float], Expected], *, outlook: Outlook, move: BidMove, clicks: ClickValue
) -> dict[str, float | None]:
    """Return the forecast of the next days with its 80 % and 95 % intervals, by figure name.

    Args:
        expect: a shift of all levels, logit units -> what the bids bring.
    """
    middle = expect(0.0)
    moved, extrapolated = move.slope_error * move.mean_move, EXTRAPOLATION_SHARE * move.mean_change
    spread = np.sqrt(outlook.level_sd**2 + moved**2 + extrapolated**2)
    value_sd = clicks.share * np.sqrt(1 / max(clicks.seen, 1.0) + 1 / max(clicks.ahead, 1.0)) if clicks.share else 0.0
    spend = outlook.bids_per_day * middle.win_rate * middle.cpm / 1000
    figures: dict[str, float | None] = {"expected_spend_per_day": float(spend), "forecast_level_sd": float(spread)}
    for coverage, tail in COVERAGES.items():
        z = student_t_quantile(0.5 + coverage / 200, outlook.freedom)
        low, high = expect(-z * spread), expect(z * spread)
        cpm_room = z * MIX_SD * middle.cpm
        volume = z * outlook.volume_sd
        rate_low, rate_high = low.win_rate / middle.win_rate - 1, high.win_rate / middle.win_rate - 1
        cpms = (low.cpm, middle.cpm, high.cpm)
        figures |= {
            f"expected_win_rate_low{tail}": low.win_rate,
            f"expected_win_rate_high{tail}": high.win_rate,
            f"expected_cpm_low{tail}": min(cpms) - cpm_room,
            f"expected_cpm_high{tail}": max(cpms) + cpm_room,
            f"expected_spend_per_day_low{tail}": float(spend * np.exp(-np.hypot(np.log1p(rate_low), volume))),
            f"expected_spend_per_day_high{tail}": float(spend * np.exp(np.hypot(np.log1p(rate_high), volume))),
        }
        if middle.margin is not None and low.margin is not None and high.margin is not None:
            cost_share, ratio_sd = 1 - middle.margin, float(np.hypot(value_sd, MIX_SD))
            margins = (low.margin, high.margin)
            figures |= {
                f"expected_margin_low{tail}": float(min(margins) - cost_share * np.expm1(z * ratio_sd)),
                f"expected_margin_high{tail}": float(max(margins) - cost_share * np.expm1(-z * ratio_sd)),
            }
    return figures


def correct_level(cells: pd.DataFrame, forecasts: Mapping[str, EarlierForecast]) -> float:
    """Return what is added to all levels, logit units: the mean miss of the latest days' forecasts, damped.

    A day's miss is counted against its forecast without the correction that was in it, so a correction that is right
    stays: the loop is that of exponential smoothing, which is stable for every half-life.

    Args:
        cells: day, run_id, bids, wins.
        forecasts: by run_id, of this optimizer's runs.
    """
    if not forecasts or "run_id" not in cells:
        return 0.0
    latest = cells["day"] > cells["day"].max() - pd.Timedelta(days=CORRECTED_DAYS)
    rows = cells[latest & cells["run_id"].isin(list(forecasts))]
    sums = rows.groupby(["day", "run_id"], observed=True)[["bids", "wins"]].sum().reset_index()
    if sums.empty:
        return 0.0
    known = [forecasts[run_id] for run_id in sums["run_id"]]
    expected = np.clip([forecast.win_rate for forecast in known], 1e-4, 1 - 1e-4)
    bids, wins = sums["bids"].to_numpy(float), sums["wins"].to_numpy(float)
    missed = logit((wins + expected) / (bids + 1)) - logit(expected)
    missed = missed + np.array([forecast.level_correction for forecast in known])
    age = (cells["day"].max() - sums["day"]).dt.days.to_numpy(float)
    day_bids = sums.groupby("day")["bids"].transform("sum").to_numpy(float)
    weights = np.exp2(-age / CORRECTION_HALF_LIFE_DAYS) * bids / (day_bids + LEAST_DAY_BIDS)
    found = float((weights * missed).sum() / (weights.sum() + PRIOR_DAYS))
    return float(np.clip(found, -MAX_CORRECTION, MAX_CORRECTION))
