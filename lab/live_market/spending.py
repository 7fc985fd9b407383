"""Single days of spending against a forecast, and whether the spend guard acts on them."""

import numpy as np

from lab.live_market.runs import CPM, WIN_RATE
from optimizer.core.live.performance import ForecastFigures
from optimizer.core.live.spend_guard import find_overspend

DAY_SD, PRICE_CV = 0.07, 0.6
"""By how much a day moves win rate and price, and prices vary between wins; shares of them."""

FORECAST = ForecastFigures(win_rate=WIN_RATE, cpm=CPM)


def draw_days(
    rng: np.random.Generator, *, bids: int, win_rate: float = WIN_RATE, cpm: float = CPM, size: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Return wins and spend (currency units) of days with that many bids, each with shape `size`."""
    of_day = np.exp(rng.normal(0, DAY_SD, (2, *size)))
    wins = rng.binomial(bids, np.minimum(win_rate * of_day[0], 1))
    shape = 1 / PRICE_CV**2
    spend = rng.gamma(np.maximum(wins, 1e-9) * shape) / shape * cpm * of_day[1] / 1000
    return wins, spend


def taken_off(bids: int, wins: np.ndarray, spend: np.ndarray, *, max_overspend: float) -> np.ndarray:
    """Return whether the guard acts on each day, in the shape of the days."""
    days = zip(wins.ravel().tolist(), spend.ravel().tolist(), strict=True)
    found = [
        find_overspend(bids=bids, wins=won, spend=spent, forecast=FORECAST, max_overspend=max_overspend)
        for won, spent in days
    ]
    return np.array([overspend is not None for overspend in found]).reshape(wins.shape)
