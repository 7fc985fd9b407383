"""Intervals of observed rates."""

import numpy as np

Z_95 = 1.959963984540054


def wilson_interval(rate: np.ndarray | np.float64, trials: np.ndarray | np.float64) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95 % interval of binomial rates. Source: Wilson, 1927."""
    spread = Z_95**2 / trials
    center = (rate + spread / 2) / (1 + spread)
    half = Z_95 * np.sqrt(rate * (1 - rate) / trials + spread / (4 * trials)) / (1 + spread)
    return np.maximum(0.0, center - half), np.minimum(1.0, center + half)
