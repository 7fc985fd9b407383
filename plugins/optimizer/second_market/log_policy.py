"""Who bid in the log: an unknown optimizer, whose plan knows the rivals' levels, with or without jitter."""

import numpy as np

from optimizer.second_market.market import Market
from optimizer.second_market.prices import win_probability
from optimizer.second_market.requests import Requests
from optimizer.second_market.streams import stream

CALIBRATION_ROWS = 40_000


def logged_bids(market: Market, requests: Requests) -> np.ndarray:
    """Return the bids of the log on these requests, CPM in cents, scaled to the win rate that the log is to show."""
    raw = _raw_bids(market, requests)
    rows = np.linspace(0, len(requests) - 1, min(len(requests), CALIBRATION_ROWS)).astype(int)
    some = requests.pick(rows)
    low, high = -4.0, 4.0
    for _ in range(40):
        middle = (low + high) / 2
        is_below = win_probability(market, some, raw[rows] * np.exp(middle)).mean() < market.settings.logged_win_rate
        low, high = (middle, high) if is_below else (low, middle)
    return np.maximum(np.round(raw * np.exp(high), 2), 0.01)


def _raw_bids(market: Market, requests: Requests) -> np.ndarray:
    s = market.settings
    if s.is_flat:
        return np.full(len(requests), s.median_cpm)
    noise = stream(market.seed, "plan").normal(0, s.plan_noise_sd, len(market.level))
    plan = s.plan_power * (market.level - np.log(s.median_cpm)) + noise
    followed = s.follow_power * market.shock[requests.day, requests.segment]
    return s.median_cpm * np.exp(plan[requests.segment] + followed + _jitter(market, requests))


def _jitter(market: Market, requests: Requests) -> np.ndarray:
    s = market.settings
    chance = stream(market.seed, "jitter of the log")
    if s.is_jittered_by_request:
        return s.jitter_sd * chance.normal(size=len(requests))
    return s.jitter_sd * chance.normal(size=market.shock.shape)[requests.day, requests.segment]
