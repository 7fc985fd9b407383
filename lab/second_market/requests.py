"""Bid requests, and what a bidder can see of them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from lab.second_market.market import DAY_PART_SHARES, Market
from lab.second_market.streams import stream

TRUE_FEATURES = ("internal_adspace_id", "geo_region_name", "os_code")
"""What rivals' prices depend on; every other candidate is false."""

NOISE = "noise_code"


@dataclass(frozen=True, slots=True)
class Requests:
    """Columns of requests, shape (n,), codes; `npi` is -1 for visitors that are not identified.

    hides_region: the region is null in request and log.
    """

    day: np.ndarray
    day_part: np.ndarray
    segment: np.ndarray
    browser: np.ndarray
    noise: np.ndarray
    domain: np.ndarray
    npi: np.ndarray
    hides_region: np.ndarray

    def __len__(self) -> int:
        return len(self.day)

    def pick(self, rows: np.ndarray) -> "Requests":
        """Return some of the requests, by mask or index."""
        return Requests(*(getattr(self, column.name)[rows] for column in fields(self)))


def candidates(market: Market) -> tuple[str, ...]:
    """Return the candidate features of the market's log."""
    return (*TRUE_FEATURES, "browser_code", *([NOISE] if market.settings.noise_values else []))


def draw_requests(market: Market, *, days: Sequence[int], per_day: int, purpose: str = "log") -> Requests:
    """Return `per_day` requests of each day number, in the order of the days; the same ones for every policy."""
    return concat_requests([_draw_day(market, day, per_day, purpose) for day in days])


def concat_requests(parts: Sequence[Requests]) -> Requests:
    """Return the requests of all parts, in their order."""
    return Requests(*(np.concatenate([getattr(part, column.name) for part in parts]) for column in fields(Requests)))


def feature_codes(market: Market, requests: Requests, feature: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the code of each request and the names of the codes, None first, the others sorted as text."""
    s = market.settings
    region = np.where(requests.hides_region, 0, market.region[requests.segment] + 1)
    columns = {
        "internal_adspace_id": (market.adspace[requests.segment], _names("ad", s.adspaces)),
        "geo_region_name": (region, np.append([None], _names("region ", s.regions))),
        "os_code": (market.system[requests.segment], _names("os", s.systems)),
        "browser_code": (requests.browser, _names("browser", s.browsers)),
        NOISE: (requests.noise, _names("n", max(1, s.noise_values))),
        "domain": (requests.domain, _names("site", s.domains, ".example")),
        "npi": (requests.npi, _names("9", s.professionals)),
    }
    return columns[feature]


def _names(start: str, count: int, end: str = "") -> np.ndarray:
    return np.array([f"{start}{number:06d}{end}" for number in range(count)], dtype=object)


def _draw_day(market: Market, day: int, count: int, purpose: str) -> Requests:
    s, chance = market.settings, stream(market.seed, f"requests of the {purpose}", day)

    def draw(shares: np.ndarray) -> np.ndarray:
        return np.searchsorted(np.cumsum(shares)[:-1], chance.random(count), side="right").astype(np.int32)

    is_known = chance.random(count) < s.identified_share
    return Requests(
        day=np.full(count, day, np.int32),
        day_part=draw(DAY_PART_SHARES),
        segment=draw(market.share),
        browser=draw(np.arange(s.browsers, 0, -1) / (s.browsers * (s.browsers + 1) / 2)),
        noise=chance.integers(0, max(1, s.noise_values), count, dtype=np.int32),
        domain=draw(_zipf(s.domains)),
        npi=np.where(is_known, draw(_zipf(s.professionals)), -1),
        hides_region=chance.random(count) < s.hidden_region_share,
    )


def _zipf(count: int) -> np.ndarray:
    shares = 1.0 / np.arange(1, count + 1)
    return shares / shares.sum()
