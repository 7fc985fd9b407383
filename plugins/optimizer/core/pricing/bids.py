"""From win-rate curves to bids: what each segment should be bid, and what bound it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import ndtri

from optimizer.core.landscape.curves import Landscape
from optimizer.core.pricing.bid_bounds import BOUNDS, Bounds
from optimizer.core.pricing.bid_curves import SegmentCurves, smooth_shadow_price, stepped_shadow_price
from optimizer.core.pricing.bid_jitter import are_drawn, jitter_factors
from optimizer.core.pricing.bid_policy import BidPolicy

NO_BID = "no_bid_floor"
"""Reason of a segment without a bid: nothing is left between its floor and what margin and cap allow."""

REASONS = (*BOUNDS, "target", "value", "shrinkage", "exploration", "held", NO_BID, "round_price")
"""What may have decided a bid; the bounds come first."""

ROUND_PRICE_CODE = REASONS.index("round_price")

SNAPPED_JITTER_SHARE, SNAPPED_JITTER_SD = 0.2, 0.06
"""This share of the keys a cent above a round price, drawn again by each run, has jitter of at least this spread;
with jitter the others would lose the step that they were moved for.
"""

AGGRESSIVE_QUANTILE = 0.8
"""Aggressive exploration bids this quantile of what a thin segment's best bid may be."""

THIN_EVIDENCE = 0.5
"""A segment is thin where less than this share of its level is its own evidence."""


@dataclass(frozen=True, slots=True)
class BidPlan:
    """The bids of a run.

    table: one row a segment of the input, same order: wanted_bid_cpm (before any bound), planned_bid_cpm (before
        jitter), jitter, suggested_bid_cpm (planned and suggested NaN where there is no bid), expected_win_rate,
        expected_cost_cpm (of a win), expected_margin, round_price_cpm (NaN unless the bid was moved to a cent above a
        round price) and reason.
    shadow_price_cpm: lambda, what one more win is worth beyond its value so that the target is met.
    expected_win_rate, expected_cpm: over all requests, at the suggested bids.
    """

    table: pd.DataFrame
    shadow_price_cpm: float
    expected_win_rate: float
    expected_cpm: float


@dataclass(frozen=True, slots=True)
class DecidedBids:
    """The bids before jitter, and what decided each. Arrays have shape (n_segments,).

    wanted: before any bound; lifted: with exploration; planned: within all bounds, with round prices.
    is_snapped: moved to a cent above a round price. reason: place in `REASONS`.
    """

    market: SegmentCurves
    bounds: Bounds
    shadow_price_cpm: float
    wanted: np.ndarray
    planned: np.ndarray
    is_snapped: np.ndarray
    reason: np.ndarray


def decide_bids(segments: pd.DataFrame, *, landscape: Landscape, policy: BidPolicy) -> DecidedBids:
    """Return the bids that reach the target win rate at the lowest price, before jitter.

    Args:
        segments: as for `plan_bids`.
    """
    market = SegmentCurves.of(segments, landscape, policy)
    bounds = Bounds.of(segments, policy)
    shadow_price = smooth_shadow_price(market, bounds)
    steps = landscape.steps if policy.win_rate_scope == "portfolio" else None
    if steps is not None:
        shadow_price = stepped_shadow_price(market, bounds, steps, shadow_price)
    wanted = market.wanted(shadow_price)
    lifted = _explore(wanted, segments, market, policy)
    smooth, bound = bounds.clamp(lifted)
    planned = smooth if steps is None else market.above_round_price(smooth, shadow_price, bounds, steps)
    is_snapped = planned != smooth
    reason = _reasons(
        np.where(is_snapped, ROUND_PRICE_CODE, bound),
        segments,
        can_bid=bounds.is_biddable,
        is_lifted=lifted > wanted,
        is_priced=shadow_price > 0 or policy.win_rate_scope == "segment",
    )
    return DecidedBids(market, bounds, shadow_price, wanted, planned, is_snapped, reason)


def plan_bids(segments: pd.DataFrame, *, landscape: Landscape, policy: BidPolicy, seed: str) -> BidPlan:
    """Return the bids that reach the target win rate at the lowest price.

    Args:
        segments: segment_key, requests (expected, any unit), level, level_error, own_share (of the evidence, 0 to 1),
            slope, is_held (no slope is known: the bid stays what it was), usual_bid_cpm, kept_bid_cpm (what a held bid
            was before, NaN where no run bid yet), step_from_cpm (what was served before, NaN where unknown),
            trust_low_cpm, trust_high_cpm, value_cpm (NaN where unknown), floor_cpm (NaN where none), hidden_floor_cpm
            (0 where none): a bid below it wins nothing.
        seed: makes the jitter repeatable; the run_id.
    """
    decided = decide_bids(segments, landscape=landscape, policy=policy)
    market, bounds, is_snapped = decided.market, decided.bounds, decided.is_snapped
    spread = np.where(is_snapped, max(policy.jitter_sd, SNAPPED_JITTER_SD), policy.jitter_sd)
    reach = bounds.jitter_reach(decided.planned, spread, is_held=market.is_held)
    factor = jitter_factors(segments["segment_key"], seed=seed, reach=reach)
    factor = np.where(is_snapped & ~are_drawn(segments["segment_key"], seed, SNAPPED_JITTER_SHARE), 1.0, factor)
    suggested, planned = bounds.to_cents(decided.planned * factor), decided.planned * reach.mean
    can_bid, value = bounds.is_biddable, segments["value_cpm"].to_numpy(float)
    cost, win_rate = market.cost(suggested), np.where(can_bid, market.win_rate(suggested), 0.0)
    table = pd.DataFrame(
        {
            "wanted_bid_cpm": decided.wanted,
            "planned_bid_cpm": np.where(can_bid, planned, np.nan),
            "jitter": factor / reach.mean,
            "suggested_bid_cpm": np.where(can_bid, suggested, np.nan),
            "expected_win_rate": win_rate,
            "expected_cost_cpm": np.where(can_bid, cost, np.nan),
            "expected_margin": np.where(can_bid, 1 - cost / np.where(value > 0, value, np.nan), np.nan),
            "round_price_cpm": np.where(is_snapped & can_bid, planned, np.nan),
            "reason": pd.array(REASONS, dtype="str").take(decided.reason),
        },
        index=segments.index,
        copy=False,
    )
    won = market.requests * win_rate
    return BidPlan(
        table=table,
        shadow_price_cpm=decided.shadow_price_cpm,
        expected_win_rate=float(won.sum() / market.requests.sum()),
        expected_cpm=float((won * cost).sum() / won.sum()) if won.sum() > 0 else 0.0,
    )


def _explore(wanted: np.ndarray, segments: pd.DataFrame, market: SegmentCurves, policy: BidPolicy) -> np.ndarray:
    """The bids, higher on thin segments below the target where exploration is aggressive."""
    if not policy.is_aggressive:
        return wanted
    is_thin = (segments["own_share"] < THIN_EVIDENCE) & ~segments["is_held"]
    is_below = market.win_rate(wanted) < policy.target_win_rate
    log_error = (segments["level_error"] / segments["slope"]).to_numpy(float)
    return np.where(is_thin & is_below, wanted * np.exp(ndtri(AGGRESSIVE_QUANTILE) * log_error), wanted)


def _reasons(
    bound: np.ndarray, segments: pd.DataFrame, *, can_bid: np.ndarray, is_lifted: np.ndarray, is_priced: bool
) -> np.ndarray:
    """What decided each bid, by its place in `REASONS`: a million texts take longer than all the bids."""
    number = {name: code for code, name in enumerate(REASONS)}
    free = np.full(len(segments), number["target" if is_priced else "value"], dtype=np.int8)
    free[segments["own_share"].to_numpy(float) < THIN_EVIDENCE] = number["shrinkage"]
    free[is_lifted] = number["exploration"]
    free[segments["is_held"].to_numpy(bool)] = number["held"]
    decided = np.where(bound < 0, free, bound)
    return np.where(can_bid, decided, number[NO_BID])
