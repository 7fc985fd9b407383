"""How far a distribution has moved: the population stability index."""

import numpy as np

BINS = 10
LEAST_SHARE = 1e-4
"""An empty bin counts as this share, so that the index stays finite."""


def stability_index(old: np.ndarray, new: np.ndarray, *, weights: np.ndarray) -> float:
    """Return the population stability index: sum of (p - q) ln(p / q) over bins of equal old mass; 0 if nothing moved.

    Below .1 little has changed, above .25 much has.

    Args:
        old, new: shape (n,), the same items' values before and after.
        weights: shape (n,), what an item counts.
    Source: Siddiqi, Credit Risk Scorecards, 2006.
    """
    order = np.argsort(old, kind="stable")
    mass = np.cumsum(weights[order]) / weights.sum()
    inner = old[order][np.searchsorted(mass, np.arange(1, BINS) / BINS)]
    edges = np.unique(inner)

    def shares(values: np.ndarray) -> np.ndarray:
        counts = np.bincount(np.searchsorted(edges, values, side="left"), weights, minlength=len(edges) + 1)
        return np.maximum(counts / weights.sum(), LEAST_SHARE)

    before, after = shares(old), shares(new)
    return float(((after - before) * np.log(after / before)).sum())
