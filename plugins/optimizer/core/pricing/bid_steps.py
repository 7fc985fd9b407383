"""The steps of one bid: from the wanted bid through each bound to the suggested one."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from optimizer.core.config.settings import RunSettings
from optimizer.core.pricing.bid_bounds import SEGMENT_COLUMNS, Bounds, with_room
from optimizer.core.pricing.bid_policy import BidPolicy
from optimizer.core.pricing.bids import AGGRESSIVE_QUANTILE, THIN_EVIDENCE

WinRate = Callable[[Any, Any, Any], Any]
"""P(win) at (level, slope, bid CPM), numbers or arrays of them."""

UNEXPLAINED = "unexplained"
"""Name of a step that the numbers of the run do not account for; there should be none."""

SETTLED = "bounds"
"""Name of a step back between bounds that leave no room for jitter between them."""

ROUND_PRICE = "round_price"
"""Name of a step to a cent above a round price."""

JITTER_MEAN = "jitter_mean"
"""Name of a step to the mean of a held bid's jitter, where a bound cuts one side of it off."""

BID_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class RunPricing:
    """What all segments of a run share when they are priced.

    reference_cpm: the bid at which levels are measured, CPM.
    shadow_price_cpm: lambda, what one more win is worth beyond its value, CPM.
    value_trust: theta, 0 to 1, how far the value estimate is believed.
    step_limit: largest relative change of a served bid a day.
    jitter_sd: standard deviation of the random factor on each bid.
    level_correction: what the last days' wins add to all levels, logit units.
    """

    settings: RunSettings
    reference_cpm: float
    shadow_price_cpm: float
    value_trust: float
    step_limit: float
    jitter_sd: float
    level_correction: float = 0.0

    @property
    def policy(self) -> BidPolicy:
        """What bounds the bids."""
        return BidPolicy.of(
            self.settings, jitter_sd=self.jitter_sd, step_limit=self.step_limit, value_trust=self.value_trust
        )


@dataclass(frozen=True, slots=True)
class BidStep:
    """The bid after one step from what is wanted to what is suggested; an absent bound is None.

    low_cpm, high_cpm: of planned bids: the bound of served ones less room for jitter.
    win_rate: expected at this bid, None without a bid.
    """

    name: str
    low_cpm: float | None
    high_cpm: float | None
    bid_cpm: float | None
    win_rate: float | None
    has_moved: bool


def bid_steps(row: Mapping[str, Any] | pd.Series, pricing: RunPricing, win_rate: WinRate) -> Iterator[BidStep]:
    """The ladder from the wanted to the suggested bid; it always ends at the published bids."""

    def step(name: str, bid: float | None, *, low: float | None = None, high: float | None = None) -> BidStep:
        expected = None if bid is None else float(win_rate(float(row["level"]), float(row["slope"]), bid))
        return BidStep(name, low, high, bid, expected, has_moved=bid != before)

    wanted = float(row["wanted_bid_cpm"])
    before: float | None = wanted
    yield step("wanted", wanted)
    lifted = wanted * _exploration_factor(row, wanted, pricing.settings, win_rate)
    if lifted != before:
        yield step("exploration", lifted)
    before = lifted
    bounds = Bounds.of(pd.DataFrame({name: [row[name]] for name in SEGMENT_COLUMNS if name in row}), pricing.policy)
    for name, (lows, highs) in planned_limits(bounds, size=1).items():
        low, high = float(lows[0]), float(highs[0])
        bid = min(max(before, low), high)
        yield step(name, bid, low=_edge(low, 0.0), high=_edge(high, math.inf))
        before = bid
    planned, suggested = known(row["planned_bid_cpm"]), known(row["suggested_bid_cpm"])
    if planned is None or suggested is None:
        yield step(row["reason"], None)
        return
    for name, bid in _after_bounds(before, row, bounds, pricing).items():
        if not math.isclose(bid, before, rel_tol=BID_TOLERANCE):
            yield step(name, bid)
            before = bid
    if not math.isclose(planned, before, rel_tol=BID_TOLERANCE):
        yield step(UNEXPLAINED, planned)
    before = planned
    yield step("jitter", suggested)


def planned_limits(bounds: Bounds, *, size: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the lowest and highest planned bid that each bound allows, shape (size,), in the order of the bounds.

    A bound that is absent allows 0, or inf.
    """
    limits = {}
    for name, edges in bounds.named.items():
        low, high = with_room(name, *edges)
        limits[name] = (np.broadcast_to(low, size), np.broadcast_to(high, size))
    return limits


def _after_bounds(
    bid: float, row: Mapping[str, Any] | pd.Series, bounds: Bounds, pricing: RunPricing
) -> dict[str, float]:
    """The bid after each step between the last bound and the planned bid."""
    settled = bounds.settle(np.array([bid]))
    reach = bounds.jitter_reach(settled, pricing.jitter_sd, is_held=np.array([bool(row["is_held"])]))
    if (round_price := known(row["round_price_cpm"])) is not None:
        return {SETTLED: float(settled[0]), ROUND_PRICE: round_price}
    return {SETTLED: float(settled[0]), JITTER_MEAN: float((settled * reach.mean)[0])}


def _edge(value: float, absent: float) -> float | None:
    return None if value == absent else float(value)


def _exploration_factor(
    row: Mapping[str, Any] | pd.Series, wanted: float, settings: RunSettings, win_rate: WinRate
) -> float:
    """By how much aggressive exploration lifts a thin segment's bid."""
    is_thin = settings.aggressive_exploration and row["own_share"] < THIN_EVIDENCE and not row["is_held"]
    if not is_thin or win_rate(float(row["level"]), float(row["slope"]), wanted) >= settings.target_win_rate:
        return 1.0
    return math.exp(ndtri(AGGRESSIVE_QUANTILE) * row["level_error"] / row["slope"])


def known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(value)
