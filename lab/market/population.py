"""Who is in the market: segments with their shares, domains and visitors, each with its effect on price and clicks."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from lab.market.regions import REGIONS
from lab.market.settings import WorldSettings
from lab.market.streams import open_stream
from optimizer.core.serving.npi import npi_check_digit

OS_CODES = ("android", "ios", "windows", "macos", "chromeos", "linux")
BROWSER_CODES = ("chrome", "safari", "edge", "firefox", "samsung")
DEVICE_TYPES = ("phone", "tablet", "desktop")

_OS_SHARES = np.array([0.30, 0.34, 0.22, 0.10, 0.025, 0.015])
# Rows are operating systems in the order above. Neither browser nor device moves price or clicks: what they seem to
# tell comes from the operating system.
BROWSER_SHARES = np.array(
    [
        [0.78, 0.00, 0.02, 0.04, 0.16],
        [0.15, 0.80, 0.02, 0.03, 0.00],
        [0.62, 0.00, 0.30, 0.08, 0.00],
        [0.35, 0.57, 0.03, 0.05, 0.00],
        [0.97, 0.00, 0.00, 0.03, 0.00],
        [0.55, 0.00, 0.05, 0.40, 0.00],
    ]
)
DEVICE_SHARES = np.array(
    [[0.90, 0.10, 0.0], [0.85, 0.15, 0.0], [0.0, 0.04, 0.96], [0.0, 0.0, 1.0], [0.0, 0.10, 0.90], [0.0, 0.0, 1.0]]
)
_TOPICS = ("cardiology", "dosage", "oncology", "nursing", "wellness", "journal", "clinic", "recipes", "news", "weather")

# Log size of segments, the smallest fifth being equal: of the 1,450 that 300,000 bids touch, 43 % have under 10 bids,
# 27 % from 10 to 49, 30 % more.
_SEGMENT_SIZE_SD = 2.4
_EQUAL_SHARE = 0.2
_ADSPACE_SIZE_POWER = 0.6
# A known visitor's click rate is Pareto: with index a, about a share a of those who click do so once (Sibuya's law).
_CLICK_PARETO_INDEX = 0.75
_CLICK_RATE_RATIO = 400.0
_VISIT_SD = 1.2


@dataclass(frozen=True, slots=True)
class Segments:
    """Indexes of each segment's values, share of requests, and effects on log price and log CTR: shapes (segments,)."""

    adspace: np.ndarray
    region: np.ndarray
    os: np.ndarray
    request_share: np.ndarray
    price_effect: np.ndarray
    click_effect: np.ndarray
    adspace_ids: tuple[str, ...]
    adspace_effect: np.ndarray


@dataclass(frozen=True, slots=True)
class Domains:
    """Names and effects, shape (domains,), and the mix on each adspace, shape (adspaces, domains)."""

    names: tuple[str, ...]
    price_effect: np.ndarray
    click_ratio: np.ndarray
    share_by_adspace: np.ndarray


@dataclass(frozen=True, slots=True)
class Visitors:
    """The identified visitors: shapes (npis,). `price_effect` is the quality that rivals see and pay for."""

    npis: tuple[str, ...]
    visit_share: np.ndarray
    price_effect: np.ndarray
    click_ratio: np.ndarray


def create_segments(seed: int, *, settings: WorldSettings) -> Segments:
    """Return the largest combinations of adspace, region and os, with lognormal shares in the order of their size."""
    rng = open_stream(seed, "segments")
    residents = np.array([size for size, _ in REGIONS.values()], dtype=float)
    counts = (settings.adspaces, len(REGIONS), len(OS_CODES))
    size = (
        -_ADSPACE_SIZE_POWER * np.log(np.arange(1, settings.adspaces + 1))[:, None, None]
        + np.log(residents)[None, :, None]
        + np.log(_OS_SHARES)
        + rng.normal(0, 0.7, counts)
    )
    kept = np.argsort(-size, axis=None, kind="stable")[: settings.segments]
    adspace, region, os = np.unravel_index(kept, counts)

    effects = [_spread(rng, n, sd=sd) for n, sd in zip(counts, _price_sds(settings), strict=True)]
    pairs = rng.normal(0, settings.adspace_region_sd, counts[:2])
    price_effect = effects[0][adspace] + effects[1][region] + effects[2][os] + pairs[adspace, region]
    click_effect = 0.3 * price_effect + sum(
        rng.normal(0, settings.click_sd, n)[index] for n, index in zip(counts, (adspace, region, os), strict=True)
    )
    ids = tuple(str(number) for number in rng.choice(90_000, settings.adspaces, replace=False) + 10_000)
    shares = _lognormal_shares(len(kept))
    centre = shares @ price_effect
    return Segments(adspace, region, os, shares, price_effect - centre, click_effect, ids, effects[0] - centre)


def create_domains(seed: int, *, settings: WorldSettings) -> Domains:
    """Return domains with Zipf shares, reordered on each adspace, where higher prices go with a few more clicks."""
    rng = open_stream(seed, "domains")
    count = settings.domains
    zipf = 1 / np.arange(1, count + 1) ** 1.1
    shares = zipf * np.exp(rng.normal(0, 0.8, (settings.adspaces, count)))
    price_effect = rng.normal(0, settings.domain_sd, count)
    click_ratio = np.exp(0.5 * price_effect + rng.normal(0, 0.30, count))
    names = tuple(f"{_TOPICS[number % len(_TOPICS)]}-{number:03d}.example" for number in range(count))
    return Domains(names, price_effect, click_ratio, shares / shares.sum(axis=1, keepdims=True))


def create_visitors(seed: int, *, settings: WorldSettings) -> Visitors:
    """Return the identified visitors; their NPIs begin with 9, as no real one does: those begin with 1 or 2."""
    rng = open_stream(seed, "visitors")
    count = settings.npis
    numbers = rng.permutation(np.unique(rng.integers(0, 10**9, 2 * count + 16)))[:count]
    visits = np.exp(rng.normal(0, _VISIT_SD, count))
    visit_share = visits / visits.sum()
    taste = rng.normal(size=count)
    rank = np.argsort(np.argsort(0.3 * taste + 0.95 * rng.normal(size=count)))
    click_rate = (1 - (rank + 0.5) / max(count, 1)) ** (-1 / _CLICK_PARETO_INDEX)
    return Visitors(
        npis=_npis_of(numbers),
        visit_share=visit_share,
        price_effect=settings.quality_sd * taste,
        click_ratio=_capped_ratios(click_rate, weights=visit_share),
    )


def _npis_of(numbers: np.ndarray) -> tuple[str, ...]:
    """Return a valid NPI for each of the distinct numbers below 10**9; a larger number has a larger NPI."""
    order, places = np.argsort(numbers), np.arange(len(numbers))
    bases = np.empty_like(numbers)
    bases[order] = 9 * 10**8 + np.maximum.accumulate(numbers[order] // 10 - places) + places
    return tuple(f"{base}{npi_check_digit(str(base))}" for base in bases.tolist())


def weigh_qualities(visitors: Visitors, *, settings: WorldSettings) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (price effect, share of requests, mean click ratio) of every quality a request may have.

    Unknown visitors have normal quality and the same click rate; known ones are grouped into 200 narrow bins.
    """
    effects, weights = np.polynomial.hermite_e.hermegauss(31)
    effects, weights = settings.quality_sd * effects, weights / weights.sum()
    clicks = np.ones_like(weights)
    if not len(visitors.npis):
        return effects, weights, clicks
    order = np.argsort(visitors.price_effect)
    starts = np.unique(np.linspace(0, len(order), 200, endpoint=False).astype(int))
    shares, known_effects, known_clicks = visitors.visit_share, visitors.price_effect, visitors.click_ratio
    share = np.add.reduceat(shares[order], starts)
    effect = np.add.reduceat((shares * known_effects)[order], starts) / share
    click = np.add.reduceat((shares * known_clicks)[order], starts) / share
    known = settings.identified_share
    return (
        np.concatenate([effects, effect]),
        np.concatenate([(1 - known) * weights, known * share]),
        np.concatenate([clicks, click]),
    )


def _price_sds(settings: WorldSettings) -> tuple[float, float, float]:
    return settings.adspace_sd, settings.region_sd, settings.os_sd


def _spread(rng: np.random.Generator, count: int, *, sd: float) -> np.ndarray:
    """Return normal effects with mean 0 and exactly this sd: a few adspaces would often be similar by chance."""
    draws = rng.normal(size=count)
    return sd * (draws - draws.mean()) / draws.std()


def _lognormal_shares(count: int) -> np.ndarray:
    normal = NormalDist()
    sizes = np.exp([-_SEGMENT_SIZE_SD * normal.inv_cdf((rank + 0.5) / count) for rank in range(count)])
    sizes = np.maximum(sizes, np.quantile(sizes, _EQUAL_SHARE))
    return sizes / sizes.sum()


def _capped_ratios(rates: np.ndarray, *, weights: np.ndarray) -> np.ndarray:
    """Return rates relative to their mean, none so high that a view would be clicked for certain."""
    for _ in range(20):
        rates = np.minimum(rates / (weights @ rates), _CLICK_RATE_RATIO) if len(rates) else rates
    return rates
