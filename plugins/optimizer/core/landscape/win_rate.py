"""From a model's scores to win-rate curves: slopes that were identified, and a level for each segment."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit

from optimizer.core.landscape.logit import FULL_RANGE, Tails, fit_logit, weigh_evidence
from optimizer.core.landscape.shrinkage import posterior_shifts
from optimizer.core.landscape.slope import (
    POOLED_ERROR_SHARE,
    STEEPEST_SLOPE,
    PriceMoves,
    Slope,
    day_levels,
    fit_jitter,
    is_identified,
    is_varied,
    pool_slopes,
    slope_counts,
)

LATEST_DAYS = 7
"""The intercept of a curve is that of that many latest days."""


@dataclass(frozen=True, slots=True)
class LandscapeFit:
    """P(win) = tails(sigmoid(z)), with
    z = intercept + score_weight * score + slope * move.

    The score is a model's logit of the win rate at a segment's usual price; the move is the log price less the usual.
    It is the mean over requests whose multipliers are those of the latest days.

    slope: of z in log bid; slope_error: its standard error.
    group_slopes, group_errors: shape (n_groups,), the same by anchor value, partially pooled; a group whose own slope
        does not pass the identifiability gate (`is_group_identified`) has the overall one.
    bid_coefficient, bid_coefficient_error: the slope of logit P(win) in log bid, at the bids that it was fitted on.
    tails: the ends of the curve.
    is_naive: the bids were not varied at random, so the slope may be far too flat.
    is_held: not even a naive slope is positive, or it is a step: the log says nothing about other prices.
    """

    reference_cpm: float
    intercept: float
    score_weight: float
    slope: float
    slope_error: float
    group_slopes: np.ndarray
    group_errors: np.ndarray
    is_group_identified: np.ndarray
    bid_coefficient: float
    bid_coefficient_error: float
    tails: Tails
    is_naive: bool
    is_held: bool = False

    def level(self, score: np.ndarray, usual: np.ndarray, group: np.ndarray) -> np.ndarray:
        """Return z at the reference bid."""
        to_reference = np.log(self.reference_cpm) - usual
        return self.intercept + self.score_weight * score + self.group_slopes[group] * to_reference

    def win_rate(self, logit: np.ndarray) -> np.ndarray:
        """Return P(win) at each z."""
        return self.tails(expit(logit))

    def win_logit(self, score: np.ndarray, moves: PriceMoves, group: np.ndarray) -> np.ndarray:
        """Return z of cells as they were bid."""
        return self.intercept + self.score_weight * score + self.group_slopes[group] * (moves.move + moves.drift)


@dataclass(frozen=True, slots=True)
class LandscapeData:
    """What a landscape is fitted to; arrays have shape (n_cells,).

    score: a model's logit of the win rate at the usual price of the cell's segment.
    segment: the segment of each cell, 0..n-1; group: its anchor value, 0..groups-1.
    """

    cells: pd.DataFrame
    score: np.ndarray
    moves: PriceMoves
    segment: np.ndarray
    group: np.ndarray
    groups: int


def fit_landscape(data: LandscapeData, *, reference_cpm: float, tails: Tails = FULL_RANGE) -> LandscapeFit:
    """Return the curve that fits the cells best; the intercept is that of their latest days.

    The slope comes from the jitter alone; levels then follow from what was won at all prices, wherever earlier runs
    went. Where bids do not vary, higher bids did not win more or the curve is a step, the result is marked as held and
    has a slope of 1.

    Raises:
        DataError: the fit does not converge.
    """
    cells, moves = data.cells, data.moves
    slopes = _find_slopes(data, tails)
    slope = slopes.overall
    by_price = slopes.by_group[data.group] * (moves.move + moves.drift)
    design = day_levels(cells, data.score[:, None])
    bids, wins = cells["bids"].to_numpy(float), cells["wins"].to_numpy(float)
    fit = fit_logit(design, wins=wins, trials=bids, tails=tails, offset=by_price)
    steepness = _steepness(design.predict(fit.coefficients) + by_price, slope_counts(cells)[0], tails)
    days = min(LATEST_DAYS, cells["day"].nunique())
    return LandscapeFit(
        reference_cpm=reference_cpm,
        intercept=float(fit.coefficients[-days:].mean()),
        score_weight=float(fit.coefficients[0]),
        slope=slope.value,
        slope_error=slope.error,
        group_slopes=slopes.by_group,
        group_errors=slopes.group_errors,
        is_group_identified=slopes.is_group_identified,
        bid_coefficient=steepness * slope.value,
        bid_coefficient_error=steepness * slope.error,
        tails=tails,
        is_naive=not (moves.is_randomised and slope.is_identified),
        is_held=slopes.is_held,
    )


@dataclass(frozen=True, slots=True)
class _Slopes:
    """The overall slope and those of the anchor values; the fields as in `LandscapeFit`."""

    overall: Slope
    by_group: np.ndarray
    group_errors: np.ndarray
    is_group_identified: np.ndarray
    is_held: bool


def _find_slopes(data: LandscapeData, tails: Tails) -> _Slopes:
    cells, moves, segment, groups = data.cells, data.moves, data.segment, data.groups
    held = _Slopes(
        Slope(1.0, 1.0, is_identified=False), np.ones(groups), np.ones(groups), np.zeros(groups, dtype=bool), True
    )
    if not is_varied(moves, cells["bids"].to_numpy(float)):
        return held
    jitter = fit_jitter(cells, moves=moves, segment=segment, score=data.score, tails=tails)
    slope = jitter.slope
    if slope.value - 1.96 * slope.error <= 0 or slope.value > STEEPEST_SLOPE:
        return held
    values, errors = np.full(groups, slope.value), np.full(groups, slope.error)
    if moves.is_randomised:
        values, errors = pool_slopes(jitter, cells, group=data.group, size=groups, segment=segment, tails=tails)
    is_known = is_identified(values, errors, share=POOLED_ERROR_SHARE) & slope.is_identified
    return _Slopes(slope, np.where(is_known, values, slope.value), errors, is_known, is_held=False)


def _steepness(z: np.ndarray, bids: np.ndarray, tails: Tails) -> float:
    """Return d logit P / dz, as a logistic regression weighs rows."""
    contested = expit(z)
    won, rise = tails(contested), tails.width * contested * (1 - contested)
    return float((bids * rise).sum() / (bids * won * (1 - won)).sum())


@dataclass(frozen=True, slots=True)
class SegmentLevels:
    """What segments say for themselves, shape (n_segments,), logit units: their shift from the curve, shrunk.

    effective_bids: weighted bids; log_likelihood: of all cells at the shifted curve.
    """

    shift: np.ndarray
    error: np.ndarray
    effective_bids: np.ndarray
    log_likelihood: float


def segment_levels(
    cells: pd.DataFrame,
    *,
    group: np.ndarray,
    size: int,
    curve: np.ndarray,
    weights: np.ndarray,
    fit: LandscapeFit,
    variance_factor: float = 1.0,
) -> SegmentLevels:
    """Return each segment's own evidence in addition to the curve.

    Args:
        group: shape (n_cells,), the segment of each cell, 0..size-1.
        curve: shape (n_cells,), z that the curve expects of each cell.
        weights: shape (n_cells,), what a bid counts.
        variance_factor: see `posterior_shifts`.
    """
    bids, wins = cells["bids"].to_numpy(float) * weights, cells["wins"].to_numpy(float) * weights
    tails = fit.tails
    # The cells' overall level may be older than the intercept: only differences between segments are taken from them.
    centred = curve + common_shift(curve, wins=wins, bids=bids, tails=tails)
    shift, error = posterior_shifts(
        centred,
        wins=wins,
        bids=bids,
        group=group,
        size=size,
        tails=tails,
        variance_factor=variance_factor,
    )
    won = np.clip(fit.win_rate(centred + shift[group]), 1e-9, 1 - 1e-9)
    return SegmentLevels(
        shift,
        error,
        effective_bids=np.bincount(group, bids, minlength=size),
        log_likelihood=float((wins * np.log(won) + (bids - wins) * np.log(1 - won)).sum()),
    )


def common_shift(curve: np.ndarray, *, wins: np.ndarray, bids: np.ndarray, tails: Tails = FULL_RANGE) -> float:
    """Return what has to be added to z, shape (n_cells,), so that as many are won as were."""
    shift = 0.0
    for _ in range(8):
        evidence = weigh_evidence(curve + shift, wins=wins, trials=bids, tails=tails)
        shift += float(np.clip(evidence.score.sum() / evidence.information.sum(), -1, 1))
    return shift
