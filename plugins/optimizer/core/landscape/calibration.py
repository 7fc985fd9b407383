"""How well predicted rates agree with what happened, on weighted cells."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import xlogy

from optimizer.core.landscape.day_blocks import draw_days

LEAST_RATE = 1e-15
"""A prediction of 0 or 1 that fails costs as much as this one would."""


def weighted_auc(predicted: np.ndarray, *, successes: np.ndarray, trials: np.ndarray) -> float | None:
    """Return the area under the ROC curve of cells, or None if all trials have the same outcome."""
    failures = trials - successes
    if successes.sum() <= 0 or failures.sum() <= 0:
        return None
    rank = np.unique(predicted, return_inverse=True)[1]
    won, lost = np.bincount(rank, successes), np.bincount(rank, failures)
    beaten = np.cumsum(lost) - lost / 2
    return float((won * beaten).sum() / (won.sum() * lost.sum()))


def logistic_loss(predicted: np.ndarray, *, successes: np.ndarray, trials: np.ndarray) -> float:
    """Return the mean logistic loss of a trial, nats."""
    rate = np.clip(predicted, LEAST_RATE, 1 - LEAST_RATE)
    return float(-(xlogy(successes, rate) + xlogy(trials - successes, 1 - rate)).sum() / trials.sum())


def auc_standard_error(auc: float | None, *, successes: float, failures: float) -> float:
    """Return the standard error of an AUC. Source: Hanley and McNeil, 1982."""
    if auc is None or successes < 1 or failures < 1:
        return float("inf")
    both_above, both_below = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (successes - 1) * (both_above - auc**2) + (failures - 1) * (both_below - auc**2)
    return float(np.sqrt(max(0.0, variance) / (successes * failures)))


@dataclass(frozen=True, slots=True)
class CalibrationError:
    """Mean gap between predicted and observed rate over bins of equal mass (ECE), with its 95 % interval over days.

    noise: what it would be on average if every prediction were right, by the chance of single auctions alone.
    """

    value: float
    low: float
    high: float
    noise: float


def calibration_bins(
    predicted: np.ndarray, *, successes: np.ndarray, trials: np.ndarray, bins: int = 10
) -> pd.DataFrame:
    """Return `predicted` and `observed` rate and `bids` of bins of about equal mass, by rising prediction."""
    bin_of = bins_of_equal_mass(predicted, weights=trials, bins=bins)
    total = np.bincount(bin_of, trials, minlength=bins)
    expected = np.bincount(bin_of, predicted * trials, minlength=bins)
    observed = np.bincount(bin_of, successes, minlength=bins)
    filled = total > 0
    return pd.DataFrame(
        {
            "predicted": expected[filled] / total[filled],
            "observed": observed[filled] / total[filled],
            "bids": total[filled],
        }
    )


def expected_calibration_error(
    predicted: np.ndarray, *, successes: np.ndarray, trials: np.ndarray, bins: int = 10
) -> float:
    """Return the mean gap between predicted and observed rate over bins of equal mass."""
    table = calibration_bins(predicted, successes=successes, trials=trials, bins=bins)
    return float(np.average((table["predicted"] - table["observed"]).abs(), weights=table["bids"]))


def bins_of_equal_mass(values: np.ndarray, *, weights: np.ndarray, bins: int = 10) -> np.ndarray:
    """Return the bin of each value, 0..bins-1, by rising value, so that all bins weigh about the same."""
    order = np.argsort(values, kind="stable")
    mass = np.cumsum(weights[order])
    bin_of = np.empty(len(values), dtype=np.intp)
    bin_of[order] = np.minimum((bins * (mass - weights[order] / 2) / mass[-1]).astype(int), bins - 1)
    return bin_of


def calibration_error(
    predicted: np.ndarray,
    *,
    successes: np.ndarray,
    trials: np.ndarray,
    day: np.ndarray,
    by: np.ndarray | None = None,
    resamples: int = 500,
) -> CalibrationError:
    """Return the calibration error of cells, interval by a bootstrap of whole days.

    Args:
        predicted, successes, trials: shape (n_cells,).
        day: shape (n_cells,), any labels.
        by: what the bins are made of; the prediction by default.
    """
    bin_of = bins_of_equal_mass(predicted if by is None else by, weights=trials)
    days, day_of = np.unique(day, return_inverse=True)
    shape = (len(days), int(bin_of.max()) + 1)
    cell = np.ravel_multi_index((day_of, bin_of), shape)

    def by_day(values: np.ndarray) -> np.ndarray:
        return np.bincount(cell, values, minlength=shape[0] * shape[1]).reshape(shape)

    gap, mass = by_day(successes - predicted * trials), by_day(trials)
    variance = by_day(predicted * (1 - predicted) * trials).sum(axis=0)
    drawn = draw_days(np.random.default_rng(0), days=len(days), resamples=resamples)
    resampled = np.abs(drawn @ gap).sum(axis=1) / (drawn @ mass).sum(axis=1)
    value = float(np.abs(gap.sum(axis=0)).sum() / mass.sum())
    # Gaps are counted regardless of sign, so resampling makes them larger on average: that much is taken off.
    low, high = np.quantile(resampled, [0.025, 0.975]) - (resampled.mean() - value)
    return CalibrationError(
        value=value,
        low=max(0.0, float(low)),
        high=float(high),
        noise=float(np.sqrt(2 * variance / np.pi).sum() / mass.sum()),
    )


def group_bias(predicted: np.ndarray, *, successes: np.ndarray, trials: np.ndarray, group: np.ndarray) -> float:
    """Return the mean over trials of |observed - predicted rate| of the group that a trial is in."""
    gap = np.bincount(group, successes - predicted * trials)
    return float(np.abs(gap).sum() / trials.sum())
