"""How much more is won for a higher bid: from bids that were varied at random, not from those that followed the rivals.

Across segments, and by multipliers, earlier bids were high where rivals bid high, so the slope over all rows is far too
flat. Jitter moves a base bid away from its planned price by chance alone: that movement identifies the slope.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from optimizer.core.landscape.cells import recency_weights
from optimizer.core.landscape.design import Design
from optimizer.core.landscape.logit import FULL_RANGE, LogitEvidence, Tails, fit_logit, weigh_evidence
from optimizer.core.landscape.shrinkage import between_group_variance
from optimizer.errors import DataError

IDENTIFIED_ERROR_SHARE = 0.25
"""A slope is identified where its standard error is at most this share of it, its lower bound is above 0 and it is no
step (`STEEPEST_SLOPE`).
"""

POOLED_ERROR_SHARE = 0.5
"""The slope of one anchor value, pooled with the overall one that is identified, counts where its error is at most this
share of it: so far it may differ from the others without moving its bid the wrong way."""

STEEPEST_SLOPE = 10.0
"""A steeper curve (a tenth more lifts 27 % to half) is a step, such as a floor just below the bids: it says where the
step was, not what is won elsewhere. The slopes of real and simulated markets are 1 to 4.
"""

LEAST_INFORMATION = 0.1
"""Below this sum of weighted squared moves nothing is known of a slope: its error by the counts alone is above 3."""

MIN_JITTER_SD = 0.015
"""Below this spread of log base bids around their planned prices nothing was varied."""

RANDOMISED_DAYS = 21
"""Number of the latest days that the slope is estimated from: markets change."""

JITTER_HALF_LIFE_DAYS = 14.0
"""After that many days a jittered bid counts half for the slope: over three weeks that costs 2 % of its error."""


@dataclass(frozen=True, slots=True)
class PriceMoves:
    """The price of each cell, taken apart; logs of CPM, shape (n_cells,).

    usual: the segment's mean price.
    drift: planned price - usual: where earlier runs went, which may have followed the market.
    move: price - planned price: the jitter. Without planned prices drift is 0 and the move counts from the usual price.
    is_randomised: whether the moves are those of base bids, not simply of the logged bids.
    is_exact: which moves were drawn by this optimizer and so have a mean of zero whatever the segment and day.
    """

    usual: np.ndarray
    drift: np.ndarray
    move: np.ndarray
    is_randomised: bool
    is_exact: np.ndarray | bool = False


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
        usual: shape (n,), usual price of each segment; the mean planned price over these cells by default, or the mean
            price where no plan is known.
    """
    final = cells["log_bid"].to_numpy(float)
    price = np.where(cells["log_base"].notna(), cells["log_base"], final) if is_randomised else final
    planned = cells["log_planned"].to_numpy(float) if is_randomised else np.full(len(cells), np.nan)
    if usual is None:
        centre = np.where(np.isnan(planned), price, planned)
        usual = mean_by_group(centre, group, weights=cells["bids"].to_numpy(float), size=int(group.max()) + 1)
    drift = np.nan_to_num(planned - usual[group], nan=0.0)
    is_exact = cells["is_own_jitter"].to_numpy(bool) if is_randomised and "is_own_jitter" in cells else False
    return PriceMoves(usual[group], drift, price - usual[group] - drift, is_randomised, is_exact)


def mean_by_group(values: np.ndarray, group: np.ndarray, *, weights: np.ndarray, size: int) -> np.ndarray:
    """Return the weighted mean of each group, shape (size,); 0 for a group without weight."""
    mass = np.bincount(group, weights, minlength=size)
    return np.divide(np.bincount(group, weights * values, minlength=size), mass, out=np.zeros(size), where=mass > 0)


def recent_priced_rows(cells: pd.DataFrame, *, days: int = RANDOMISED_DAYS) -> pd.DataFrame:
    """Return the cells of the latest days whose base bid is known."""
    recent = cells["day"] > cells["day"].max() - pd.Timedelta(days=days)
    return cells[recent & cells["log_base"].notna()]


def randomised_rows(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the cells of the latest days that varied at random: those with a planned bid."""
    rows = recent_priced_rows(cells)
    return rows[rows["log_planned"].notna()]


@dataclass(frozen=True, slots=True)
class JitterFit:
    """How the jitter moved the win rate within segments.

    logit: shape (n_cells,), fitted; move: shape (n_cells,), what of the jitter no day, segment or score accounts for.
    """

    slope: Slope
    logit: np.ndarray
    move: np.ndarray


def fit_jitter(
    cells: pd.DataFrame, *, moves: PriceMoves, segment: np.ndarray, score: np.ndarray, tails: Tails = FULL_RANGE
) -> JitterFit:
    """Return the slope within segments.

    Days have levels of their own, so a market that moves from day to day is not taken for an effect of the bid. Jitter
    that was estimated is counted from its mean in the segment, so that a segment's own level is not either; jitter that
    this optimizer drew depends on neither. All bids of a segment and day share one jitter and one market: the standard
    error is clustered by them (Liang and Zeger, 1986). Recent bids count more (`slope_counts`).

    Args:
        segment: shape (n_cells,), 0..n-1.
        score: shape (n_cells,), what is known of the win rate other than the bid.
    Raises:
        DataError: the fit does not converge.
    """
    bids, wins = slope_counts(cells)
    size = int(segment.max()) + 1
    mean = mean_by_group(moves.move, segment, weights=bids, size=size)[segment]
    move = moves.move - np.where(moves.is_exact, np.average(moves.move, weights=bids), mean)
    drift = [moves.drift] if np.average(moves.drift**2, weights=bids) > 1e-8 else []
    design = day_levels(cells, np.column_stack([move, score, *drift]))
    fit = fit_logit(design, wins=wins, trials=bids, tails=tails)
    logit = design.predict(fit.coefficients)
    evidence = weigh_evidence(logit, wins=wins, trials=bids, tails=tails)
    error = clustered_error(design, 0, evidence, cluster=segment_days(cells, segment))
    own = _without(move, design.without(0), weights=evidence.information)
    return JitterFit(judge_slope(float(fit.coefficients[0]), error), logit, own)


def slope_counts(cells: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the bids and wins of each cell as they count for a slope, by their age."""
    weights = recency_weights(cells["day"], half_life_days=JITTER_HALF_LIFE_DAYS)
    return weights * cells["bids"].to_numpy(float), weights * cells["wins"].to_numpy(float)


def segment_days(cells: pd.DataFrame, segment: np.ndarray) -> np.ndarray:
    """Return a number for the segment and day of each cell, shape (n_cells,)."""
    days = cells["day"].factorize()[0]
    return np.unique(segment.astype(np.int64) * (int(days.max()) + 1) + days, return_inverse=True)[1]


def _without(move: np.ndarray, others: Design, *, weights: np.ndarray) -> np.ndarray:
    """The move less what the other columns predict of it (Frisch and Waugh): all that identifies the slope."""
    explained, *_ = np.linalg.lstsq(others.products(weights), others.sums(weights * move), rcond=None)
    return move - others.predict(explained)


def clustered_error(design: Design, column: int, evidence: LogitEvidence, *, cluster: np.ndarray) -> float:
    """Return the standard error of one column's coefficient; infinite if the rows barely identify it.

    Args:
        cluster: shape (n_rows,), 0..n-1: rows that share what is not modelled.
    """
    own = _without(design.columns[:, column], design.without(column), weights=evidence.information)
    information = (evidence.information * own**2).sum()
    scores = np.bincount(cluster, evidence.score * own)
    return float(np.sqrt((scores**2).sum()) / information) if information > LEAST_INFORMATION else np.inf


def find_slope(cells: pd.DataFrame, group: np.ndarray) -> Slope | None:
    """Return the slope within groups over the cells, all with a base bid, or None where nothing was varied."""
    if len(cells) == 0:
        return None
    moves = price_moves(cells, group, is_randomised=True)
    if not is_varied(moves, cells["bids"].to_numpy(float)):
        return None
    try:
        return fit_jitter(cells, moves=moves, segment=group, score=moves.usual - moves.usual.mean()).slope
    except DataError:
        return None


def is_varied(moves: PriceMoves, bids: np.ndarray) -> bool:
    """Return whether the moves are more than rounding."""
    return bool(np.sqrt(np.average(moves.move**2, weights=bids)) >= MIN_JITTER_SD)


def judge_slope(value: float, error: float) -> Slope:
    """Return the slope with the verdict of the identifiability gate."""
    return Slope(value, error, bool(is_identified(value, error)))


def is_identified(
    value: np.ndarray | float, error: np.ndarray | float, *, share: float = IDENTIFIED_ERROR_SHARE
) -> np.ndarray:
    """Return the verdict of the identifiability gate on each slope; `share` is the largest relative error."""
    value, error = np.asarray(value), np.asarray(error)
    return (value - 1.96 * error > 0) & (error <= share * value) & (value <= STEEPEST_SLOPE)


def pool_slopes(
    fit: JitterFit,
    cells: pd.DataFrame,
    *,
    group: np.ndarray,
    size: int,
    segment: np.ndarray,
    tails: Tails = FULL_RANGE,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the slope of each group and its standard error, shape (size,), pulled towards the overall slope.

    A group's own estimate is one Newton step from the overall fit; between groups slopes are normal with the variance
    of DerSimonian and Laird. The error contains that of the overall slope.

    Args:
        group: shape (n_cells,), 0..size-1; segment: shape (n_cells,), the segment of each cell.
    """
    bids, wins = slope_counts(cells)
    evidence = weigh_evidence(fit.logit, wins=wins, trials=bids, tails=tails)
    information = np.bincount(group, evidence.information * fit.move**2, minlength=size)
    score = np.bincount(group, evidence.score * fit.move, minlength=size)
    cluster = segment_days(cells, segment)
    group_of = np.zeros(int(cluster.max()) + 1, dtype=np.intp)
    group_of[cluster] = group
    # No less than the counts alone would give, so that a group with very few clusters is not taken as certain.
    squares = np.bincount(group_of, np.bincount(cluster, evidence.score * fit.move) ** 2, minlength=size)
    squares = np.maximum(squares, information)
    known = information > 0
    step = np.divide(score, information, out=np.zeros(size), where=known)
    precision = np.divide(information**2, squares, out=np.zeros(size), where=known)
    tau2 = between_group_variance(step[known], precision[known])
    own_share = tau2 * precision / (1 + tau2 * precision)
    error = np.sqrt(tau2 * (1 - own_share) + ((1 - own_share) * fit.slope.error) ** 2)
    return fit.slope.value + own_share * step, error


def day_levels(cells: pd.DataFrame, columns: np.ndarray) -> Design:
    """Return the columns, shape (n_cells, n_columns), and a level for each day: these take an intercept's place."""
    codes, days = pd.factorize(cells["day"], sort=True)
    return Design(columns, codes, len(days))
