"""Where a level is now that moves from day to day: a random walk, seen with the error of each day's counts."""

import numpy as np

DRIFT_SDS = np.concatenate([[0.0], np.geomspace(0.01, 0.5, 18)])
"""Standard deviations of a day's step that are tried, logit units."""

CLEAR_GAIN = 1.35
"""Log-likelihood that a drift must gain over none to count: one-sided 95 % of a variance at its boundary (chi2 / 2)."""


def latest_level(levels: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """Return the level after the last day and the standard deviation of a day's step, by maximum likelihood.

    Without a clear drift that is the mean of all days, weighted by their evidence, and 0.

    Args:
        levels: shape (n_days,), in the order of time, logit units; errors: shape (n_days,), their standard errors.
    Source: the local level model, Durbin and Koopman, Time Series Analysis by State Space Methods, 2012, chapter 2.
    """
    fits = [_filter(levels, errors, drift_sd=sd) for sd in DRIFT_SDS]
    best = int(np.argmax([likelihood for _, likelihood in fits]))
    if fits[best][1] - fits[0][1] < CLEAR_GAIN:
        best = 0
    return fits[best][0], float(DRIFT_SDS[best])


def _filter(levels: np.ndarray, errors: np.ndarray, *, drift_sd: float) -> tuple[float, float]:
    """The level after the last day by a Kalman filter that begins with the first day, and the log-likelihood."""
    level, variance, likelihood = float(levels[0]), float(errors[0]) ** 2, 0.0
    for seen, error in zip(levels[1:], errors[1:], strict=True):
        variance += drift_sd**2
        spread = variance + error**2
        surprise = seen - level
        likelihood -= 0.5 * (np.log(spread) + surprise**2 / spread)
        gain = variance / spread
        level, variance = level + gain * surprise, (1 - gain) * variance
    return float(level), float(likelihood)
