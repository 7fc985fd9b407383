"""The random factor on each bid: repeatable by run and key, and within the bounds."""

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

JITTER_TRUNCATION_SD = 2.0

LEAST_JITTER_SD = 0.02
"""Bids always vary by at least this, so that a later run can learn from them."""

HASHED_TOGETHER = 8_192
"""This many keys become Python texts at a time: few enough to stay in the processor's cache, twice as fast."""


@dataclass(frozen=True, slots=True)
class JitterReach:
    """How far each bid's random factor goes: normal around 1 with this sd, cut off at low and high, in units of sd.

    Each is one for all keys, or one a key, shape (n,).
    """

    sd: np.ndarray | float
    low: np.ndarray | float = -JITTER_TRUNCATION_SD
    high: np.ndarray | float = JITTER_TRUNCATION_SD

    @property
    def mean(self) -> np.ndarray:
        """Mean of the factor: 1 if it is cut off symmetrically."""
        mass = np.maximum(ndtr(self.high) - ndtr(self.low), 1e-12)
        density = [np.exp(-(np.asarray(edge) ** 2) / 2) / np.sqrt(2 * np.pi) for edge in (self.low, self.high)]
        return 1 + self.sd * (density[0] - density[1]) / mass


def jitter_factors(keys: pd.Series, *, seed: str, reach: JitterReach) -> np.ndarray:
    """Return a random factor for each key, repeatable by seed."""
    spread, low, high = (
        np.broadcast_to(np.asarray(edge, float), len(keys)) for edge in (reach.sd, ndtr(reach.low), ndtr(reach.high))
    )
    hash_key = blake2b(seed.encode(), digest_size=8).hexdigest()
    factors = np.empty(len(keys))
    for first in range(0, len(keys), HASHED_TOGETHER):
        part = slice(first, first + HASHED_TOGETHER)
        drawn = pd.util.hash_array(keys.iloc[part].to_numpy(object), hash_key=hash_key, categorize=False)
        uniform = (drawn.astype(float) + 0.5) / 2.0**64
        factors[part] = 1.0 + spread[part] * ndtri(low[part] + uniform * (high[part] - low[part]))
    return factors


def are_drawn(keys: pd.Series, seed: str, share: float) -> np.ndarray:
    """Whether each key is among this share of all, by chance but repeatable."""
    hash_key = blake2b(f"{seed} drawn".encode(), digest_size=8).hexdigest()
    drawn = pd.util.hash_array(keys.to_numpy(object), hash_key=hash_key, categorize=False)
    return drawn < share * 2.0**64
