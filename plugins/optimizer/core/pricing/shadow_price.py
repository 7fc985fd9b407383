"""Lambda, the shadow price: what one more win is worth beyond its value where a target is met at the lowest price."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy.optimize import brentq

from optimizer.core.landscape.curves import Link, Solver

SAMPLE = 8_192
"""Above eight times as many segments the search is led by that many of them."""

MAX_CORRECTIONS = 6
"""A sample that has not led to lambda after that many corrections is left alone; two or three are usual."""

TOLERANCE = 1e-6
"""Of lambda, in CPM and relative."""

BLOCK = 32_768
"""This many segments are evaluated at a time: few enough to stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class WinCurve:
    """Expected wins as a function of lambda. Arrays have shape (n_segments,).

    All that does not depend on lambda is computed before: bids are logs relative to the solver's scale of the segment.

    requests: 0 where nothing may be bid.
    worth_cpm: what a win is worth without lambda.
    low, high: least and largest log bid; one and the same where the bid is held.
    """

    requests: np.ndarray
    worth_cpm: np.ndarray
    slope: np.ndarray
    low: np.ndarray
    high: np.ndarray
    solver: Solver
    link: Link
    is_second_price: bool

    @property
    def reachable(self) -> float:
        """Wins where every bid is as high as it may be."""
        return self._wins(self.high)

    def __call__(self, shadow_price_cpm: float) -> float:
        """Return the wins at this lambda; they never fall as it rises."""
        worth_cpm = self.worth_cpm + shadow_price_cpm
        log_bid = self.solver.log_value(worth_cpm) if self.is_second_price else self.solver.log_bid(worth_cpm)
        return self._wins(np.clip(log_bid, self.low, self.high))

    def take(self, rows: np.ndarray | slice) -> "WinCurve":
        """Return the curve of these segments alone."""
        own = {name: getattr(self, name)[rows] for name in ("requests", "worth_cpm", "slope", "low", "high")}
        return replace(self, solver=self.solver.take(rows), **own)

    def sample(self, size: int) -> "WinCurve":
        """Return a curve near this one: that many segments at even steps along the requests, all of equal weight."""
        mass = np.cumsum(self.requests)
        rows = np.searchsorted(mass, (np.arange(size) + 0.5) / size * mass[-1])
        return replace(self.take(rows), requests=np.full(size, mass[-1] / size))

    def _wins(self, log_bid: np.ndarray) -> float:
        return float((self.requests * self.link(self.slope * log_bid)).sum())


def find_shadow_price(curve: WinCurve, *, target_wins: float, start_cpm: float) -> float:
    """Return the smallest lambda, CPM, that reaches the target or, where none does, one that reaches all that can be.

    Args:
        start_cpm: a price of the right order, positive.
    """
    size, goal = len(curve.requests), min(target_wins, curve.reachable * (1 - 1e-6))
    blocks = [curve.take(slice(first, first + BLOCK)) for first in range(0, size, BLOCK)]
    wins = cache(lambda price: sum(block(price) for block in blocks))
    if size > 8 * SAMPLE:
        lead = _follow_sample if goal == target_wins else _double_with_sample
        price = lead(curve.sample(SAMPLE), wins, goal=goal, start_cpm=start_cpm)
        if price is not None:
            return price
    if wins(0.0) >= goal * (1 - 1e-9):
        return 0.0
    low, high = 0.0, start_cpm
    while wins(high) < goal:
        low, high = high, 2 * high
    if goal < target_wins:
        return high
    return float(brentq(lambda price: wins(price) - goal, low, high, xtol=TOLERANCE, rtol=TOLERANCE))


def _follow_sample(sample: WinCurve, wins: Callable[[float], float], *, goal: float, start_cpm: float) -> float | None:
    """Lambda by a sample whose goal is moved by what it missed of all wins, until that moves lambda no more."""
    price, missed = np.inf, 0.0
    for _ in range(MAX_CORRECTIONS):
        before, price = price, find_shadow_price(sample, target_wins=goal + missed, start_cpm=start_cpm)
        if abs(price - before) <= TOLERANCE * (1 + price):
            return price
        missed = sample(price) - wins(price)
    return None


def _double_with_sample(
    sample: WinCurve, wins: Callable[[float], float], *, goal: float, start_cpm: float
) -> float | None:
    """The price at which doubling first reaches what can be reached, if it is the sample's too."""
    price = find_shadow_price(sample, target_wins=np.inf, start_cpm=start_cpm)
    return price if price > start_cpm and wins(price / 2) < goal <= wins(price) else None
