"""How much more is won for a higher bid: from bids that were varied at random, not from those that followed the rivals.

Across segments, and by multipliers, earlier bids were high where rivals bid high, so the slope over all rows is far too
flat. Within one segment the base bid moves from day to day by its jitter: that movement identifies the slope.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from optimizer.core.logit import fit_logit
from optimizer.errors import DataError

IDENTIFIED_ERROR_SHARE = 0.25
"""A slope is identified where its standard error is at most this share of it and its lower bound is above 0."""

MIN_JITTER_SD = 0.02
"""Below this spread of log base bids within segments nothing was varied."""


@dataclass(frozen=True, slots=True)
class PriceMoves:
    """The price of each cell as a segment's usual price and its move from there; logs of CPM.

    usual: shape (n_cells,), the segment's mean price.
    move: shape (n_cells,), price - usual.
    multiplier: shape (n_cells,), log of the final over the base bid.
    is_randomised: whether the moves are those of base bids, and not of whatever was bid.
    """

    usual: np.ndarray
    move: np.ndarray
    multiplier: np.ndarray
    is_randomised: bool


@dataclass(frozen=True, slots=True)
class Slope:
    """Logit units per unit of log bid, with its standard error."""

    value: float
    error: float
    is_identified: bool


def price_moves(cells: pd.DataFrame, group: np.ndarray, *, is_randomised: bool) -> PriceMoves:
    """Return the moves of base bids within groups, or those of final bids where `is_randomised` is off.

    Args:
        cells: where `is_randomised`, all with a base bid.
        group: shape (n_cells,), the segment of each cell.
    """
    price = cells["log_base" if is_randomised else "log_bid"].to_numpy(float)
    bids = cells["bids"].to_numpy(float)
    mass = np.bincount(group, bids)
    mean = np.divide(np.bincount(group, bids * price), mass, out=np.zeros(len(mass)), where=mass > 0)
    multiplier = cells["log_bid"].to_numpy(float) - price
    return PriceMoves(mean[group], price - mean[group], multiplier, is_randomised)


def randomised_rows(cells: pd.DataFrame, *, days: int = 21) -> pd.DataFrame:
    """Return the cells of the latest days whose base bid is known."""
    recent = cells["day"] > cells["day"].max() - pd.Timedelta(days=days)
    return cells[recent & cells["log_base"].notna()]


def find_slope(cells: pd.DataFrame, group: np.ndarray) -> Slope | None:
    """Return the slope within groups over the cells, all with a base bid, or None where nothing was varied.

    Days have levels of their own, so a market that moves from day to day is not taken for an effect of the bid.
    """
    if len(cells) == 0:
        return None
    moves = price_moves(cells, group, is_randomised=True)
    bids = cells["bids"].to_numpy(float)
    if np.sqrt(np.average(moves.move**2, weights=bids)) < MIN_JITTER_SD:
        return None
    design = np.column_stack([moves.move, moves.multiplier, moves.usual - moves.usual.mean(), day_levels(cells)])
    try:
        fit = fit_logit(design, wins=cells["wins"].to_numpy(float), trials=bids)
    except DataError:
        return None
    return judge_slope(float(fit.coefficients[0]), float(fit.standard_errors[0]))


def judge_slope(value: float, error: float) -> Slope:
    """Return the slope with the verdict of the identifiability gate."""
    is_identified = value - 1.96 * error > 0 and error <= IDENTIFIED_ERROR_SHARE * value
    return Slope(value, error, is_identified)


def day_levels(cells: pd.DataFrame) -> np.ndarray:
    """Return one column of zeros and ones a day, shape (n_cells, n_days): they take the place of an intercept."""
    codes, days = pd.factorize(cells["day"], sort=True)
    return np.eye(len(days))[codes]
