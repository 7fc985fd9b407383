"""Bids by day and run of people whose ids are split between runs, and whether the split check alarms."""

import numpy as np

from optimizer.core.live.split_check import ALARM_P, bids_p_value, is_far

DEPLOYED = np.array([0.2, 0.8])
"""Shares of the two runs."""

MEAN_BIDS_PER_ID = 3.0


def new_ids(rng: np.random.Generator, shares: np.ndarray, *, worlds: int, days: int, ids: int = 1_700) -> np.ndarray:
    """Return bids with shape (worlds, days, runs): new ids every day, each with a geometric number of bids."""
    of_run = rng.multinomial(ids, shares, (worlds, days))
    return of_run + rng.negative_binomial(np.maximum(of_run, 1), 1 / MEAN_BIDS_PER_ID)


def same_ids(rng: np.random.Generator, shares: np.ndarray, *, worlds: int, days: int, ids: int = 5_000) -> np.ndarray:
    """Return bids with shape (worlds, days, runs): the same ids every day, as active as an exponential distribution."""
    active = rng.gamma(rng.multinomial(ids, shares, worlds))
    return rng.multinomial(5_000, np.repeat((active / active.sum(1, keepdims=True))[:, None], days, axis=1))


def alarms(bids: np.ndarray) -> np.ndarray:
    """Return whether bids with shape (..., days, runs) are off the deployed shares, shape (...)."""
    p_value, _ = bids_p_value(bids, deployed=DEPLOYED)
    return (p_value < ALARM_P) & is_far(bids.sum(-2), deployed=DEPLOYED)
