"""The bootstrap of whole days: auctions of one day share its market, so days are drawn and not auctions."""

import numpy as np
from scipy.stats import t as student_t


def draw_days(rng: np.random.Generator, *, days: int, resamples: int) -> np.ndarray:
    """Return how often each day is drawn in each resample, shape (resamples, days); rows sum to `days`."""
    return rng.multinomial(days, np.full(days, 1 / days), size=resamples)


def margin_of_error(resampled: np.ndarray, *, days: int, confidence: float) -> float:
    """Return half the width of the interval around an estimate: its bootstrap error at the reach of the t distribution.

    Meant for few days, where percentiles of the resamples are too narrow; infinite for a single day.

    Args:
        resampled: the estimate in each resample, shape (resamples,); those that are not finite count for nothing.
    """
    known = resampled[np.isfinite(resampled)]
    if days < 2 or not len(known):
        return float("inf")
    error = float(known.std()) * (days / (days - 1)) ** 0.5
    return error * float(student_t.ppf(0.5 + confidence / 2, days - 1))
