"""How much more is won for a higher bid: from bids that were varied at random, not from those that followed the rivals.

Across segments, and by multipliers, earlier bids were high where rivals bid high, so the slope over all rows is far too
flat. Jitter moves a base bid away from its planned price by chance alone: that movement identifies the slope.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from optimizer.core.logit import fit_logit, weigh_evidence
from optimizer.core.shrinkage import between_group_variance
from optimizer.errors import DataError

IDENTIFIED_ERROR_SHARE = 0.25
"""A slope is identified where its standard error is at most this share of it and its lower bound is above 0."""

MIN_JITTER_SD = 0.015
"""Below this spread of log base bids around their planned prices nothing was varied."""

RANDOMISED_DAYS = 21
"""So many of the latest days tell the slope: markets change."""


@dataclass(frozen=True, slots=True)
class PriceMoves:
    """The price of each cell, taken apart; logs of CPM, shape (n_cells,).

    usual: the segment's mean price.
    drift: planned price - usual: where earlier runs went, which may have followed the market.
    move: price - planned price: the jitter. Without planned prices drift is 0 and the move counts from the usual price.
    multiplier: log of the final over the base bid.
    is_randomised: whether the moves are those of base bids, and not of whatever was bid.
    """

    usual: np.ndarray
    drift: np.ndarray
    move: np.ndarray
    multiplier: np.ndarray
    is_randomised: bool


@dataclass(frozen=True, slots=True)
class Slope:
    """Logit units per unit of log bid, with its standard error."""

    value: float
    error: float
    is_identified: bool


def price_moves(
    cells: pd.DataFrame, group: np.ndarray, *, is_randomised: bool, usual: np.ndarray | None = None
) -> PriceMoves:
    """Return the moves of base bids around their planned prices, or of final bids where `is_randomised` is off.

    Args:
        cells: where `is_randomised`, a cell without a base bid counts with its final bid.
        group: shape (n_cells,), the segment of each cell, 0..n-1.
        usual: shape (n,), usual price of each segment; the mean over these cells by default.
    """
    final = cells["log_bid"].to_numpy(float)
    price = np.where(cells["log_base"].notna(), cells["log_base"], final) if is_randomised else final
    if usual is None:
        usual = mean_by_group(price, group, weights=cells["bids"].to_numpy(float), size=int(group.max()) + 1)
    planned = cells["log_planned"].to_numpy(float) if is_randomised else np.full(len(cells), np.nan)
    drift = np.nan_to_num(planned - usual[group], nan=0.0)
    return PriceMoves(usual[group], drift, price - usual[group] - drift, final - price, is_randomised)


def mean_by_group(values: np.ndarray, group: np.ndarray, *, weights: np.ndarray, size: int) -> np.ndarray:
    """Return the weighted mean of each group, shape (size,); 0 for a group without weight."""
    mass = np.bincount(group, weights, minlength=size)
    return np.divide(np.bincount(group, weights * values, minlength=size), mass, out=np.zeros(size), where=mass > 0)


def randomised_rows(cells: pd.DataFrame, *, days: int = RANDOMISED_DAYS) -> pd.DataFrame:
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
    design = np.column_stack(
        [moves.move, moves.drift, moves.multiplier, moves.usual - moves.usual.mean(), day_levels(cells)]
    )
    try:
        fit = fit_logit(design, wins=cells["wins"].to_numpy(float), trials=bids)
    except DataError:
        return None
    return judge_slope(float(fit.coefficients[0]), float(fit.standard_errors[0]))


def judge_slope(value: float, error: float) -> Slope:
    """Return the slope with the verdict of the identifiability gate."""
    return Slope(value, error, bool(is_identified(value, error)))


def is_identified(value: np.ndarray | float, error: np.ndarray | float) -> np.ndarray:
    """Return the verdict of the identifiability gate on each slope."""
    return (np.asarray(value) - 1.96 * np.asarray(error) > 0) & (
        np.asarray(error) <= IDENTIFIED_ERROR_SHARE * np.asarray(value)
    )


def pool_slopes(
    logit: np.ndarray,
    move: np.ndarray,
    *,
    wins: np.ndarray,
    bids: np.ndarray,
    group: np.ndarray,
    size: int,
    overall: Slope,
    unrivalled_share: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the slope of each group and its standard error, shape (size,), pulled towards the overall slope.

    A group's own estimate is one Newton step from the overall fit, with a level of its own; between groups slopes are
    normal with the variance of DerSimonian and Laird. The error contains that of the overall slope.

    Args:
        logit: shape (n_cells,), the fitted logit of each cell at the overall slope.
        move: shape (n_cells,), its log price move.
        group: shape (n_cells,), 0..size-1.
    """
    evidence = weigh_evidence(logit, wins=wins, trials=bids, unrivalled_share=unrivalled_share)
    weight = evidence.information
    centred = move - mean_by_group(move, group, weights=weight, size=size)[group]
    information = np.bincount(group, weight * centred**2, minlength=size)
    known = information > 0
    score = np.bincount(group, evidence.score * centred, minlength=size)
    step = np.divide(score, information, out=np.zeros(size), where=known)
    tau2 = between_group_variance(step[known], information[known])
    own_share = tau2 * information / (1 + tau2 * information)
    error = np.sqrt(tau2 * (1 - own_share) + ((1 - own_share) * overall.error) ** 2)
    return overall.value + own_share * step, error


def day_levels(cells: pd.DataFrame) -> np.ndarray:
    """Return one column of zeros and ones a day, shape (n_cells, n_days): they take the place of an intercept."""
    codes, days = pd.factorize(cells["day"], sort=True)
    return np.eye(len(days))[codes]
