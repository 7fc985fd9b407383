"""The cheapest bids that reach a win rate, solved on the true landscape."""

from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np

from lab.market.market import ROUND_PRICES_CPM
from lab.market.world import World
from optimizer.errors import DataError

_GRID_STEPS = 600


@dataclass(frozen=True, slots=True)
class IdealBids:
    """First-price bids in cents, shape (segments,), and what they bring over the portfolio.

    `shadow_price_cpm` is lambda, what one more win a mille would cost; 0 where each segment has the target to itself.
    """

    bid_cpm: np.ndarray
    win_probability: np.ndarray
    shadow_price_cpm: float
    win_rate: float
    cpm: float


def find_ideal_bids(
    world: World,
    *,
    target_win_rate: float,
    day: date,
    scope: Literal["portfolio", "segment"] = "portfolio",
    seen_bid_cpm: np.ndarray | None = None,
    lowest_cpm: float = 0.01,
) -> IdealBids:
    """Return the base bids, multipliers aside, of least cost: b = argmax (lambda - b) F(b) with the smallest lambda.

    With scope "segment" every segment has to reach the target by itself, which costs more. A lowest bid keeps the
    ideal from what no log has shown: auctions without a rival can be had for a cent.

    Raises:
        DataError: no bid up to twenty times the market's median reaches the target.
    """
    grid = _bid_grid(20 * world.settings.market_median_cpm)
    grid = grid[grid >= lowest_cpm]
    rows = np.arange(len(world.segments))
    won = world.win_probability(rows[:, None], bid_cpm=grid, day=day, seen_bid_cpm=seen_bid_cpm)
    reach = won[:, -1] if scope == "segment" else world.population.request_share @ won[:, -1:]
    if reach.min() < target_win_rate:
        raise DataError(f"no bids reach a win rate of {target_win_rate}: at {grid[-1]:.2f} CPM it is {reach.min():.3f}")
    if scope == "segment":
        chosen, shadow_price = np.argmax(won >= target_win_rate, axis=1), 0.0
    else:
        chosen, shadow_price = _choose_for_portfolio(
            won, grid, shares=world.population.request_share, target=target_win_rate
        )
    bid_cpm, won = grid[chosen], won[rows, chosen]
    wins = world.population.request_share * won
    return IdealBids(bid_cpm, won, shadow_price, float(wins.sum()), float(wins @ bid_cpm / wins.sum()))


def _choose_for_portfolio(
    won: np.ndarray, grid: np.ndarray, *, shares: np.ndarray, target: float
) -> tuple[np.ndarray, float]:
    def choose(shadow_price: float) -> np.ndarray:
        return np.argmax((shadow_price - grid) * won, axis=1)

    rows, low, high = np.arange(len(won)), 0.0, 2 * grid[-1]
    while shares @ won[rows, choose(high)] < target:
        high *= 4
    for _ in range(40):
        middle = (low + high) / 2
        reached = shares @ won[rows, choose(middle)] >= target
        low, high = (low, middle) if reached else (middle, high)
    return choose(high), high


def _bid_grid(highest_cpm: float) -> np.ndarray:
    """Return bids in cents, evenly spaced in logs, with every round price among them: shape (grid,)."""
    round_prices = ROUND_PRICES_CPM[: np.searchsorted(ROUND_PRICES_CPM, highest_cpm, side="right")]
    spaced = np.geomspace(0.01, highest_cpm, _GRID_STEPS).round(2)
    return np.unique(np.concatenate([spaced, round_prices]))
