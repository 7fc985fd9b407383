"""How well predicted rates agree with what happened, on weighted cells."""

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score


def weighted_auc(predicted: np.ndarray, *, successes: np.ndarray, trials: np.ndarray) -> float | None:
    """Return the area under the ROC curve of cells, or None where all trials ended alike."""
    failures = trials - successes
    if successes.sum() <= 0 or failures.sum() <= 0:
        return None
    labels = np.repeat([1, 0], len(predicted))
    weights = np.concatenate([successes, failures])
    return float(roc_auc_score(labels, np.concatenate([predicted, predicted]), sample_weight=weights))


def auc_standard_error(auc: float, *, successes: float, failures: float) -> float:
    """Return the standard error of an AUC. Source: Hanley and McNeil, 1982."""
    if successes < 1 or failures < 1:
        return float("inf")
    both_above, both_below = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (successes - 1) * (both_above - auc**2) + (failures - 1) * (both_below - auc**2)
    return float(np.sqrt(max(0.0, variance) / (successes * failures)))


def calibration_bins(
    predicted: np.ndarray, *, successes: np.ndarray, trials: np.ndarray, bins: int = 10
) -> pd.DataFrame:
    """Return `predicted` and `observed` rate and `bids` of bins of about equal mass, by rising prediction."""
    order = np.argsort(predicted, kind="stable")
    mass = np.cumsum(trials[order])
    bin_of = np.minimum((bins * (mass - trials[order] / 2) / mass[-1]).astype(int), bins - 1)
    total = np.bincount(bin_of, trials[order], minlength=bins)
    sums = {
        "predicted": np.bincount(bin_of, (predicted * trials)[order], minlength=bins),
        "observed": np.bincount(bin_of, successes[order], minlength=bins),
    }
    filled = total > 0
    return pd.DataFrame({**{name: part[filled] / total[filled] for name, part in sums.items()}, "bids": total[filled]})


def expected_calibration_error(
    predicted: np.ndarray, *, successes: np.ndarray, trials: np.ndarray, bins: int = 10
) -> float:
    """Return the mean gap between predicted and observed rate over bins of equal mass."""
    table = calibration_bins(predicted, successes=successes, trials=trials, bins=bins)
    return float(np.average((table["predicted"] - table["observed"]).abs(), weights=table["bids"]))
