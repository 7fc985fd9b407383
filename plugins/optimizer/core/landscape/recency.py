"""How fast a log grows old: the half-life whose segment levels foretell later weeks best (walk-forward)."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import logit

from optimizer.core.distributions import student_t_quantile
from optimizer.core.landscape.cells import count_days, recency_weights
from optimizer.core.landscape.logit import log_likelihood
from optimizer.core.landscape.shrinkage import posterior_shifts
from optimizer.core.landscape.win_rate import common_shift

USUAL_HALF_LIFE_DAYS = 21.0
OTHER_HALF_LIVES_DAYS = (7.0, 14.0, 45.0)
"""A half-life that replaces the usual one where it helps, with 95 % confidence."""

MOST_WEEKS = 4
"""This many of the latest weeks are predicted, each from the days before it."""

LEAST_GAIN = 0.001
"""The least gain that counts, in log-likelihood a bid: smaller ones can be significant and still change no bid."""

LEAST_WEEKS = 2
DAYS_A_WEEK = 7


@dataclass(frozen=True, slots=True)
class HalfLife:
    """A half-life in days, and what the best rival of the usual one gains over it.

    gain: mean gain in log-likelihood a bid over the weeks foretold; gain_lower: its lower 95 % bound, days as blocks,
        all rivals together. None if the log is too short, or if the half-life was given.
    """

    days: float
    gain: float | None = None
    gain_lower: float | None = None


def choose_half_life(cells: pd.DataFrame) -> HalfLife:
    """Return the usual half-life, or the best of the others if it predicts later days better, see `LEAST_GAIN`.

    Args:
        cells: day, segment (a number), bids, wins and `expected`, the win rate that the price alone explains.
    """
    weeks = min(MOST_WEEKS, count_days(cells) // (2 * DAYS_A_WEEK))
    if weeks < LEAST_WEEKS:
        return HalfLife(USUAL_HALF_LIFE_DAYS)
    foretold = _latest_weeks(_by_segment_and_day(cells), weeks)
    usual = _foretell(foretold, half_life_days=USUAL_HALF_LIFE_DAYS)
    gains = {rival: _foretell(foretold, half_life_days=rival) - usual for rival in OTHER_HALF_LIVES_DAYS}
    best = max(gains, key=lambda rival: gains[rival].mean())
    gain, error = gains[best].mean(), gains[best].std(ddof=1) / np.sqrt(len(usual))
    lower = gain - student_t_quantile(1 - 0.05 / len(gains), len(usual) - 1) * error
    return HalfLife(best if lower > LEAST_GAIN else USUAL_HALF_LIFE_DAYS, float(gain), float(lower))


def _by_segment_and_day(cells: pd.DataFrame) -> pd.DataFrame:
    """One row a segment and day, in their order: all prices together, which is exact enough to compare half-lives."""
    bids = cells["bids"].to_numpy(float)
    curve = bids * logit(cells["expected"].to_numpy(float))
    sums = pd.DataFrame({"bids": bids, "wins": cells["wins"].to_numpy(float), "curve": curve})
    days = sums.groupby([cells["day"], cells["segment"]], sort=True).sum().reset_index()
    return days.assign(curve=days["curve"] / days["bids"])


@dataclass(frozen=True, slots=True)
class _Week:
    """A week, what came before it, and the numbers of the week's rows by day; size: the number of segments."""

    past: pd.DataFrame
    later: pd.DataFrame
    by_day: list[np.ndarray]
    size: int


def _latest_weeks(days: pd.DataFrame, weeks: int) -> list[_Week]:
    end = days["day"].max() + pd.Timedelta(days=1)
    size = int(days["segment"].max()) + 1
    found = []
    for week in range(weeks, 0, -1):
        first = end - pd.Timedelta(days=DAYS_A_WEEK * week)
        past, later = days[days["day"] < first], days[_is_within(days["day"], first)]
        by_day = [np.asarray(rows) for rows in later.reset_index().groupby("day").indices.values()]
        found.append(_Week(past, later, by_day, size))
    return found


def _foretell(weeks: list[_Week], *, half_life_days: float) -> np.ndarray:
    """The log-likelihood a bid of each day of the weeks by what segments won before the week, weighted by age.

    The level of a week is its own: it is set by the latest days, regardless of the half-life.
    """
    found = []
    for week in weeks:
        curve = _with_own_levels(week.past, week.later, size=week.size, half_life_days=half_life_days)
        bids, wins = week.later["bids"].to_numpy(), week.later["wins"].to_numpy()
        curve = curve + common_shift(curve, wins=wins, bids=bids)
        found += [
            log_likelihood(curve[rows], wins=wins[rows], trials=bids[rows]) / bids[rows].sum() for rows in week.by_day
        ]
    return np.array(found)


def _is_within(day: pd.Series, first: pd.Timestamp) -> pd.Series:
    return (day >= first) & (day < first + pd.Timedelta(days=DAYS_A_WEEK))


def _with_own_levels(past: pd.DataFrame, later: pd.DataFrame, *, size: int, half_life_days: float) -> np.ndarray:
    """The curve of the later rows, with their segments' levels from the past."""
    weights = recency_weights(past["day"], half_life_days=half_life_days)
    bids, wins = past["bids"].to_numpy() * weights, past["wins"].to_numpy() * weights
    curve = past["curve"].to_numpy()
    centred = curve + common_shift(curve, wins=wins, bids=bids)
    group = past["segment"].to_numpy()
    shift, _ = posterior_shifts(centred, wins=wins, bids=bids, group=group, size=size)
    return later["curve"].to_numpy() + shift[later["segment"].to_numpy()]
