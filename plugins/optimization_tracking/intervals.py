"""Student's t: intervals of means, tests of paired differences, and what to expect of the next value."""

import math
from typing import NamedTuple

from scipy import special

LEVEL = 0.95


class Interval(NamedTuple):
    """Two bounds, the lower first."""

    low: float
    high: float


def mean_interval(n: int, mean: float, sd: float, *, comparisons: int = 1) -> Interval:
    """Return the interval of a mean of at least two values.

    Args:
        sd: the sample's standard deviation, with n - 1.
        comparisons: how many such intervals hold together with 95 % confidence (Bonferroni).
    """
    half = _quantile(n - 1, comparisons) * sd / math.sqrt(n)
    return Interval(mean - half, mean + half)


def expected_interval(n: int, mean: float, sd: float) -> Interval:
    """Return what holds the next value of the same kind with 95 % probability, after at least two values."""
    half = _quantile(n - 1, 1) * sd * math.sqrt(1 + 1 / n)
    return Interval(mean - half, mean + half)


def difference_p_value(n: int, mean: float, sd: float, *, comparisons: int = 1) -> float:
    """Return the two-sided p-value of a mean difference, against none, adjusted for the comparisons (Bonferroni)."""
    if sd == 0:
        return 1.0 if mean == 0 else 0.0
    t = abs(mean) / (sd / math.sqrt(n))
    return float(min(1.0, comparisons * 2 * special.stdtr(n - 1, -t)))


def _quantile(degrees: int, comparisons: int) -> float:
    return float(special.stdtrit(degrees, 1 - (1 - LEVEL) / (2 * comparisons)))
