"""From win-rate curves to bids: what each segment should be bid, and what bound it."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import pandas as pd
from scipy.special import ndtri

from optimizer.core.landscape import Landscape

NO_BID = "no_bid_floor"
"""Reason of a segment without a bid: its floor is above what may be bid."""

JITTER_TRUNCATION_SD = 2.0
CENT = 0.01


@dataclass(frozen=True, slots=True)
class BidPolicy:
    """What bounds the bids. Money is CPM.

    is_second_price: the winner pays the best rival's bid, so the best bid is what a win is worth.
    trust_low_cpm, trust_high_cpm: the bids that the log says something about.
    jitter_sd: standard deviation of the random factor on each bid, truncated at two.
    step_limit: largest relative change against the active run's planned bid.
    is_value_trusted: whether the value estimate may bound bids (target_margin).
    """

    target_win_rate: float
    win_rate_scope: str
    target_margin: float
    max_bid_cpm: float
    floor_available: bool
    trust_low_cpm: float
    trust_high_cpm: float
    jitter_sd: float
    step_limit: float
    is_value_trusted: bool
    is_second_price: bool = False


@dataclass(frozen=True, slots=True)
class BidPlan:
    """The bids of a run.

    table: one row a segment of the input, same order, with planned_bid_cpm (before jitter), jitter, suggested_bid_cpm
        (NaN where there is no bid), expected_win_rate, expected_margin and reason.
    win_price_cpm: lambda, what one more win is worth beyond its value so that the target is met.
    fallback_bid_cpm: the bid on a segment that is not known.
    expected_win_rate, expected_cpm: over all requests, at the planned bids, as if every win paid its bid.
    """

    table: pd.DataFrame
    win_price_cpm: float
    fallback_bid_cpm: float
    expected_win_rate: float
    expected_cpm: float


def plan_bids(
    segments: pd.DataFrame, *, landscape: Landscape, policy: BidPolicy, previous_bids: Mapping[str, float], seed: str
) -> BidPlan:
    """Return the bids that reach the target win rate at the lowest price.

    Args:
        segments: segment_key, bids (requests), level, value_cpm (NaN where unknown), floor_cpm (NaN where none).
        previous_bids: the active run's planned bid of each segment key.
        seed: makes the jitter repeatable; the run_id.
    """
    level, requests = segments["level"].to_numpy(float), segments["bids"].to_numpy(float)
    value = segments["value_cpm"].to_numpy(float) if policy.is_value_trusted else np.full(len(segments), np.nan)
    bounds = _bounds(segments, value, policy, previous_bids)
    own_value = np.nan_to_num((1 - policy.target_margin) * value)

    def wins_at(win_price: float) -> float:
        bid, _ = _clamp(_best_bid(landscape, level, own_value + win_price, policy), bounds)
        return float((requests * np.where(bounds.is_biddable, landscape.win_rate(level, bid), 0.0)).sum())

    if policy.win_rate_scope == "segment":
        win_price, wanted = 0.0, landscape.bid_for_win_rate(level, policy.target_win_rate)
    else:
        win_price = _smallest_win_price(wins_at, goal=policy.target_win_rate * requests.sum())
        wanted = _best_bid(landscape, level, own_value + win_price, policy)
    planned, reason = _clamp(wanted, bounds)
    reason = np.where((reason == "target") & (win_price == 0) & (policy.win_rate_scope == "portfolio"), "value", reason)
    jitter = jitter_factors(segments["segment_key"], seed=seed, sd=policy.jitter_sd)
    suggested = _to_cents(planned * jitter, bounds)
    table = pd.DataFrame(
        {
            "planned_bid_cpm": np.where(bounds.is_biddable, planned, np.nan),
            "jitter": jitter,
            "suggested_bid_cpm": np.where(bounds.is_biddable, suggested, np.nan),
            "expected_win_rate": np.where(bounds.is_biddable, landscape.win_rate(level, suggested), 0.0),
            "expected_margin": 1 - suggested / np.where(value > 0, value, np.nan),
            "reason": np.where(bounds.is_biddable, reason, NO_BID),
        },
        index=segments.index,
    )
    won = requests * np.where(bounds.is_biddable, landscape.win_rate(level, planned), 0.0)
    return BidPlan(
        table=table,
        win_price_cpm=win_price,
        fallback_bid_cpm=_fallback_bid(landscape, level, requests, own_value + win_price, policy),
        expected_win_rate=float(won.sum() / requests.sum()),
        expected_cpm=float((won * planned).sum() / won.sum()) if won.sum() > 0 else 0.0,
    )


def jitter_factors(keys: pd.Series, *, seed: str, sd: float) -> np.ndarray:
    """Return a random factor for each key: normal around 1, truncated at two sd, repeatable by seed."""
    digests = (blake2b(f"{seed}\n{key}".encode(), digest_size=8).digest() for key in keys)
    uniform = (np.fromiter((int.from_bytes(digest, "big") for digest in digests), float, len(keys)) + 0.5) / 2.0**64
    low, high = 0.02275013194817921, 0.9772498680518208  # normal distribution function at -2 and 2
    return 1.0 + sd * ndtri(low + uniform * (high - low))


def _best_bid(landscape: Landscape, level: np.ndarray, worth: np.ndarray, policy: BidPolicy) -> np.ndarray:
    """The bid with the largest expected surplus where a win is worth this much."""
    return worth if policy.is_second_price else landscape.best_response(level, worth)


@dataclass(frozen=True, slots=True)
class _Bounds:
    soft: tuple[tuple[str, np.ndarray, np.ndarray], ...]
    hard: tuple[tuple[str, np.ndarray, np.ndarray], ...]
    is_biddable: np.ndarray


def _bounds(
    segments: pd.DataFrame, value: np.ndarray, policy: BidPolicy, previous_bids: Mapping[str, float]
) -> _Bounds:
    size = len(segments)
    previous = segments["segment_key"].map(dict(previous_bids)).to_numpy(float)
    step_low = np.nan_to_num(previous * (1 - policy.step_limit), nan=0.0)
    step_high = np.nan_to_num(previous * (1 + policy.step_limit), nan=np.inf)
    floor = np.nan_to_num(segments["floor_cpm"].to_numpy(float), nan=0.0) if policy.floor_available else np.zeros(size)
    margin = np.nan_to_num((1 - policy.target_margin) * value, nan=np.inf)
    ceiling = np.minimum(margin, policy.max_bid_cpm)
    zero, unbounded = np.zeros(size), np.full(size, np.inf)
    return _Bounds(
        soft=(
            ("trust_band", np.full(size, policy.trust_low_cpm), np.full(size, policy.trust_high_cpm)),
            ("step", step_low, step_high),
        ),
        hard=(
            ("floor", floor, unbounded),
            ("margin", zero, margin),
            ("cap", zero, np.full(size, policy.max_bid_cpm)),
        ),
        is_biddable=(floor <= ceiling) & (ceiling >= CENT),
    )


def _clamp(bid: np.ndarray, bounds: _Bounds) -> tuple[np.ndarray, np.ndarray]:
    """Bids within soft and then hard bounds, and the last bound that moved each."""
    reason = np.full(len(bid), "target", dtype=object)
    for name, low, high in (*bounds.soft, *bounds.hard):
        moved = np.minimum(np.maximum(bid, low), high)
        reason = np.where(moved != bid, name, reason)
        bid = moved
    return np.maximum(bid, CENT), reason


def _to_cents(bid: np.ndarray, bounds: _Bounds) -> np.ndarray:
    """Bids in whole cents that still keep the hard bounds: floors rounded up, ceilings down."""
    cents = np.maximum(np.round(bid / CENT), 1)
    for _, low, high in bounds.hard:
        lowest = np.ceil(low / CENT - 1e-9)
        highest = np.where(np.isfinite(high), np.floor(np.where(np.isfinite(high), high, 0) / CENT + 1e-9), np.inf)
        cents = np.minimum(np.maximum(cents, lowest), np.maximum(highest, 1))
    return cents / 100


def _smallest_win_price(wins_at, *, goal: float, rounds: int = 60) -> float:
    """The smallest price of a win, CPM, that reaches the goal; where none does, the first that changes nothing more."""
    if wins_at(0.0) >= goal:
        return 0.0
    low, high = 0.0, 1.0
    while wins_at(high) < goal:
        if high > 1.0 and wins_at(high) <= wins_at(high / 2) + 1e-9:
            goal = wins_at(high) * (1 - 1e-9)
            break
        low, high = high, high * 2
    for _ in range(rounds):
        middle = (low + high) / 2
        low, high = (low, middle) if wins_at(middle) >= goal else (middle, high)
    return high


def _fallback_bid(
    landscape: Landscape, level: np.ndarray, requests: np.ndarray, worth: np.ndarray, policy: BidPolicy
) -> float:
    mean_level, mean_worth = np.average(level, weights=requests), np.average(worth, weights=requests)
    if policy.win_rate_scope == "segment":
        bid = landscape.bid_for_win_rate(mean_level, policy.target_win_rate)
    else:
        bid = _best_bid(landscape, np.array([mean_level]), np.array([mean_worth]), policy)[0]
    clamped = min(max(float(bid), policy.trust_low_cpm), policy.trust_high_cpm, policy.max_bid_cpm)
    return max(CENT, np.floor(clamped / CENT + 1e-9) * CENT)
