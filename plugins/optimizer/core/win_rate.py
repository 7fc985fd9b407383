"""From a model's scores to win-rate curves: a slope that was identified, and a level for each segment."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit

from optimizer.core.landscape import Landscape
from optimizer.core.logit import fit_logit
from optimizer.core.shrinkage import posterior_shifts
from optimizer.core.slope import PriceMoves, day_levels, judge_slope
from optimizer.errors import DataError


@dataclass(frozen=True, slots=True)
class LandscapeFit:
    """logit P(win) = intercept + score_weight * score + slope * move + multiplier_slope * log multiplier.

    The score is a model's logit of the win rate at a segment's usual price; the move is the log price less the usual.

    slope: logit units per unit of log bid (`bid_coefficient`); slope_error: its standard error.
    is_naive: the bids were not varied at random, so the slope may be far too flat.
    """

    reference_cpm: float
    intercept: float
    score_weight: float
    slope: float
    slope_error: float
    multiplier_slope: float
    is_naive: bool

    @property
    def landscape(self) -> Landscape:
        return Landscape(self.reference_cpm, self.slope)

    def level(self, score: np.ndarray, usual: np.ndarray) -> np.ndarray:
        """Return the logit of the win rate at the reference bid."""
        return self.intercept + self.score_weight * score + self.slope * (np.log(self.reference_cpm) - usual)

    def win_logit(self, score: np.ndarray, moves: PriceMoves) -> np.ndarray:
        """Return the logit of the win rate of cells as they were bid."""
        at_usual = self.intercept + self.score_weight * score
        return at_usual + self.slope * moves.move + self.multiplier_slope * moves.multiplier


def fit_landscape(cells: pd.DataFrame, *, score: np.ndarray, moves: PriceMoves, reference_cpm: float) -> LandscapeFit:
    """Return the curve that fits the cells best; the intercept is that of their latest days.

    Raises:
        DataError: bids do not vary, or higher bids did not win more: the log holds no usable price slope.
    """
    bids = cells["bids"].to_numpy(float)
    if np.average(moves.move**2, weights=bids) < 1e-6:
        raise DataError(
            "the logged bids do not vary, so the log says nothing about the price slope; vary the bids first"
        )
    has_multipliers = bool(np.average(moves.multiplier**2, weights=bids) > 1e-8)
    columns = [score, moves.move, *([moves.multiplier] if has_multipliers else []), day_levels(cells)]
    fit = fit_logit(np.column_stack(columns), wins=cells["wins"].to_numpy(float), trials=bids)
    slope = judge_slope(float(fit.coefficients[1]), float(fit.standard_errors[1]))
    if slope.value - 1.96 * slope.error <= 0:
        raise DataError(
            f"the price slope {slope.value:.3f} (standard error {slope.error:.3f}) is not above 0: in this log higher "
            "bids do not win more. Vary the bids (exploration_mode) for some days, then run again"
        )
    day_count = cells["day"].nunique()
    return LandscapeFit(
        reference_cpm=reference_cpm,
        intercept=float(fit.coefficients[-min(7, day_count) :].mean()),
        score_weight=float(fit.coefficients[0]),
        slope=slope.value,
        slope_error=slope.error,
        multiplier_slope=float(fit.coefficients[2]) if has_multipliers else 0.0,
        is_naive=not (moves.is_randomised and slope.is_identified),
    )


def segment_levels(
    cells: pd.DataFrame,
    *,
    group: np.ndarray,
    size: int,
    fit: LandscapeFit,
    score: np.ndarray,
    moves: PriceMoves,
    weights: np.ndarray,
) -> pd.DataFrame:
    """Return per segment `level_shift`, `level_error` (logit units) and `effective_bids`: its own evidence, shrunk.

    Args:
        group: shape (n_cells,), the segment of each cell, 0..size-1.
        weights: shape (n_cells,), what a bid counts.
    """
    bids = cells["bids"].to_numpy(float) * weights
    curve = fit.win_logit(score, moves)
    # The cells' overall level may be older than the intercept: only differences between segments are taken from them.
    curve = curve + _common_shift(curve, wins=cells["wins"].to_numpy(float) * weights, bids=bids)
    shift, error = posterior_shifts(
        curve, wins=cells["wins"].to_numpy(float) * weights, bids=bids, group=group, size=size
    )
    effective = np.bincount(group, bids, minlength=size)
    return pd.DataFrame({"level_shift": shift, "level_error": error, "effective_bids": effective})


def _common_shift(curve: np.ndarray, *, wins: np.ndarray, bids: np.ndarray) -> float:
    shift = 0.0
    for _ in range(8):
        expected = expit(curve + shift)
        shift += float((wins - bids * expected).sum() / (bids * expected * (1 - expected)).sum())
    return shift
