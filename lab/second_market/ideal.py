"""The cheapest bids that reach a win rate on the true curves, and the one flat bid that does."""

from dataclasses import dataclass, field

import numpy as np

from lab.second_market.market import DAY_PART_SHARES, Market
from lab.second_market.prices import ROUND_PRICES, expected_cost, price_below, seen_share, win_probability
from lab.second_market.requests import Requests, draw_requests

GRID_STEP = 0.01
"""Step of the grid of bids, in logs. A cent above each round price and each floor is on the grid too."""

CENT = 0.01
_HALVINGS = 40
_REACH = 2.5
"""The grid reaches this far below and above the typical prices, in logs."""


@dataclass(frozen=True, slots=True)
class Ideal:
    """The cheapest bids.

    bid_cpm: shape (segments,), NaN for a segment without a request. win_rate, cpm: what they bring over the requests.
    """

    bid_cpm: np.ndarray = field(repr=False)
    win_rate: float
    cpm: float


@dataclass(frozen=True, slots=True)
class Curves:
    """True curves of the segments that have requests, over the days of these requests.

    segments: shape (n,), numbers; counts: shape (n,), requests; grid: shape (bids,), CPM; win_rate: shape (n, bids).
    """

    segments: np.ndarray
    counts: np.ndarray
    grid: np.ndarray
    win_rate: np.ndarray


def flat_bid(market: Market, requests: Requests, *, win_rate: float, highest_cpm: float = 1_000.0) -> float:
    """Return the lowest single bid that wins this share of the requests, CPM; highest_cpm where none does."""
    low, high = np.log(CENT), np.log(highest_cpm)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        is_below = win_probability(market, requests, np.exp(middle)).mean() < win_rate
        low, high = (middle, high) if is_below else (low, middle)
    return float(np.exp(high))


def flat_cpm(market: Market, requests: Requests, *, win_rate: float) -> float:
    """Return what a win costs with one flat bid that wins this share of the requests, CPM."""
    bid = flat_bid(market, requests, win_rate=win_rate)
    won = win_probability(market, requests, bid).sum()
    return float(expected_cost(market, requests, bid).sum() / won) if won > 0 else np.nan


def find_ideal(market: Market, requests: Requests, *, win_rate: float, highest_cpm: float = np.inf) -> Ideal:
    """Return the cheapest bids by segment that win this share of the requests, or as much as can be won.

    First price: for a shadow price L each segment bids argmax (L - b) F(b); the least L that wins enough, and a mix of
    it with the next lower one, so that the win rate is met exactly. Second price: one bid for all is the cheapest.
    """
    if market.settings.is_second_price:
        bid = flat_bid(market, requests, win_rate=win_rate, highest_cpm=min(highest_cpm, 1_000.0))
        won, cost = win_probability(market, requests, bid), expected_cost(market, requests, bid)
        return Ideal(np.full(len(market.level), bid), float(won.mean()), float(cost.sum() / won.sum()))
    return best_on_curves(market, true_curves(market, requests, highest_cpm=highest_cpm), win_rate=win_rate)


def best_on_curves(market: Market, curves: Curves, *, win_rate: float) -> Ideal:
    """Return the cheapest bids of the grid that win this share of the requests."""
    total = curves.counts.sum()
    rows = np.arange(len(curves.segments))

    def bid_at(shadow_price: float) -> tuple[np.ndarray, float, float]:
        best = ((shadow_price - curves.grid) * curves.win_rate).argmax(axis=1)
        won = curves.counts * curves.win_rate[rows, best]
        return curves.grid[best], float(won.sum() / total), float(won @ curves.grid[best] / total)

    low, high = 0.0, 50.0 * float(curves.grid[-1])
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if bid_at(middle)[1] < win_rate else (low, middle)
    _, under, under_cost = bid_at(low)
    bid, over, over_cost = bid_at(high)
    mix = 1.0 if over <= win_rate or over == under else (win_rate - under) / (over - under)
    reached = mix * over + (1 - mix) * under
    spent = mix * over_cost + (1 - mix) * under_cost
    bids = np.full(len(market.level), np.nan)
    bids[curves.segments] = bid
    return Ideal(bids, reached, spent / reached)


def true_curves(market: Market, requests: Requests, *, highest_cpm: float = np.inf) -> Curves:
    """Return the curves of the segments of these requests, exact but for the mix of the parts of a day."""
    counts = np.bincount(requests.segment, minlength=len(market.level))
    segments = np.flatnonzero(counts)
    grid = _grid(market, segments, highest_cpm)
    days, per_day = np.unique(requests.day, return_counts=True)
    parts = zip(DAY_PART_SHARES, market.day_part_shift, strict=True) if market.day_part_shift.any() else [(1.0, 0.0)]
    win_rate = np.zeros((len(segments), len(grid)))
    shifts = market.day_shift[days][:, segments]
    if not market.shock[days].any() and np.ptp(market.drift[days]) == 0:
        days, per_day, shifts = days[:1], per_day.sum(keepdims=True), shifts[:1]
    for part_share, part_shift in parts:
        for shift, weight in zip(shifts, per_day / per_day.sum(), strict=True):
            at = (market.level[segments] + shift + part_shift)[:, None]
            win_rate += part_share * weight * price_below(market, at, grid)
    win_rate *= seen_share(market) * (grid >= market.floor_cpm[segments][:, None])
    return Curves(segments, counts[segments].astype(float), grid, win_rate)


def _grid(market: Market, segments: np.ndarray, highest_cpm: float) -> np.ndarray:
    at = market.level[segments]
    grid = np.exp(np.arange(at.min() - _REACH, at.max() + _REACH, GRID_STEP))
    steps = ROUND_PRICES + CENT if market.settings.round_share else np.zeros(0)
    floors = np.unique(market.floor_cpm)
    grid = np.unique(np.concatenate([grid, steps, floors[floors > 0]]))
    return np.append(grid[grid < highest_cpm], highest_cpm) if np.isfinite(highest_cpm) else grid


def binding_bid(market: Market, *, win_rate: float) -> float:
    """Return the flat bid that wins this share of the requests of the log's last week, CPM: a cap that binds."""
    last = market.settings.log_days
    requests = draw_requests(market, days=range(max(0, last - 7), last), per_day=5_000, purpose="value")
    return flat_bid(market, requests, win_rate=win_rate)
