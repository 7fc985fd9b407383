"""When requests come: by region, weekday and hour, in UTC."""

from functools import cache
from pathlib import Path

import numpy as np

from lab.market.regions import REGIONS

_SHARES_FILE = Path(__file__).with_name("traffic_share.csv")
_STEPS = 2_048


@cache
def weekly_shares() -> np.ndarray:
    """Return each region's traffic share by weekday and hour: shape (regions, 7, 24), UTC, each region sums to 1.

    Every state takes one of the eight measured profiles, in turn, and its clock shifts it. Daylight saving is ignored.
    Source: traffic_share.csv next to this module.
    """
    rows = np.genfromtxt(_SHARES_FILE, delimiter=",", comments="#", skip_header=0)[1:]
    profiles = rows[:, 2:].reshape(-1, 7 * 24)
    utc = [np.roll(profiles[rank % len(profiles)], hours) for rank, (_, hours) in enumerate(REGIONS.values())]
    shares = np.array(utc).reshape(-1, 7, 24)
    return shares / shares.sum(axis=(1, 2), keepdims=True)


@cache
def hour_quantiles() -> np.ndarray:
    """Return the hour at each quantile of the day: shape (regions, 7, 2048), for draws without a search."""
    shares = weekly_shares()
    until = np.cumsum(shares, axis=2) / shares.sum(axis=2, keepdims=True)
    quantiles = (np.arange(_STEPS) + 0.5) / _STEPS
    return (until[:, :, None, :-1] <= quantiles[:, None]).sum(axis=3).astype(np.int8)


def draw_hours(rng: np.random.Generator, *, regions: np.ndarray, weekdays: np.ndarray) -> np.ndarray:
    """Return one UTC hour (0 to 23) a request; regions and weekdays (0 = Monday) are indexes, shape (n,)."""
    return hour_quantiles()[regions, weekdays, rng.integers(_STEPS, size=len(regions))]
