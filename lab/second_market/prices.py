"""The law of the best rival's price: exact win probabilities, expected costs, and draws from it."""

import numpy as np
from scipy.special import ndtr

from lab.second_market.market import Market
from lab.second_market.requests import Requests

ROUND_PRICES = np.concatenate([np.arange(0.25, 2, 0.25), np.arange(2.0, 20.0), np.arange(20.0, 1001.0, 5.0)])
"""CPM, increasing."""

_MIDPOINTS = (ROUND_PRICES[1:] + ROUND_PRICES[:-1]) / 2


def location(market: Market, requests: Requests) -> np.ndarray:
    """Return the log of the rival's typical price on each request, shape (n,)."""
    return (
        market.level[requests.segment]
        + market.day_shift[requests.day, requests.segment]
        + market.day_part_shift[requests.day_part]
    )


def price_below(market: Market, at: np.ndarray, bid_cpm: np.ndarray) -> np.ndarray:
    """Return P(the best rival's price is below the bid), ties lost.

    Args:
        at: log of the typical price; any shape that broadcasts with bid_cpm.
    """
    share = market.settings.round_share
    exact = _below(market, at, bid_cpm)
    return exact if share == 0 else (1 - share) * exact + share * _below(market, at, _round_edge(bid_cpm))


def win_probability(market: Market, requests: Requests, bid_cpm: np.ndarray | float) -> np.ndarray:
    """Return P(a win that the log will show) of each request at its bid, shape (n,); 0 without a bid (NaN)."""
    bid = np.broadcast_to(np.asarray(bid_cpm, float), len(requests))
    p = seen_share(market) * price_below(market, location(market, requests), bid)
    return np.where(np.isnan(bid) | (bid < market.floor_cpm[requests.segment]), 0.0, p)


def expected_cost(market: Market, requests: Requests, bid_cpm: np.ndarray | float) -> np.ndarray:
    """Return P(win) x E(cost | win) of each request, CPM, shape (n,).

    In second price that is the mean of the rivals' prices below the bid (no round prices, no floors there).
    """
    bid = np.broadcast_to(np.asarray(bid_cpm, float), len(requests))
    if not market.settings.is_second_price:
        return np.nan_to_num(bid) * win_probability(market, requests, bid)
    at, cost = location(market, requests), np.zeros(len(requests))
    for share, shift, sd in market.settings.modes:
        z = (np.log(bid) - at - shift) / sd
        cost += share * np.exp(at + shift + sd**2 / 2) * ndtr(z - sd)
    return np.nan_to_num(seen_share(market) * cost)


def seen_share(market: Market) -> float:
    """Return the largest win rate that any bid can reach."""
    return (1 - market.settings.lost_share) * (1 - market.settings.lost_notices)


def draw_prices(market: Market, requests: Requests, *, chance: np.random.Generator) -> np.ndarray:
    """Return the best rival's price of each request, CPM; +inf where the auction is lost whatever is bid."""
    s, count = market.settings, len(requests)
    shares, shifts, sds = np.array(s.modes).T
    mode = np.searchsorted(np.cumsum(shares)[:-1], chance.random(count), side="right")
    price = np.exp(location(market, requests) + shifts[mode] + sds[mode] * chance.normal(size=count))
    is_round = chance.random(count) < s.round_share
    price = np.where(is_round, ROUND_PRICES[np.searchsorted(_MIDPOINTS, price)], price)
    return np.where(chance.random(count) < s.lost_share, np.inf, price)


def _below(market: Market, at: np.ndarray, price: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        moved = np.log(price) - at
    return sum(share * ndtr((moved - shift) / sd) for share, shift, sd in market.settings.modes)


def _round_edge(bid_cpm: np.ndarray) -> np.ndarray:
    """Return the price below which a rival rounds to less than the bid."""
    below = np.searchsorted(ROUND_PRICES, bid_cpm, side="left")
    return np.where(below == 0, 0.0, _MIDPOINTS[np.clip(below - 1, 0, len(_MIDPOINTS) - 1)])
