"""The bootstrap of whole days: auctions of one day share its market, so days are drawn and not auctions."""

import numpy as np


def draw_days(rng: np.random.Generator, *, days: int, resamples: int) -> np.ndarray:
    """Return how often each day is drawn in each resample, shape (resamples, days); rows sum to `days`."""
    return rng.multinomial(days, np.full(days, 1 / days), size=resamples)
