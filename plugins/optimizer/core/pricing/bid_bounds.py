"""The bounds of each bid: what raises or lowers it, the room that jitter needs, and whole cents."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from optimizer.core.pricing.bid_jitter import JITTER_TRUNCATION_SD, JitterReach
from optimizer.core.pricing.bid_policy import BidPolicy

BOUNDS = ("trust_band", "hidden_floor", "step", "floor", "margin", "cap")
"""What may move a bid from what is best, in the order in which it is applied: later ones win."""

SEGMENT_COLUMNS = (
    *("step_from_cpm", "hidden_floor_cpm", "value_cpm", "is_held"),
    *("trust_low_cpm", "trust_high_cpm", "floor_cpm"),
)
"""What the bounds of a segment's bid are made of."""

MIN_VALUE_TRUST = 0.8
"""From this trust in the value on, it bounds bids (target_margin)."""

JITTER_ROOM = {"trust_band": 1.0, "hidden_floor": 1.02, "step": 1.04, "floor": 1.02, "margin": 1.02, "cap": 1.02}
"""Planned bids stay this factor within each bound, so that served bids keep it with jitter (of at least 2 sd of .02 or
.01) and in cents. The trust band is one of planned bids.
"""

CENT = 0.01


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
