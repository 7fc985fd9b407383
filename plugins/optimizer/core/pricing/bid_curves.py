"""The segments' curves as functions of a price alone, and the shadow price that meets the target."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from optimizer.core.landscape.curves import Landscape, Solver
from optimizer.core.landscape.price_steps import PriceSteps
from optimizer.core.pricing.bid_bounds import CENT, Bounds
from optimizer.core.pricing.bid_policy import BidPolicy
from optimizer.core.pricing.shadow_price import WinCurve, find_shadow_price


@dataclass(frozen=True, slots=True)
class SegmentCurves:
    """The segments' curves as functions of a price alone.

    own_value: what a win earns, as far as it is trusted and beyond the margin, CPM.
    held_bid: what is bid where the slope is not known, CPM.
    """

    policy: BidPolicy
    landscape: Landscape
    requests: np.ndarray
    level: np.ndarray
    slope: np.ndarray
    own_value: np.ndarray
    usual_bid: np.ndarray
    held_bid: np.ndarray
    is_held: np.ndarray
    solver: Solver

    @classmethod
    def of(cls, segments: pd.DataFrame, landscape: Landscape, policy: BidPolicy) -> "SegmentCurves":
        level, slope = segments["level"].to_numpy(float), segments["slope"].to_numpy(float)
        own_value = policy.value_trust * (1 - policy.target_margin) * segments["value_cpm"].to_numpy(float)
        kept, usual = (segments[name].to_numpy(float) for name in ("kept_bid_cpm", "usual_bid_cpm"))
        return cls(
            policy=policy,
            landscape=landscape,
            requests=segments["requests"].to_numpy(float),
            level=level,
            slope=slope,
            own_value=np.where(np.isnan(own_value), 0.0, own_value),
            usual_bid=usual,
            held_bid=np.where(np.isnan(kept), usual, kept),
            is_held=segments["is_held"].to_numpy(bool),
            solver=landscape.solver(level, slope),
        )

    def win_rate(self, bid: np.ndarray) -> np.ndarray:
        return self.landscape.win_rate(self.level, self.slope, bid)

    def cost(self, bid: np.ndarray) -> np.ndarray:
        """Return what a win costs at the bid, CPM."""
        return self.landscape.mean_price(self.level, self.slope, bid) if self.policy.is_second_price else bid

    def above_round_price(
        self, planned: np.ndarray, shadow_price: float, bounds: "Bounds", steps: PriceSteps
    ) -> np.ndarray:
        """Return the planned bids, moved to a cent above a round price near them where that brings more."""
        best, worth = planned, self.own_value + shadow_price
        gain = (worth - planned) * self.win_rate(planned)
        for other in steps.around(planned):
            is_allowed = (other >= bounds.low) & (other <= bounds.high) & ~self.is_held
            found = (worth - other) * self.win_rate(other)
            is_better = is_allowed & (found > gain + 1e-12)
            best, gain = np.where(is_better, other, best), np.where(is_better, found, gain)
        return best

    def wanted(self, shadow_price: float) -> np.ndarray:
        """Return the bids before any bound, CPM."""
        if self.policy.win_rate_scope == "segment":
            best = self.landscape.bid_for_win_rate(self.level, self.slope, self.policy.target_win_rate)
        elif self.policy.is_second_price:
            best = self.own_value + shadow_price
        else:
            best = self.solver(self.own_value + shadow_price)
        return np.where(self.is_held, self.held_bid, best)


def smooth_shadow_price(market: SegmentCurves, bounds: Bounds) -> float:
    """Return lambda, CPM."""
    if market.policy.win_rate_scope == "segment":
        return 0.0
    held, log_scale = bounds.apply(market.held_bid), market.solver.log_scale
    low, high = (np.log(np.where(market.is_held, held, edge)) - log_scale for edge in (bounds.low, bounds.high))
    curve = WinCurve(
        requests=np.where(bounds.is_biddable, market.requests, 0.0),
        worth_cpm=market.own_value,
        slope=market.slope,
        low=low,
        high=high,
        solver=market.solver,
        link=market.landscape.link,
        is_second_price=market.policy.is_second_price,
    )
    return find_shadow_price(
        curve,
        target_wins=market.policy.target_win_rate * market.requests.sum(),
        start_cpm=float(np.average(market.usual_bid, weights=market.requests)),
    )


def stepped_shadow_price(market: SegmentCurves, bounds: Bounds, steps: PriceSteps, start_cpm: float) -> float:
    """Return lambda, CPM, on the curves with their steps: wins rise with it but for rounding."""
    total = market.requests.sum()

    def missing(shadow_price: float) -> float:
        smooth, _ = bounds.clamp(market.wanted(shadow_price))
        planned = market.above_round_price(smooth, shadow_price, bounds, steps)
        won = np.where(bounds.is_biddable, market.win_rate(planned), 0.0)
        return float((market.requests * won).sum() / total) - market.policy.target_win_rate

    low, high = start_cpm / 2, 2 * start_cpm + CENT
    if missing(low) >= 0 or missing(high) <= 0:
        return start_cpm
    return float(brentq(missing, low, high, xtol=1e-3, rtol=1e-4))
