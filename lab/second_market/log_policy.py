"""Who bid in the log: an unknown optimizer, whose plan knows the rivals' levels, with or without jitter."""

import numpy as np

from lab.second_market.market import Market
from lab.second_market.prices import win_probability
from lab.second_market.requests import Requests, draw_requests
from lab.second_market.streams import stream

CALIBRATION_REQUESTS = 40_000
_HALVINGS = 40


def logged_bids(market: Market, requests: Requests) -> np.ndarray:
    """Return what the policy bids on these requests, CPM in cents; log days show `logged_win_rate`."""
    return np.maximum(np.round(np.exp(_log_bids(market, requests) + _log_scale(market)), 2), 0.01)


def _log_scale(market: Market) -> float:
    s = market.settings
    per_day = -(-CALIBRATION_REQUESTS // s.log_days)
    requests = draw_requests(market, days=range(s.log_days), per_day=per_day, purpose="scale of the log")
    log_bid = _log_bids(market, requests)
    low, high = -4.0, 4.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        is_below = win_probability(market, requests, np.exp(log_bid + middle)).mean() < s.logged_win_rate
        low, high = (middle, high) if is_below else (low, middle)
    return high


def _log_bids(market: Market, requests: Requests) -> np.ndarray:
    s = market.settings
    if s.is_flat:
        return np.full(len(requests), np.log(s.median_cpm))
    noise = stream(market.seed, "plan").normal(0, s.plan_noise_sd, len(market.level))
    fine = s.fine_plan_power * (market.level - market.adspace_level)
    plan = s.plan_power * market.adspace_level + fine + noise
    followed = s.follow_power * market.shock[requests.day, requests.segment]
    return plan[requests.segment] + followed + s.jitter_sd * _jitter(market, requests)


def _jitter(market: Market, requests: Requests) -> np.ndarray:
    if market.settings.is_jittered_by_request:
        return stream(market.seed, "jitter of requests", int(requests.day[0]), len(requests)).normal(size=len(requests))
    return stream(market.seed, "jitter").normal(size=market.shock.shape)[requests.day, requests.segment]
