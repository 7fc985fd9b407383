"""A market: its segments, their traffic and the level of the best rival's price on every day."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from lab.second_market.settings import MarketSettings
from lab.second_market.streams import stream

DAY_PARTS = 6
"""Parts of four hours, each with its own traffic and, in some markets, its own prices."""

DAY_PART_SHARES = np.array([0.06, 0.10, 0.18, 0.21, 0.25, 0.20])

FLOOR_SHARE = 0.6
"""Share of adspaces with a floor, where there are any."""

FLOOR_STEP_CPM = 0.5


@dataclass(frozen=True)
class Market:
    """One market; everything follows from settings and seed.

    adspace, region, system: shape (segments,), codes. share: shape (segments,), of requests.
    level: shape (segments,), log CPM; adspace_level: the adspace's part of it. drift: shape (days,), common to all.
    shock: shape (days, segments), what bids may follow. day_part_shift: shape (DAY_PARTS,). floor_cpm: shape
    (segments,), 0 without a floor.
    """

    settings: MarketSettings
    seed: int
    adspace: np.ndarray = field(repr=False)
    region: np.ndarray = field(repr=False)
    system: np.ndarray = field(repr=False)
    share: np.ndarray = field(repr=False)
    level: np.ndarray = field(repr=False)
    adspace_level: np.ndarray = field(repr=False)
    drift: np.ndarray = field(repr=False)
    shock: np.ndarray = field(repr=False)
    day_part_shift: np.ndarray = field(repr=False)
    floor_cpm: np.ndarray = field(repr=False)

    @classmethod
    def create(cls, settings: MarketSettings, *, seed: int) -> "Market":
        """Return the market of this seed."""
        shape = (settings.adspaces, settings.regions, settings.systems)
        adspace, region, system = (codes.ravel() for codes in np.indices(shape))
        ranks = (adspace + 1.0) * (region + 1.0) * (system + 1.0)
        adspace_level, others = _levels(settings, seed, adspace, region, system)
        level = adspace_level + others
        return cls(
            settings=settings,
            seed=seed,
            adspace=adspace,
            region=region,
            system=system,
            share=_shares(ranks, settings.traffic_exponent),
            level=level,
            adspace_level=adspace_level,
            drift=_drift(settings, seed),
            shock=_shocks(settings, seed, adspace, region),
            day_part_shift=_day_part_shift(settings, seed),
            floor_cpm=_floors(settings, seed, adspace, level),
        )

    @cached_property
    def day_shift(self) -> np.ndarray:
        """Log price against the level, shape (days, segments)."""
        return self.drift[:, None] + self.shock


def _shares(ranks: np.ndarray, exponent: float) -> np.ndarray:
    shares = ranks**-exponent
    return shares / shares.sum()


def _levels(
    settings: MarketSettings, seed: int, adspace: np.ndarray, region: np.ndarray, system: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the part of the adspace and all others, log CPM, shape (segments,) each."""
    chance = stream(seed, "levels")
    by_adspace = chance.normal(0, settings.adspace_sd, settings.adspaces)
    by_region = chance.normal(0, settings.region_sd, settings.regions)
    by_system = chance.normal(0, settings.system_sd, settings.systems)
    own = chance.normal(0, settings.segment_sd, len(adspace))
    return np.log(settings.median_cpm) + by_adspace[adspace], by_region[region] + by_system[system] + own


def _drift(settings: MarketSettings, seed: int) -> np.ndarray:
    common = _autoregression(seed, "drift", settings.days, 1, settings.drift_sd, settings.drift_memory)[:, 0]
    day = np.arange(settings.days)
    elapsed = (day - (settings.log_days - 1 - settings.trend_days)) / settings.trend_days
    return common + settings.trend_log * np.clip(elapsed, 0, np.inf if settings.trend_goes_on else 1)


def _shocks(settings: MarketSettings, seed: int, adspace: np.ndarray, region: np.ndarray) -> np.ndarray:
    days, memory = settings.days, settings.shock_memory
    by_adspace = _autoregression(seed, "adspaces", days, settings.adspaces, settings.adspace_day_sd, memory)
    by_region = _autoregression(seed, "regions", days, settings.regions, settings.region_day_sd, memory)
    own = _autoregression(seed, "segments", days, len(adspace), settings.segment_day_sd, memory)
    return by_adspace[:, adspace] + by_region[:, region] + own


def _autoregression(seed: int, purpose: str, days: int, count: int, sd: float, memory: float) -> np.ndarray:
    """Return stationary AR(1) series, shape (days, count)."""
    if sd == 0:
        return np.zeros((days, count))
    series = stream(seed, purpose).normal(0, sd, (days, count))
    for day in range(1, days):
        series[day] = memory * series[day - 1] + np.sqrt(1 - memory**2) * series[day]
    return series


def _day_part_shift(settings: MarketSettings, seed: int) -> np.ndarray:
    shift = stream(seed, "day parts").permutation(np.linspace(-1.0, 1.0, DAY_PARTS))
    shift -= shift @ DAY_PART_SHARES
    return settings.day_part_sd * shift / np.sqrt(shift**2 @ DAY_PART_SHARES)


def _floors(settings: MarketSettings, seed: int, adspace: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Half units near the level of the adspace, from .5 to 1.1 times its median price."""
    chance = stream(seed, "floors")
    share = chance.uniform(0.5, 1.1, settings.adspaces)
    has_floor = chance.random(settings.adspaces) < (FLOOR_SHARE if settings.has_floors else 0.0)
    mean_level = np.bincount(adspace, level) / np.bincount(adspace)
    floor = np.ceil(np.exp(mean_level) * share / FLOOR_STEP_CPM) * FLOOR_STEP_CPM
    return np.where(has_floor, floor, 0.0)[adspace]
