"""Simulated live runs beside a control: days that vary, follow each other, and hit both runs alike."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from optimizer.core.live.performance import ROWS

WIN_RATE, CPM, CTR, MARGIN = 0.30, 12.0, 0.01, 0.40
VALUE_PER_CLICK = CPM / (1 - MARGIN) / 1000 / CTR
DAY_SD, OWN_DAY_SD = 0.05, 0.02
"""By how much a day moves the win rate of both runs, and of each run alone; shares of it."""

AUTOCORRELATION = 0.2
"""Between the effects of a day and of the next."""

RUN_BIDS, CONTROL_BIDS = 20_000, 180_000
"""Bids a day of a run on a tenth of the traffic, and of the run that has the rest."""


@dataclass(frozen=True, slots=True)
class LiveRuns:
    """The daily sums of a run and of its control in the same markets, shape (7, worlds, days) in the order of ROWS."""

    own: np.ndarray
    control: np.ndarray


def draw_effects(rng: np.random.Generator, *, worlds: int, days: int, sd: float = DAY_SD) -> np.ndarray:
    """Return what each day does to win rates as a factor, shape (worlds, days)."""
    shocks = rng.normal(0, sd, (worlds, days))
    effects = shocks.copy()
    for day in range(1, days):
        effects[:, day] = AUTOCORRELATION * effects[:, day - 1] + (1 - AUTOCORRELATION**2) ** 0.5 * shocks[:, day]
    return np.exp(effects - sd**2 / 2)


def draw_sums(
    rng: np.random.Generator,
    market: np.ndarray,
    *,
    bids: int | np.ndarray = RUN_BIDS,
    win_rate: float = WIN_RATE,
    own_sd: float = OWN_DAY_SD,
) -> np.ndarray:
    """Return the daily sums of a run in that market, shape (7, worlds, days) in the order of ROWS."""
    own = market * np.exp(rng.normal(0, own_sd, market.shape) - own_sd**2 / 2)
    bids = np.broadcast_to(bids, market.shape)
    wins = rng.binomial(bids, np.minimum(win_rate * own, 1))
    clicks = rng.binomial(wins, CTR)
    spend = wins * CPM / 1000 * np.exp(rng.normal(0, own_sd, market.shape) - own_sd**2 / 2)
    return np.array([bids, wins, clicks, spend, np.zeros(market.shape), clicks * VALUE_PER_CLICK, wins], float)


def draw_runs(rng: np.random.Generator, *, worlds: int, days: int, win_rate: float = WIN_RATE) -> LiveRuns:
    """Return a run with this win rate beside a control that wins WIN_RATE."""
    market = draw_effects(rng, worlds=worlds, days=days)
    return LiveRuns(draw_sums(rng, market, win_rate=win_rate), draw_sums(rng, market, bids=CONTROL_BIDS))


def frame_of(sums: np.ndarray) -> pd.DataFrame:
    """Return the daily totals of one world, of sums with shape (7, days)."""
    return pd.DataFrame(sums.T, columns=list(ROWS)).assign(day=range(sums.shape[-1]))
