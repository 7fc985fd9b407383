"""Who bids what: a flat bid, an earlier optimizer, the same with jitter, and a table of suggested bids."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Protocol

import numpy as np
import pyarrow as pa

from lab.market.auctions import Requests
from lab.market.streams import open_stream
from lab.market.world import World


@dataclass(frozen=True, slots=True)
class Prices:
    """One bid a request: bid_cpm = base_bid_cpm x domain_multiplier x npi_multiplier, NaN where none is made.

    The parts and `run_id`, an Arrow string array, are None where no optimizer run priced the bids.
    """

    bid_cpm: np.ndarray
    base_bid_cpm: np.ndarray | None = None
    domain_multiplier: np.ndarray | None = None
    npi_multiplier: np.ndarray | None = None
    run_id: pa.Array | None = None


class Policy(Protocol):
    """Anything that prices requests. It may look at what `Requests.visible` shows, and no further."""

    def price(self, world: World, requests: Requests) -> Prices: ...


@dataclass(frozen=True, slots=True)
class FlatPolicy:
    """One bid for every request, before there was an optimizer."""

    bid_cpm: float

    def price(self, world: World, requests: Requests) -> Prices:
        return Prices(np.full(len(requests), self.bid_cpm))


@dataclass(frozen=True, slots=True)
class VisiblePolicy:
    """Prices from a function of `Requests.visible`: the seam for a real bidder."""

    price_table: Callable[[pa.Table], Prices]

    def price(self, world: World, requests: Requests) -> Prices:
        return self.price_table(requests.visible(world))


@dataclass(frozen=True)
class EarlierOptimizer:
    """An optimizer that bids high where rivals do: yesterday's prices, and multipliers that know more than the log.

    `price_power` is how far base bids follow a segment's price level, `multiplier_power` how far multipliers follow the
    price effect of domain and visitor. With `held_day` the base bids stay those of that day number.
    """

    level_cpm: float
    price_power: float = 1.0
    multiplier_power: float = 1.0
    error_sd: float = 0.25
    held_day: int | None = None

    def price(self, world: World, requests: Requests) -> Prices:
        first, last = int(requests.day_number.min()), int(requests.day_number.max())
        base = self.base_bids(world, day_numbers=np.arange(first, last + 1))
        return compose_prices(
            base[requests.day_number - first, requests.segment],
            domain_multiplier=self.domain_multipliers(world)[requests.domain],
            npi_multiplier=self.npi_multipliers(world)[requests.npi],
            run_id=_daily_run_ids(world, requests),
        )

    def base_bids(self, world: World, *, day_numbers: np.ndarray) -> np.ndarray:
        """Return the base bids in cents, shape (days, segments)."""
        error = open_stream(world.seed, "earlier optimizer").normal(0, self.error_sd, len(world.population.adspace))
        known_day = (
            np.maximum(day_numbers - 1, 0) if self.held_day is None else np.full(len(day_numbers), self.held_day)
        )
        level = world.log_level(day_numbers=known_day[:, None]) - np.log(world.settings.market_median_cpm)
        return _cents(self.level_cpm * np.exp(self.price_power * level + error))

    def domain_multipliers(self, world: World) -> np.ndarray:
        """Return one multiplier a domain, between .6 and 1.5."""
        return np.exp(self.multiplier_power * world.domains.price_effect).clip(0.6, 1.5).round(4)

    def npi_multipliers(self, world: World) -> np.ndarray:
        """Return one multiplier a visitor, between .7 and 3.0, and a last one, 1, for visitors not identified."""
        known = np.exp(self.multiplier_power * world.visitors.price_effect).clip(0.7, 3.0).round(4)
        return np.append(known, 1.0)


@dataclass(frozen=True)
class JitteredOptimizer:
    """The earlier optimizer's base bids, multiplied by a small random factor for each segment and day."""

    planned: EarlierOptimizer
    seed: int
    jitter_sd: float = 0.10

    def price(self, world: World, requests: Requests) -> Prices:
        first, last = int(requests.day_number.min()), int(requests.day_number.max())
        base = self.base_bids(world, day_numbers=np.arange(first, last + 1))
        planned = self.planned.price(world, requests)
        return compose_prices(
            base[requests.day_number - first, requests.segment],
            domain_multiplier=planned.domain_multiplier,
            npi_multiplier=planned.npi_multiplier,
            run_id=planned.run_id,
        )

    def base_bids(self, world: World, *, day_numbers: np.ndarray) -> np.ndarray:
        """Return the jittered base bids in cents, shape (days, segments)."""
        planned = self.planned.base_bids(world, day_numbers=day_numbers)
        jitter = [self.draw_jitter(int(day), segments=planned.shape[1]) for day in day_numbers]
        return _cents(planned * np.array(jitter))

    def draw_jitter(self, day_number: int, *, segments: int) -> np.ndarray:
        """Return the day's factors, shape (segments,): normal around 1, cut off at 2 sd."""
        draws = open_stream(self.seed, "jitter", day_number).normal(size=(8, segments))
        kept = np.argmax(np.abs(draws) <= 2, axis=0)
        return 1 + self.jitter_sd * draws[kept, np.arange(segments)].clip(-2, 2)


@dataclass(frozen=True)
class BidTablePolicy:
    """The outputs of a run as a bidder serves them: bids by segment key, multipliers by domain and NPI.

    `features` are the parts of the key in order and `spell_key` builds it: hand in the bidder's own to test the two
    together. A key that is not there gets the fallback bid; None makes no bid, nor does a bid of 0. No final bid is
    above `max_bid_cpm`.
    """

    bids: Mapping[str, float]
    features: Sequence[str]
    fallback_bid_cpm: float | None
    domain_multipliers: Mapping[str, float] = field(default_factory=dict)
    npi_multipliers: Mapping[str, float] = field(default_factory=dict)
    run_id: str | None = None
    spell_key: Callable[[Sequence[str]], str] = "|".join
    max_bid_cpm: float = np.inf

    def price(self, world: World, requests: Requests) -> Prices:
        prices = compose_prices(
            self._base_bids(world, requests),
            domain_multiplier=_look_up(self.domain_multipliers, requests.domain, world.domains.names),
            npi_multiplier=_look_up(self.npi_multipliers, requests.npi, world.visitors.npis),
            run_id=pa.repeat(pa.scalar(self.run_id, pa.string()), len(requests)),
        )
        return replace(prices, bid_cpm=np.minimum(prices.bid_cpm, self.max_bid_cpm))

    def keys(self, world: World, requests: Requests) -> tuple[list[str], np.ndarray]:
        """Return the keys of the requests, each once and as the bidder spells it, and the number of each request's."""
        columns = [requests.codes(world, feature=feature) for feature in self.features]
        shape = [len(values) + 1 for _, values in columns]
        cells = np.ravel_multi_index([codes + 1 for codes, _ in columns], shape)
        distinct, cell_of = np.unique(cells, return_inverse=True)
        parts = np.unravel_index(distinct, shape)
        texts = [
            np.array(["", *values], dtype=object)[codes] for codes, (_, values) in zip(parts, columns, strict=True)
        ]
        return [self.spell_key(key) for key in zip(*texts, strict=True)], cell_of

    def _base_bids(self, world: World, requests: Requests) -> np.ndarray:
        keys, key_of = self.keys(world, requests)
        fallback = np.nan if self.fallback_bid_cpm is None else self.fallback_bid_cpm
        base = np.array([self.bids.get(key, fallback) for key in keys], dtype=float)
        return np.where(base > 0, base, np.nan)[key_of]


def compose_prices(
    base_bid_cpm: np.ndarray, *, domain_multiplier: np.ndarray, npi_multiplier: np.ndarray, run_id: pa.Array
) -> Prices:
    """Return the prices whose final bid is the product of its parts."""
    bid_cpm = base_bid_cpm * domain_multiplier * npi_multiplier
    return Prices(bid_cpm, base_bid_cpm, domain_multiplier, npi_multiplier, run_id)


def _look_up(multipliers: Mapping[str, float], codes: np.ndarray, values: Sequence[str]) -> np.ndarray:
    return np.array([*(multipliers.get(value, 1.0) for value in values), 1.0])[codes]


def _daily_run_ids(world: World, requests: Requests) -> pa.Array:
    first, last = int(requests.day_number.min()), int(requests.day_number.max())
    days = [world.settings.first_day + timedelta(days=number) for number in range(first, last + 1)]
    run_ids = pa.array([f"{day:%Y%m%d}_030000" for day in days])
    return run_ids.take(pa.array(requests.day_number - first))


def _cents(amount: np.ndarray) -> np.ndarray:
    return np.maximum(np.round(amount, 2), 0.01)
