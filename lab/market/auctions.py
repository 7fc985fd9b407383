"""Auctions, drawn separately from the bids, so that policies can be compared on identical requests."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa

from lab.market import market, traffic
from lab.market.floors import FLOOR_STEP_SHARES
from lab.market.population import BROWSER_CODES, BROWSER_SHARES, DEVICE_SHARES, DEVICE_TYPES, OS_CODES
from lab.market.regions import REGIONS
from lab.market.streams import open_stream
from lab.market.world import World
from optimizer.errors import DataError

FEATURES = (
    "internal_adspace_id",
    "geo_region_name",
    "os_code",
    "browser_code",
    "device_type",
    "domain",
    "npi",
)
_MICROSECONDS_PER_HOUR = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Requests:
    """Auctions in order of time, one element an auction: what a bidder sees, and below `floor_cpm` what it does not.

    `segment`, `browser`, `device`, `domain` and `npi` are indexes into the world's lists; npi is -1 for a visitor who
    is not identified. `bid_ts` counts microseconds since 1970 in UTC. A draw is a uniform number in [0, 1).
    """

    bid_number: np.ndarray
    bid_ts: np.ndarray
    day_number: np.ndarray
    segment: np.ndarray
    browser: np.ndarray
    device: np.ndarray
    domain: np.ndarray
    npi: np.ndarray
    floor_cpm: np.ndarray

    quality: np.ndarray
    rival_cpm: np.ndarray
    is_lost_otherwise: np.ndarray
    click_draw: np.ndarray
    lag_draw: np.ndarray

    def __len__(self) -> int:
        return len(self.bid_ts)

    def between(self, first_day_number: int, end_day_number: int) -> "Requests":
        """Return the requests of the days [first, end); days are numbered from the market's first."""
        start, end = np.searchsorted(self.day_number, [first_day_number, end_day_number])
        return Requests(*(getattr(self, column.name)[start:end] for column in fields(self)))

    def codes(self, world: World, *, feature: str) -> tuple[np.ndarray, Sequence[str]]:
        """Return the index of each request's value and the values; -1 is not a value."""
        people = world.population
        known = {
            "internal_adspace_id": lambda: (people.adspace[self.segment], people.adspace_ids),
            "geo_region_name": lambda: (people.region[self.segment], tuple(REGIONS)),
            "os_code": lambda: (people.os[self.segment], OS_CODES),
            "browser_code": lambda: (self.browser, BROWSER_CODES),
            "device_type": lambda: (self.device, DEVICE_TYPES),
            "domain": lambda: (self.domain, world.domains.names),
            "npi": lambda: (self.npi, world.visitors.npis),
        }
        if feature not in known:
            raise DataError(f"{feature!r} is not a feature of a request; choose among {', '.join(FEATURES)}")
        return known[feature]()

    def visible(self, world: World) -> pa.Table:
        """Return what a bidder sees: bid_id, bid_ts, the seven features, and floor_cpm where the SSP passes it."""
        columns: dict[str, pa.Array] = {
            "bid_id": spell_ids(self.bid_number),
            "bid_ts": pa.array(self.bid_ts, pa.timestamp("us")),
        }
        for feature in FEATURES:
            codes, values = self.codes(world, feature=feature)
            columns[feature] = pa.array(values, pa.string()).take(pa.array(codes, mask=codes < 0))
        passes = world.settings.passes_floors
        columns["floor_cpm"] = pa.array(self.floor_cpm) if passes else pa.nulls(len(self), pa.float64())
        return pa.table(columns)


def draw_requests(
    world: World,
    *,
    start_day: date,
    days: int,
    count: int,
    seed: int | None = None,
    seen_bid_cpm: np.ndarray | None = None,
) -> Requests:
    """Return `count` requests of the days [start_day, start_day + days), in order of time.

    Args:
        seed: which requests; the world's seed by default. The same arguments give the same requests.
        seen_bid_cpm: our mean bid of the day before by adspace, for an SSP that chases it with its floors.

    Raises:
        DataError: a day is outside the market's horizon.
    """
    first = world.season.number(start_day)
    day_numbers = np.arange(first, first + days)
    world.season.number(start_day + timedelta(days=days - 1))
    seed = world.seed if seed is None else seed
    path = ("requests", world.settings.object_id, start_day.toordinal(), days)
    day, segment, bid_ts = _draw_arrivals(open_stream(seed, *path, "arrivals"), world, day_numbers, count)
    adspace, os = world.population.adspace[segment], world.population.os[segment]

    rng = open_stream(seed, *path, "visitors")
    domain = _pick_by_group(rng, world.domains.share_by_adspace, groups=adspace)
    npi, quality = _draw_visitors(rng, world, count)
    browser = _pick_by_group(rng, BROWSER_SHARES, groups=os)
    device = _pick_by_group(rng, DEVICE_SHARES, groups=os)

    floor_step = _pick(rng, FLOOR_STEP_SHARES, size=count)
    chased = world.floors.chase(seen_bid_cpm, day_number=first)
    floor_cpm = world.floors.price(adspaces=adspace, steps=floor_step, chased_cpm=chased[adspace])

    rng = open_stream(seed, *path, "auctions")
    log_price = world.log_level(segment, day_numbers=day) + world.domains.price_effect[domain] + quality
    return Requests(
        bid_number=_number_bids(rng, count),
        bid_ts=bid_ts,
        day_number=day,
        segment=segment,
        browser=browser,
        device=device,
        domain=domain,
        npi=npi,
        floor_cpm=floor_cpm,
        quality=quality,
        rival_cpm=_draw_rival_prices(
            rng, open_stream(seed, *path, "new rival"), world, log_price=log_price, segment=segment, day=day
        ),
        is_lost_otherwise=rng.random(count) < world.settings.lost_otherwise_share,
        click_draw=rng.random(count),
        lag_draw=rng.random(count),
    )


def spell_ids(numbers: np.ndarray) -> pa.Array:
    """Return 64-bit numbers as strings of 16 hexadecimal digits."""
    digits = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
    pairs = np.stack([np.repeat(digits, 16), np.tile(digits, 16)], axis=1).copy().view(np.uint16).ravel()
    text = pairs[numbers.astype(">u8").view(np.uint8)]
    offsets = np.arange(0, 16 * len(numbers) + 1, 16, dtype=np.int32)
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets), pa.py_buffer(text))


def _draw_arrivals(
    rng: np.random.Generator, world: World, day_numbers: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    people = world.population
    weekdays = (world.settings.first_day.weekday() + day_numbers) % 7
    by_size = np.argsort(-np.bincount(people.adspace, people.request_share, world.settings.adspaces), kind="stable")
    is_open = world.season.open_adspaces(day_numbers, by_size=by_size)
    weights = traffic.weekly_shares().sum(axis=2)[people.region[None], weekdays[:, None]]
    weights = weights * people.request_share * is_open[:, people.adspace]
    counts = rng.multinomial(count, (weights / weights.sum()).ravel())
    cell = np.repeat(np.arange(weights.size, dtype=np.int32), counts)
    day_index, segment = np.divmod(cell, weights.shape[1])
    hours = traffic.draw_hours(rng, regions=people.region[segment], weekdays=weekdays[day_index])
    midnight = datetime.combine(world.settings.first_day, datetime.min.time(), UTC)
    day = day_numbers[day_index]
    ts = (day * 24 + hours) * _MICROSECONDS_PER_HOUR + rng.integers(_MICROSECONDS_PER_HOUR, size=count)
    order = np.argsort(ts, kind="stable")
    return day[order], segment[order], ts[order] + int(midnight.timestamp()) * 1_000_000


def _draw_visitors(rng: np.random.Generator, world: World, count: int) -> tuple[np.ndarray, np.ndarray]:
    visitors, quality = world.visitors, rng.normal(0, world.settings.quality_sd, count)
    npi = np.full(count, -1, dtype=np.int32)
    if len(visitors.npis):
        is_known = rng.random(count) < world.settings.identified_share
        npi[is_known] = _pick(rng, visitors.visit_share, size=int(is_known.sum()))
        quality[is_known] = visitors.price_effect[npi[is_known]]
    return npi, quality


def _draw_rival_prices(
    rng: np.random.Generator,
    newcomer_rng: np.random.Generator,
    world: World,
    *,
    log_price: np.ndarray,
    segment: np.ndarray,
    day: np.ndarray,
) -> np.ndarray:
    settings, count = world.settings, len(segment)
    price = np.exp(log_price) * market.draw_noise(rng, size=count)
    price[rng.random(count) < settings.no_rival_share] = 0.0
    if settings.new_rival_share:
        share = world.season.new_rival_share(day, adspaces=world.population.adspace[segment])
        ratio = market.draw_new_rival(newcomer_rng, size=count)
        newcomer = np.exp(world.log_level(segment, day_numbers=day)) * ratio
        price = np.where(newcomer_rng.random(count) < share, np.maximum(price, newcomer), price)
    return np.where(rng.random(count) < settings.round_price_share, market.round_price(price), price)


def _number_bids(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return distinct 64-bit numbers that look random: splitmix64 of a counter from a drawn start."""
    mixed = rng.integers(2**64, dtype=np.uint64) + np.arange(count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _pick(rng: np.random.Generator, shares: np.ndarray, *, size: int) -> np.ndarray:
    until = np.cumsum(shares)
    return np.searchsorted(until[:-1] / until[-1], rng.random(size), side="right")


def _pick_by_group(rng: np.random.Generator, shares: np.ndarray, *, groups: np.ndarray) -> np.ndarray:
    """Return one index a request, by the shares of its group's row: the rows laid end to end make one search."""
    until = np.cumsum(shares, axis=1)
    edges = until / until[:, -1:] + np.arange(len(shares))[:, None]
    picked = np.searchsorted(edges.ravel(), groups + rng.random(len(groups)), side="right")
    return np.minimum(picked - groups * shares.shape[1], shares.shape[1] - 1)
