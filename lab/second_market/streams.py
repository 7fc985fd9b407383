"""Random streams: each purpose and day has its own, so that one more draw changes no other."""

from zlib import crc32

import numpy as np


def stream(seed: int, purpose: str, *numbers: int) -> np.random.Generator:
    """Return the generator of this purpose, e.g. of one day."""
    return np.random.default_rng([seed, crc32(purpose.encode()), *numbers])
