"""From win-rate curves to bids: what each segment should be bid, and what bound it."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import ndtri

from optimizer.core.landscape import Landscape

NO_BID = "no_bid_floor"
"""Reason of a segment without a bid: its floor is above what may be bid."""

BOUNDS = ("trust_band", "step", "floor", "margin", "cap")
"""What may move a bid from what is best, in the order in which it is applied: later ones win."""

MIN_VALUE_TRUST = 0.8
"""From this trust in the value on, it bounds bids (target_margin)."""

AGGRESSIVE_QUANTILE = 0.8
"""Aggressive exploration bids this quantile of what a thin segment's best bid may be."""

THIN_EVIDENCE = 0.5
"""A segment is thin where less than this share of its level is its own evidence."""

JITTER_TRUNCATION_SD = 2.0
CENT = 0.01


@dataclass(frozen=True, slots=True)
class BidPolicy:
    """What bounds the bids. Money is CPM.

    is_second_price: the winner pays the best rival's bid, so the best bid is what a win is worth.
    jitter_sd: standard deviation of the random factor on each bid, truncated at two.
    step_limit: largest relative change against the active run's planned bid.
    value_trust: theta, 0 to 1, how far the value estimate may raise or bound bids.
    is_aggressive: thin segments below the target bid the upper end of what is plausible.
    """

    target_win_rate: float
    win_rate_scope: str
    target_margin: float
    max_bid_cpm: float
    floor_available: bool
    jitter_sd: float
    step_limit: float
    value_trust: float
    is_second_price: bool = False
    is_aggressive: bool = False


@dataclass(frozen=True, slots=True)
class BidPlan:
    """The bids of a run.

    table: one row a segment of the input, same order: wanted_bid_cpm (best before any bound), planned_bid_cpm (before
        jitter), jitter, suggested_bid_cpm (planned and suggested NaN where there is no bid), expected_win_rate,
        expected_cost_cpm (of a win), expected_margin and reason.
    win_price_cpm: lambda, what one more win is worth beyond its value so that the target is met.
    fallback_bid_cpm: the bid on a segment that is not known.
    expected_win_rate, expected_cpm: over all requests, at the planned bids.
    """

    table: pd.DataFrame
    win_price_cpm: float
    fallback_bid_cpm: float
    expected_win_rate: float
    expected_cpm: float


def plan_bids(segments: pd.DataFrame, *, landscape: Landscape, policy: BidPolicy, seed: str) -> BidPlan:
    """Return the bids that reach the target win rate at the lowest price.

    Args:
        segments: segment_key, bids (requests), level, level_error, own_share (of the evidence, 0 to 1), slope,
            is_held (no slope is known: the bid stays what it was), usual_bid_cpm, previous_bid_cpm (the active run's
            planned bid, NaN where it has none), trust_low_cpm, trust_high_cpm, value_cpm (NaN where unknown), floor_cpm
            (NaN where none).
        seed: makes the jitter repeatable; the run_id.
    """
    market = _Market.of(segments, landscape, policy)
    bounds = _Bounds.of(segments, policy)
    win_price = _win_price(market, bounds, policy, segments)
    wanted = market.wanted(win_price)
    lifted = _explore(wanted, segments, market, policy)
    planned, bound = bounds.clamp(lifted)
    jitter = jitter_factors(segments["segment_key"], seed=seed, sd=policy.jitter_sd)
    suggested = bounds.to_cents(planned * jitter)
    can_bid = bounds.is_biddable
    cost = market.cost(suggested)
    value = segments["value_cpm"].to_numpy(float)
    table = pd.DataFrame(
        {
            "wanted_bid_cpm": wanted,
            "planned_bid_cpm": np.where(can_bid, planned, np.nan),
            "jitter": jitter,
            "suggested_bid_cpm": np.where(can_bid, suggested, np.nan),
            "expected_win_rate": np.where(can_bid, market.win_rate(suggested), 0.0),
            "expected_cost_cpm": np.where(can_bid, cost, np.nan),
            "expected_margin": np.where(can_bid, 1 - cost / np.where(value > 0, value, np.nan), np.nan),
            "reason": np.where(
                can_bid, _reasons(bound, segments, is_lifted=lifted > wanted, is_priced=win_price > 0), NO_BID
            ),
        },
        index=segments.index,
    )
    won = market.requests * np.where(can_bid, market.win_rate(planned), 0.0)
    return BidPlan(
        table=table,
        win_price_cpm=win_price,
        fallback_bid_cpm=_fallback_bid(planned[can_bid], market.requests[can_bid], policy),
        expected_win_rate=float(won.sum() / market.requests.sum()),
        expected_cpm=float((won * market.cost(planned)).sum() / won.sum()) if won.sum() > 0 else 0.0,
    )


def jitter_factors(keys: pd.Series, *, seed: str, sd: float) -> np.ndarray:
    """Return a random factor for each key: normal around 1, truncated at two sd, repeatable by seed."""
    hash_key = blake2b(seed.encode(), digest_size=8).hexdigest()
    drawn = pd.util.hash_array(keys.to_numpy(object), hash_key=hash_key, categorize=False)
    uniform = (drawn.astype(float) + 0.5) / 2.0**64
    low, high = 0.02275013194817921, 0.9772498680518208  # normal distribution function at -2 and 2
    return 1.0 + sd * ndtri(low + uniform * (high - low))


@dataclass(frozen=True, slots=True)
class _Market:
    """The segments' curves as functions of a price alone."""

    requests: np.ndarray
    win_rate: Callable[[np.ndarray], np.ndarray]
    cost: Callable[[np.ndarray], np.ndarray]
    wanted: Callable[[float], np.ndarray]

    @classmethod
    def of(cls, segments: pd.DataFrame, landscape: Landscape, policy: BidPolicy) -> "_Market":
        level, slope = segments["level"].to_numpy(float), segments["slope"].to_numpy(float)
        own_value = policy.value_trust * (1 - policy.target_margin) * segments["value_cpm"].to_numpy(float)
        own_value = np.nan_to_num(own_value, nan=0.0)
        usual = segments["previous_bid_cpm"].fillna(segments["usual_bid_cpm"]).to_numpy(float)
        is_held = segments["is_held"].to_numpy(bool)
        solve = landscape.solver(level, slope)

        def wanted(win_price: float) -> np.ndarray:
            if policy.win_rate_scope == "segment":
                best = landscape.bid_for_win_rate(level, slope, policy.target_win_rate)
            else:
                best = own_value + win_price if policy.is_second_price else solve(own_value + win_price)
            return np.where(is_held, usual, best)

        return cls(
            requests=segments["bids"].to_numpy(float),
            win_rate=lambda bid: landscape.win_rate(level, slope, bid),
            cost=lambda bid: landscape.mean_price(level, slope, bid) if policy.is_second_price else bid,
            wanted=wanted,
        )


@dataclass(frozen=True, slots=True)
class _Bounds:
    """The bounds by name, each with its lowest and highest bid, shape (n_segments,), and what they make together."""

    named: dict[str, tuple[np.ndarray, np.ndarray]]
    low: np.ndarray
    high: np.ndarray
    is_biddable: np.ndarray

    @classmethod
    def of(cls, segments: pd.DataFrame, policy: BidPolicy) -> "_Bounds":
        zero, unbounded = np.zeros(len(segments)), np.full(len(segments), np.inf)
        previous = segments["previous_bid_cpm"].to_numpy(float)
        value = segments["value_cpm"].to_numpy(float)
        margin = np.nan_to_num((1 - policy.target_margin) * value, nan=np.inf)
        is_held = segments["is_held"].to_numpy(bool)
        named = {
            "trust_band": (
                np.where(is_held, 0.0, segments["trust_low_cpm"]),
                np.where(is_held, np.inf, segments["trust_high_cpm"]),
            ),
            "step": (
                np.nan_to_num(previous * (1 - policy.step_limit), nan=0.0),
                np.nan_to_num(previous * (1 + policy.step_limit), nan=np.inf),
            ),
            "floor": (
                np.nan_to_num(segments["floor_cpm"].to_numpy(float), nan=0.0) if policy.floor_available else zero,
                unbounded,
            ),
            "margin": (zero, margin if policy.value_trust >= MIN_VALUE_TRUST else unbounded),
            "cap": (zero, np.full(len(segments), policy.max_bid_cpm)),
        }
        low, high = zero + CENT, unbounded
        for lowest, highest in (named[name] for name in BOUNDS):
            low, high = (np.minimum(np.maximum(edge, lowest), highest) for edge in (low, high))
        ceiling = np.minimum(named["margin"][1], policy.max_bid_cpm)
        is_biddable = (named["floor"][0] <= ceiling) & (ceiling >= CENT)
        return cls(named, np.maximum(low, CENT), np.maximum(high, CENT), is_biddable)

    def apply(self, bid: np.ndarray) -> np.ndarray:
        """Return the bids within all bounds."""
        return np.clip(bid, self.low, self.high)

    def clamp(self, bid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the bids within all bounds, and the last bound that moved each, "" where none did."""
        bound = np.full(len(bid), "", dtype=object)
        for name in BOUNDS:
            low, high = self.named[name]
            moved = np.minimum(np.maximum(bid, low), high)
            bound = np.where(moved != bid, name, bound)
            bid = moved
        return np.maximum(bid, CENT), bound

    def to_cents(self, bid: np.ndarray) -> np.ndarray:
        """Return the bids in whole cents that still keep the hard bounds: floors rounded up, ceilings down."""
        cents = np.maximum(np.round(bid / CENT), 1)
        for name in ("floor", "margin", "cap"):
            low, high = self.named[name]
            lowest = np.ceil(low / CENT - 1e-9)
            highest = np.where(np.isfinite(high), np.floor(np.where(np.isfinite(high), high, 0) / CENT + 1e-9), np.inf)
            cents = np.minimum(np.maximum(cents, lowest), np.maximum(highest, 1))
        return cents / 100


def _win_price(market: _Market, bounds: _Bounds, policy: BidPolicy, segments: pd.DataFrame) -> float:
    """Return lambda: the smallest price of a win, CPM, that reaches the target or, where none does, all that can be."""
    if policy.win_rate_scope == "segment":
        return 0.0
    requests = np.where(bounds.is_biddable, market.requests, 0.0)

    def wins(win_price: float) -> float:
        return float(requests @ market.win_rate(bounds.apply(market.wanted(win_price))))

    highest = np.where(segments["is_held"], bounds.apply(market.wanted(0.0)), bounds.high)
    reachable = float(requests @ market.win_rate(highest)) * (1 - 1e-6)
    goal = min(policy.target_win_rate * market.requests.sum(), reachable)
    low, high = 0.0, float(np.average(segments["usual_bid_cpm"], weights=segments["bids"]))
    if wins(low) >= goal * (1 - 1e-9):
        return 0.0
    while wins(high) < goal:
        low, high = high, 2 * high
    if goal == reachable:
        return high
    return float(brentq(lambda price: wins(price) - goal, low, high, xtol=1e-6, rtol=1e-6))


def _explore(wanted: np.ndarray, segments: pd.DataFrame, market: _Market, policy: BidPolicy) -> np.ndarray:
    """The bids, higher on thin segments below the target where exploration is aggressive."""
    if not policy.is_aggressive:
        return wanted
    is_thin = (segments["own_share"] < THIN_EVIDENCE) & ~segments["is_held"]
    is_below = market.win_rate(wanted) < policy.target_win_rate
    log_error = (segments["level_error"] / segments["slope"]).to_numpy(float)
    return np.where(is_thin & is_below, wanted * np.exp(ndtri(AGGRESSIVE_QUANTILE) * log_error), wanted)


def _reasons(bound: np.ndarray, segments: pd.DataFrame, *, is_lifted: np.ndarray, is_priced: bool) -> np.ndarray:
    own = np.where(segments["own_share"] < THIN_EVIDENCE, "shrinkage", "target" if is_priced else "value")
    free = np.where(segments["is_held"], "held", np.where(is_lifted, "exploration", own))
    return np.where(bound == "", free, bound)


def _fallback_bid(planned: np.ndarray, requests: np.ndarray, policy: BidPolicy) -> float:
    """The bid on what is not known: the request-weighted mean of the bids on what is, within the cap."""
    if not len(planned):
        return CENT
    mean = np.exp(np.average(np.log(planned), weights=requests))
    return float(max(CENT, np.floor(min(mean, policy.max_bid_cpm) / CENT + 1e-9) * CENT))
