"""Independent random streams by name, so that switching one thing on changes no other draw."""

from zlib import crc32

import numpy as np


def open_stream(seed: int, *names: str | int) -> np.random.Generator:
    """Return the generator that belongs to a seed and a path of names; the same path gives the same draws."""
    return np.random.default_rng([seed, *(name if isinstance(name, int) else crc32(name.encode()) for name in names)])
