"""What daily looks at live runs find, in many worlds at once: on which day a verdict falls, which interval misses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from lab.live_market.runs import CPM, CTR, MARGIN, WIN_RATE, LiveRuns
from optimizer.core.live.daily_ratio import DailyRatio, reach
from optimizer.core.live.performance import FIGURES, ROWS, ForecastFigures, Limits, figure_of, shortfall_of
from optimizer.core.live.savings import saved_per_bid

LOOKS = 14
"""Days on which a run is looked at: one look a morning."""

FORECAST = ForecastFigures(win_rate=WIN_RATE, cpm=CPM, ctr=CTR, margin=MARGIN)
"""What a run and its control forecast in every world."""

Reach = Callable[[int], float]
"""Number of days: by how many standard errors an interval reaches to each side."""


def read_once_reach(days: int) -> float:
    """Return the reach of a 95 % t interval, which holds where it is read on one day only."""
    return float(stdtrit(days - 1, 0.975))


@dataclass(frozen=True, slots=True)
class Looks:
    """How runs are looked at every morning.

    Attributes:
        limits: of the verdicts.
        is_beside: against the control of the same days; else against the forecast.
        figures: those that count.
        reach_of: of the intervals.
    """

    limits: Limits
    is_beside: bool
    figures: Sequence[str] = FIGURES
    reach_of: Reach = reach

    def below_target(self, runs: LiveRuns) -> np.ndarray:
        """Return whether a figure is below target, shape (worlds, looks); the first look is after min_days."""
        _, worlds, days = runs.own.shape
        looks = [self._below_after(runs, day) for day in range(self.limits.min_days, days + 1)]
        return np.array(looks).reshape(-1, worlds).T

    def days_to_find(self, runs: LiveRuns) -> np.ndarray:
        """Return the day of the first verdict below target, shape (worlds,); one after the last where there is none."""
        below = self.below_target(runs)
        return np.where(below.any(1), below.argmax(1), below.shape[1]) + self.limits.min_days

    def _below_after(self, runs: LiveRuns, days: int) -> np.ndarray:
        own = runs.own[..., :days]
        control = scaled_control(runs)[..., :days]
        below = np.zeros(own.shape[1], bool)
        for figure in self.figures:
            target = DailyRatio.constant(FORECAST.of(figure), days=days)
            expected = figure_of(control, figure) if self.is_beside else target
            shortfall = shortfall_of(figure, figure_of(own, figure), expected)
            error = shortfall.margin_of_error / reach(days)
            below |= shortfall.value - self.reach_of(days) * error > self.limits.tolerance
        return below


def savings_missed(runs: LiveRuns, *, saved_share: float, reach_of: Reach = reach) -> np.ndarray:
    """Return whether the interval of what is saved ever missed the truth, shape (worlds,), from the second day on.

    Args:
        saved_share: how far the run's true CPM is below its control's, as a share of that.
    """
    _, worlds, days = runs.own.shape
    control = scaled_control(runs)
    truth = WIN_RATE * CPM / 1000 * saved_share
    missed = np.zeros(worlds, bool)
    for day in range(2, days + 1):
        saved = saved_per_bid(runs.own[..., :day], control[..., :day])
        missed |= abs(saved.value - truth) > reach_of(day) * saved.margin_of_error / reach(day)
    return missed


def scaled_control(runs: LiveRuns) -> np.ndarray:
    """Return the control's sums scaled to the run's bids of each day, as `paired_sums` scales them."""
    bids = ROWS.index("bids")
    return runs.control * (runs.own[bids] / runs.control[bids])
