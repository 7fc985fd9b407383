"""Quantiles and tails of distributions, by scipy.special: scipy.stats would take each program half a second to load."""

import numpy as np
from scipy.special import chdtrc, gammaincinv, stdtrit


def student_t_quantile(share: float, freedom: float) -> float:
    """Return the value below which this share of Student's t lies; infinite freedom: of the normal distribution."""
    return float(stdtrit(freedom, share))


def gamma_quantile(share: float, *, shape: np.ndarray | float, rate: np.ndarray | float) -> np.ndarray:
    """Return the value below which this share of gamma distributions lies, in the shape of `shape` and `rate`."""
    return np.asarray(gammaincinv(shape, share) / rate)


def chi_square_tail(value: np.ndarray | float, freedom: int) -> np.ndarray:
    """Return the chance of a chi-square value above this one, in the shape of `value`."""
    return np.asarray(chdtrc(freedom, value))
