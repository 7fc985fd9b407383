"""From win-rate curves to bids: what each segment should be bid, and what bound it."""

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from optimizer.core.config.settings import RunSettings
from optimizer.core.landscape.curves import Landscape, Solver
from optimizer.core.landscape.price_steps import PriceSteps
from optimizer.core.pricing.shadow_price import WinCurve, find_shadow_price

NO_BID = "no_bid_floor"
"""Reason of a segment without a bid: nothing is left between its floor and what margin and cap allow."""

BOUNDS = ("trust_band", "hidden_floor", "step", "floor", "margin", "cap")
"""What may move a bid from what is best, in the order in which it is applied: later ones win."""

REASONS = (*BOUNDS, "target", "value", "shrinkage", "exploration", "held", NO_BID, "round_price")
"""What may have decided a bid; the bounds come first."""

ROUND_PRICE_CODE = REASONS.index("round_price")

SNAPPED_JITTER_SHARE, SNAPPED_JITTER_SD = 0.2, 0.06
"""This share of the keys a cent above a round price, drawn again by each run, has jitter of at least this spread;
with jitter the others would lose the step that they were moved for.
"""

MIN_VALUE_TRUST = 0.8
"""From this trust in the value on, it bounds bids (target_margin)."""

AGGRESSIVE_QUANTILE = 0.8
"""Aggressive exploration bids this quantile of what a thin segment's best bid may be."""

THIN_EVIDENCE = 0.5
"""A segment is thin where less than this share of its level is its own evidence."""

JITTER_TRUNCATION_SD = 2.0

LEAST_JITTER_SD = 0.02
"""Bids always vary by at least this, so that a later run can learn from them."""

JITTER_ROOM = {"trust_band": 1.0, "hidden_floor": 1.02, "step": 1.04, "floor": 1.02, "margin": 1.02, "cap": 1.02}
"""Planned bids stay this factor within each bound, so that served bids keep it with jitter (of at least 2 sd of .02 or
.01) and in cents. The trust band is one of planned bids.
"""

HASHED_TOGETHER = 8_192
"""This many keys become Python texts at a time: few enough to stay in the processor's cache, twice as fast."""

CENT = 0.01


@dataclass(frozen=True, slots=True)
class BidPolicy:
    """What bounds the bids. Money is CPM.

    is_second_price: the winner pays the best rival's bid, so the best bid is what a win is worth.
    jitter_sd: standard deviation of the random factor on each bid, truncated at two; less where a bound is near.
    step_limit: largest relative change of a served bid a day, against what was served before (`step_from_cpm`).
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

    @classmethod
    def of(cls, settings: RunSettings, *, jitter_sd: float, step_limit: float, value_trust: float) -> "BidPolicy":
        """Return what bounds the bids of a run with these settings."""
        return cls(
            target_win_rate=settings.target_win_rate,
            win_rate_scope=settings.win_rate_scope,
            target_margin=settings.target_margin,
            max_bid_cpm=settings.max_bid_cpm,
            floor_available=settings.floor_available,
            jitter_sd=jitter_sd,
            step_limit=step_limit,
            value_trust=value_trust,
            is_second_price=settings.auction_type == "second_price",
            is_aggressive=settings.aggressive_exploration,
        )


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
    market = _Market.of(segments, landscape, policy)
    bounds = Bounds.of(segments, policy)
    shadow_price = _shadow_price(market, bounds)
    wanted = market.wanted(shadow_price)
    lifted = _explore(wanted, segments, market, policy)
    planned, bound = bounds.clamp(lifted)
    smooth = planned
    if (steps := landscape.steps) is not None and policy.win_rate_scope == "portfolio":
        shadow_price = _stepped_shadow_price(market, bounds, steps, shadow_price)
        wanted = market.wanted(shadow_price)
        lifted = _explore(wanted, segments, market, policy)
        smooth, bound = bounds.clamp(lifted)
        planned = market.above_round_price(smooth, shadow_price, bounds, steps)
    is_snapped = planned != smooth
    spread = np.where(is_snapped, max(policy.jitter_sd, SNAPPED_JITTER_SD), policy.jitter_sd)
    reach = bounds.jitter_reach(planned, spread, is_held=market.is_held)
    factor = jitter_factors(segments["segment_key"], seed=seed, reach=reach)
    factor = np.where(is_snapped & ~_is_drawn(segments["segment_key"], seed, SNAPPED_JITTER_SHARE), 1.0, factor)
    suggested, planned = bounds.to_cents(planned * factor), planned * reach.mean
    jitter = factor / reach.mean
    can_bid = bounds.is_biddable
    cost = market.cost(suggested)
    value = segments["value_cpm"].to_numpy(float)
    is_priced = shadow_price > 0 or policy.win_rate_scope == "segment"
    table = pd.DataFrame(
        {
            "wanted_bid_cpm": wanted,
            "planned_bid_cpm": np.where(can_bid, planned, np.nan),
            "jitter": jitter,
            "suggested_bid_cpm": np.where(can_bid, suggested, np.nan),
            "expected_win_rate": np.where(can_bid, market.win_rate(suggested), 0.0),
            "expected_cost_cpm": np.where(can_bid, cost, np.nan),
            "expected_margin": np.where(can_bid, 1 - cost / np.where(value > 0, value, np.nan), np.nan),
            "round_price_cpm": np.where(is_snapped & can_bid, planned, np.nan),
            "reason": _reasons(
                np.where(is_snapped, ROUND_PRICE_CODE, bound),
                segments,
                can_bid=can_bid,
                is_lifted=lifted > wanted,
                is_priced=is_priced,
            ),
        },
        index=segments.index,
        copy=False,
    )
    won = market.requests * np.where(can_bid, market.win_rate(suggested), 0.0)
    return BidPlan(
        table=table,
        shadow_price_cpm=shadow_price,
        expected_win_rate=float(won.sum() / market.requests.sum()),
        expected_cpm=float((won * cost).sum() / won.sum()) if won.sum() > 0 else 0.0,
    )


@dataclass(frozen=True, slots=True)
class JitterReach:
    """How far each bid's random factor goes: normal around 1 with this sd, cut off at low and high, in units of sd.

    Each is one for all keys, or one a key, shape (n,).
    """

    sd: np.ndarray | float
    low: np.ndarray | float = -JITTER_TRUNCATION_SD
    high: np.ndarray | float = JITTER_TRUNCATION_SD

    @property
    def mean(self) -> np.ndarray:
        """Mean of the factor: 1 if it is cut off symmetrically."""
        mass = np.maximum(ndtr(self.high) - ndtr(self.low), 1e-12)
        density = [np.exp(-(np.asarray(edge) ** 2) / 2) / np.sqrt(2 * np.pi) for edge in (self.low, self.high)]
        return 1 + self.sd * (density[0] - density[1]) / mass


def jitter_factors(keys: pd.Series, *, seed: str, reach: JitterReach) -> np.ndarray:
    """Return a random factor for each key, repeatable by seed."""
    spread, low, high = (
        np.broadcast_to(np.asarray(edge, float), len(keys)) for edge in (reach.sd, ndtr(reach.low), ndtr(reach.high))
    )
    hash_key = blake2b(seed.encode(), digest_size=8).hexdigest()
    factors = np.empty(len(keys))
    for first in range(0, len(keys), HASHED_TOGETHER):
        part = slice(first, first + HASHED_TOGETHER)
        drawn = pd.util.hash_array(keys.iloc[part].to_numpy(object), hash_key=hash_key, categorize=False)
        uniform = (drawn.astype(float) + 0.5) / 2.0**64
        factors[part] = 1.0 + spread[part] * ndtri(low[part] + uniform * (high[part] - low[part]))
    return factors


@dataclass(frozen=True, slots=True)
class _Market:
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
    def of(cls, segments: pd.DataFrame, landscape: Landscape, policy: BidPolicy) -> "_Market":
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


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds by name, each with its lowest and highest bid (one, or one a segment), and what they make together.

    named: of served bids. low, high: of planned bids, which leave room for jitter; served_low, served_high: of the
        bids that the bidder finds, shape (n_segments,).
    """

    named: dict[str, tuple[np.ndarray | float, np.ndarray | float]]
    low: np.ndarray
    high: np.ndarray
    served_low: np.ndarray
    served_high: np.ndarray
    is_biddable: np.ndarray

    @classmethod
    def of(cls, segments: pd.DataFrame, policy: BidPolicy) -> "Bounds":
        before = segments["step_from_cpm"].to_numpy(float)
        hidden = segments["hidden_floor_cpm"].to_numpy(float)
        value = segments["value_cpm"].to_numpy(float)
        margin = np.fmin((1 - policy.target_margin) * value, np.inf)
        is_held = segments["is_held"].to_numpy(bool)
        named: dict[str, tuple[np.ndarray | float, np.ndarray | float]] = {
            "trust_band": (
                np.where(is_held, 0.0, segments["trust_low_cpm"]),
                np.where(is_held, np.inf, segments["trust_high_cpm"]),
            ),
            "hidden_floor": (np.where(hidden > 0, hidden + CENT, 0.0), np.inf),
            "step": step_bounds(before, policy.step_limit),
            "floor": (
                np.fmax(segments["floor_cpm"].to_numpy(float), 0.0) if policy.floor_available else 0.0,
                np.inf,
            ),
            "margin": (0.0, margin if policy.value_trust >= MIN_VALUE_TRUST else np.inf),
            "cap": (0.0, policy.max_bid_cpm),
        }
        served = cls._together(named, len(segments))
        planned = cls._together({name: with_room(name, *edges) for name, edges in named.items()}, len(segments))
        ceiling = np.minimum(named["margin"][1], policy.max_bid_cpm)
        is_biddable = np.broadcast_to((named["floor"][0] <= ceiling) & (ceiling >= CENT), len(segments))
        low, high = (np.clip(edge, *served) for edge in planned)
        return cls(named, low, high, *served, is_biddable)

    @staticmethod
    def _together(
        named: dict[str, tuple[np.ndarray | float, np.ndarray | float]], size: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest bid within all bounds, the later ones harder."""
        low, high = np.full(size, CENT), np.full(size, np.inf)
        for lowest, highest in (named[name] for name in BOUNDS):
            for edge in (low, high):
                np.clip(edge, lowest, highest, out=edge)
        return np.maximum(low, CENT), np.maximum(high, CENT)

    def apply(self, bid: np.ndarray) -> np.ndarray:
        """Return the bids within all bounds."""
        return np.clip(bid, self.low, self.high)

    def clamp(self, bid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the bids within all bounds, and the place in `BOUNDS` of what moved each last, -1 where none did."""
        bound = np.full(len(bid), -1, dtype=np.int8)
        for number, name in enumerate(BOUNDS):
            moved = np.clip(bid, *with_room(name, *self.named[name]))
            bound[moved != bid] = number
            bid = moved
        return self.settle(bid), bound

    def settle(self, bid: np.ndarray) -> np.ndarray:
        """Return the bids within all bounds of served bids, where those with room for jitter contradict each other."""
        return np.clip(bid, self.served_low, self.served_high)

    def jitter_reach(self, planned: np.ndarray, sd: np.ndarray | float, *, is_held: np.ndarray) -> JitterReach:
        """Return how far jitter goes so that served bids stay within their bounds.

        Near a bound the spread shrinks symmetrically. Where the slope is not known, jitter is what matters: its
        spread stays, and the side of the bound is cut off.
        """
        above, below = self.served_high / planned - 1, 1 - self.served_low / planned
        spread = np.where(is_held, sd, np.clip(np.minimum(above, below) / JITTER_TRUNCATION_SD, 0.0, sd))
        unit = np.maximum(spread, 1e-9)
        low = np.maximum(-JITTER_TRUNCATION_SD, -np.maximum(below, 0.0) / unit)
        return JitterReach(spread, low, np.minimum(JITTER_TRUNCATION_SD, np.maximum(above, 0.0) / unit))

    def to_cents(self, bid: np.ndarray) -> np.ndarray:
        """Return the bids in whole cents that still keep the bounds: floors rounded up, ceilings down."""
        cents = np.maximum(np.round(bid / CENT), 1)
        for name in ("hidden_floor", "step", "floor", "margin", "cap"):
            low, high = self.named[name]
            lowest, highest = np.ceil(low / CENT - 1e-9), np.floor(high / CENT + 1e-9)
            highest = np.maximum(highest, 1)
            np.clip(cents, np.minimum(lowest, highest) if name == "step" else lowest, highest, out=cents)
        return cents / 100


def step_bounds(before_cpm: np.ndarray, limit: float) -> tuple[np.ndarray, np.ndarray]:
    """Return how far served bids may move in a day: by this share, or by a cent; any distance from NaN."""
    step = np.maximum(before_cpm * limit, CENT)
    return np.fmax(before_cpm - step, 0.0), np.fmin(before_cpm + step, np.inf)


def with_room(name: str, low: np.ndarray | float, high: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Return a bound of planned bids: the served one with room for jitter, at most half of its range."""
    low, high = np.broadcast_arrays(np.asarray(low, float), np.asarray(high, float))
    ratio = np.divide(high, low, out=np.full(low.shape, np.inf), where=low > 0)
    room = np.minimum(JITTER_ROOM[name], ratio**0.25)
    return low * room, high / room


def _shadow_price(market: _Market, bounds: Bounds) -> float:
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


def _stepped_shadow_price(market: _Market, bounds: Bounds, steps: PriceSteps, start_cpm: float) -> float:
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


def _is_drawn(keys: pd.Series, seed: str, share: float) -> np.ndarray:
    """Whether each key is among this share of all, by chance but repeatable."""
    hash_key = blake2b(f"{seed} drawn".encode(), digest_size=8).hexdigest()
    drawn = pd.util.hash_array(keys.to_numpy(object), hash_key=hash_key, categorize=False)
    return drawn < share * 2.0**64


def _explore(wanted: np.ndarray, segments: pd.DataFrame, market: _Market, policy: BidPolicy) -> np.ndarray:
    """The bids, higher on thin segments below the target where exploration is aggressive."""
    if not policy.is_aggressive:
        return wanted
    is_thin = (segments["own_share"] < THIN_EVIDENCE) & ~segments["is_held"]
    is_below = market.win_rate(wanted) < policy.target_win_rate
    log_error = (segments["level_error"] / segments["slope"]).to_numpy(float)
    return np.where(is_thin & is_below, wanted * np.exp(ndtri(AGGRESSIVE_QUANTILE) * log_error), wanted)


def _reasons(
    bound: np.ndarray, segments: pd.DataFrame, *, can_bid: np.ndarray, is_lifted: np.ndarray, is_priced: bool
) -> pd.api.extensions.ExtensionArray:
    """What decided each bid, by number first: a million texts take longer than all the bids."""
    number = {name: code for code, name in enumerate(REASONS)}
    free = np.full(len(segments), number["target" if is_priced else "value"], dtype=np.int8)
    free[segments["own_share"].to_numpy(float) < THIN_EVIDENCE] = number["shrinkage"]
    free[is_lifted] = number["exploration"]
    free[segments["is_held"].to_numpy(bool)] = number["held"]
    decided = np.where(bound < 0, free, bound)
    return pd.array(REASONS, dtype="str").take(np.where(can_bid, decided, number[NO_BID]))
