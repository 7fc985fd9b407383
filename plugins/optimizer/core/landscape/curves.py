"""The bid landscape: the chance to win as a function of the bid, and its inverses.

P(win | base bid b) = G(level + slope log(b / reference)), a level and a slope for each segment, and one link for all,
G(z) = u + (c - u) sum of share_k sigmoid(z + shift_k). Any bid wins the share u of auctions without a rival, and no bid
more than the ceiling c. The shifts are what multipliers make of a base bid on single requests; without them, and with
u = 0 and c = 1, G is the logistic function.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
from scipy.special import expit

from optimizer.core.landscape.logit import FULL_RANGE, Tails
from optimizer.core.landscape.price_steps import PriceSteps

_LOGITS = np.linspace(-30.0, 30.0, 6001)
_TABLE_POINTS = 4 * len(_LOGITS)
_SLOPE_STEP = 0.01
"""Resolution of slopes when bids are solved for: far finer than their errors."""

STEEPEST = 2.0
"""A bid falls at most that many times as fast as the value, in logs: what is known of a level never turns 12 into 2."""

_DESCENT = 6.0
"""So far, in logs, a bid is followed down from the last that pays against rivals: a four-hundredth of it."""


@dataclass(frozen=True)
class Link:
    """A mixture of logistic functions: shifts in logit units, shape (n,), and their shares, which sum to one."""

    shifts: np.ndarray = field(default_factory=lambda: np.zeros(1))
    shares: np.ndarray = field(default_factory=lambda: np.ones(1))
    tails: Tails = FULL_RANGE

    def __call__(self, logit: np.ndarray) -> np.ndarray:
        """Return the win rate at each logit."""
        shares = zip(self.shares, self.shifts, strict=True)
        return self.tails(sum(share * expit(logit + shift) for share, shift in shares))

    @cached_property
    def table(self) -> tuple[np.ndarray, np.ndarray]:
        """Win rate and its derivative on the grid of logits."""
        each = expit(_LOGITS + self.shifts[:, None])
        contested, rise = self.shares @ each, self.shares @ (each * (1 - each))
        return self.tails(contested), self.tails.width * rise

    def responses(self, steps: np.ndarray) -> "_ResponseTables":
        """Return tables that have these slopes, in `_SLOPE_STEP`; each is made once a link."""
        found = self._responses[0].extended(self, steps)
        self._responses[0] = found
        return found

    @cached_property
    def _responses(self) -> "list[_ResponseTables]":
        return [_ResponseTables(np.empty(0, int), np.empty(0), np.empty(0), np.empty(0))]


@dataclass(frozen=True)
class Landscape:
    """Win-rate curves. Bids are base bids, CPM; slopes are in logit units per unit of log bid and positive.

    `level` and `slope` are arrays of the shape (n_segments,); bids have the same shape or broadcast with it. Win rates
    have the steps of round prices, where there are any; inverses and best responses are those of the smooth curve.
    """

    reference_cpm: float
    link: Link = field(default_factory=Link)
    steps: PriceSteps | None = None

    def __post_init__(self) -> None:
        if not self.reference_cpm > 0:
            raise ValueError(f"reference {self.reference_cpm} CPM must be positive")

    def win_rate(self, level: np.ndarray, slope: np.ndarray, bid_cpm: np.ndarray) -> np.ndarray:
        """Return P(win) at the bids; 0 at a bid of 0."""
        smooth = self._smooth(level, slope, bid_cpm)
        if self.steps is None:
            return smooth
        return smooth + self.steps.share * (self._smooth(level, slope, self.steps.edge(bid_cpm)) - smooth)

    def _smooth(self, level: np.ndarray, slope: np.ndarray, bid_cpm: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return self.link(level + slope * np.log(bid_cpm / self.reference_cpm))

    def bid_for_win_rate(self, level: np.ndarray, slope: np.ndarray, target_win_rate: float) -> np.ndarray:
        """Return the bid that wins with the target probability."""
        wanted = np.interp(target_win_rate, self.link.table[0], _LOGITS)
        return self.reference_cpm * np.exp((wanted - level) / slope)

    def best_response(self, level: np.ndarray, slope: np.ndarray, value_cpm: np.ndarray) -> np.ndarray:
        """Return the bid with the largest (value - bid) P(win | bid); 0 where no bid near it pays against rivals.

        With z the logit of the bid and scale the bid at z = 0, the first-order condition is value / scale = h(z),
        h(z) = exp(z / slope) (1 + G(z) / (slope G'(z))): an increasing function for each slope, inverted by a table.
        With auctions without rivals h falls first; the bid is the solution on its rising branch. That ends where h is
        least, ever more steeply, and the bid would fall to nothing there: where it is steeper than `STEEPEST` it
        is the least curve above it that is not.
        Source: docs/optimizer.md, "From landscape to bid".
        """
        return self.solver(level, slope)(value_cpm)

    def solver(self, level: np.ndarray, slope: np.ndarray) -> "Solver":
        """Return `best_response` of these segments as a function of the value alone, for many calls."""
        level, slope = np.broadcast_arrays(np.asarray(level, float), np.asarray(slope, float))
        if not (slope > 0).all():
            raise ValueError(f"slopes must be positive; the least is {slope.min()}")
        table_of, steps = pd.factorize(np.maximum(np.round(slope / _SLOPE_STEP), 1))
        tables = self.link.responses(steps.astype(int))
        table_of = tables.places(steps.astype(int))[table_of]
        log_scale = np.log(self.reference_cpm) - level / slope
        return Solver(
            log_scale=log_scale,
            log_start=log_scale + tables.starts[table_of],
            points_per_log=(1 / tables.widths)[table_of],
            first_point=table_of * _TABLE_POINTS,
            log_bids=tables.log_bids,
        )

    def mean_price(self, level: np.ndarray, slope: np.ndarray, bid_cpm: np.ndarray) -> np.ndarray:
        """Return what a win costs on average where the winner pays the best rival's bid: E[rival | rival <= bid].

        It is b - (integral of F from 0 to b) / F(b).
        """
        share = (np.arange(200) + 0.5) / 200
        below = sum(self.win_rate(level, slope, bid_cpm * part) for part in share) / 200
        won = self.win_rate(level, slope, bid_cpm)
        return bid_cpm * (1 - np.divide(below, won, out=np.ones_like(won), where=won > 0))


@dataclass(frozen=True, slots=True)
class Solver:
    """Best responses of many segments, each by the table of its slope.

    log_scale: log of the bid at which the segment's logit is 0, CPM.
    log_start: log of the value below which nothing is bid, CPM.
    points_per_log, first_point: the table's grid and where it begins in `log_bids`, which holds all tables in a row.
    """

    log_scale: np.ndarray
    log_start: np.ndarray
    points_per_log: np.ndarray
    first_point: np.ndarray
    log_bids: np.ndarray

    def __call__(self, value_cpm: np.ndarray) -> np.ndarray:
        """Return the bids of `best_response`, CPM; 0 where a win is worth next to nothing."""
        return np.exp(self.log_scale + self.log_bid(value_cpm))

    def log_bid(self, value_cpm: np.ndarray) -> np.ndarray:
        """Return log(bid / scale); -inf where a win is worth next to nothing."""
        with np.errstate(divide="ignore"):
            log_value = np.log(np.maximum(value_cpm, 0.0))
        position = (log_value - self.log_start) * self.points_per_log
        index = np.clip(position, 0, _TABLE_POINTS - 2).astype(np.intp)
        share = np.minimum(position - index, 1.0)
        index += self.first_point
        low = self.log_bids[index]
        index += 1
        log_bid = low + share * (self.log_bids[index] - low)
        log_bid[position < 0] = -np.inf
        return log_bid

    def log_value(self, value_cpm: np.ndarray) -> np.ndarray:
        """Return log(value / scale): the best response where the winner pays the best rival's bid."""
        with np.errstate(divide="ignore"):
            return np.log(value_cpm) - self.log_scale

    def take(self, rows: np.ndarray | slice) -> "Solver":
        """Return the solver of these segments alone."""
        own = ("log_scale", "log_start", "points_per_log", "first_point")
        return replace(self, **{name: getattr(self, name)[rows] for name in own})


@dataclass(frozen=True)
class _ResponseTable:
    """log(best bid / scale) on an even grid of log(value / scale), for one slope; see `Landscape.best_response`."""

    start: float
    step: float
    log_bids: np.ndarray

    @classmethod
    def of(cls, link: Link, slope: float) -> "_ResponseTable":
        won, rise = link.table
        log_h = _LOGITS / slope + np.log1p(won / (slope * rise))
        log_h = np.minimum.accumulate(log_h[::-1])[::-1]
        rising = slice(np.searchsorted(log_h, log_h[0], side="right") - 1, None)
        log_values = np.linspace(log_h[0] - _DESCENT / STEEPEST, log_h[-1], _TABLE_POINTS)
        log_bids = np.interp(log_values, log_h[rising], _LOGITS[rising], left=-np.inf) / slope
        steep = STEEPEST * log_values
        log_bids = steep + np.maximum.accumulate((log_bids - steep)[::-1])[::-1]
        return cls(float(log_values[0]), float(log_values[1] - log_values[0]), log_bids)


@dataclass(frozen=True, slots=True)
class _ResponseTables:
    """The tables of several slopes, in `_SLOPE_STEP` and rising: start and step of each grid, all values in a row."""

    slopes: np.ndarray
    starts: np.ndarray
    widths: np.ndarray
    log_bids: np.ndarray

    def places(self, steps: np.ndarray) -> np.ndarray:
        """Return where the table of each slope is."""
        return np.searchsorted(self.slopes, steps)

    def extended(self, link: Link, steps: np.ndarray) -> "_ResponseTables":
        """Return these tables and those of the slopes that they lack."""
        new = np.setdiff1d(steps, self.slopes)
        if not len(new):
            return self
        tables = [_ResponseTable.of(link, step * _SLOPE_STEP) for step in new]
        slopes = np.concatenate([self.slopes, new])
        order = np.argsort(slopes)
        values = np.concatenate([self.log_bids, *(table.log_bids for table in tables)])
        return _ResponseTables(
            slopes[order],
            np.concatenate([self.starts, [table.start for table in tables]])[order],
            np.concatenate([self.widths, [table.step for table in tables]])[order],
            values.reshape(len(slopes), _TABLE_POINTS)[order].ravel(),
        )
