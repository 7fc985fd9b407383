"""Logs of hundreds of millions of bids, drawn by DuckDB from the market of the other benchmarks: minutes, not hours.

A log has the market's segments, traffic, prices, policies, domains and visitors. Only the hours of a day are even, and
shares are rounded to their grid (`_GRID`).
"""

import duckdb
import numpy as np
import pandas as pd

from lab.benchmarks.market import DAYS, START_DAY
from lab.market.epochs import standard_epochs
from lab.market.market import BODY_SCALE, BODY_SHAPE, BODY_SHARE, DEAR_SCALE, DEAR_SHAPE
from lab.market.policies import EarlierOptimizer, FlatPolicy, JitteredOptimizer
from lab.market.population import BROWSER_CODES, BROWSER_SHARES, DEVICE_SHARES, DEVICE_TYPES, OS_CODES
from lab.market.regions import REGIONS
from lab.market.traffic import weekly_shares
from lab.market.world import World

_GRID = 16_384
"""A value is drawn by looking up one of this many places, of which it has its share."""

_BIDS_AT_ONCE = 1_000_000
"""Days are drawn together up to about this many bids, or one by one."""


def append_log(database: duckdb.DuckDBPyConnection, world: World, *, bids: int, first_id: int, seed: int) -> None:
    """Append that many bids, with their views and clicks, to the event tables of the connection's schema.

    Args:
        first_id: the bid_id of the first bid; the others follow.
    """
    rng = np.random.default_rng(seed)
    database.execute("SELECT setseed(?)", [rng.random()]).fetchall()
    segment_days = _segment_days(world, bids=bids, rng=rng)
    tables = {
        "segment_days": segment_days,
        "browsers": _grid(BROWSER_SHARES, browser_code=BROWSER_CODES),
        "devices": _grid(DEVICE_SHARES, device_type=DEVICE_TYPES),
        "domains": _domains(world),
        "visitors": _visitors(world),
    }
    for name, table in tables.items():
        database.register(f"given_{name}", table)
        database.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM given_{name}")  # noqa: S608 - ours
        database.unregister(f"given_{name}")
    first, sizes = first_id, segment_days.groupby("day_number", sort=True)["requests"].sum()
    for _, own in sizes.groupby(sizes.cumsum() // _BIDS_AT_ONCE):
        _append_days(database, world, first_day=int(own.index[0]), last_day=int(own.index[-1]), first_id=first)
        first += int(own.sum())


def _append_days(
    database: duckdb.DuckDBPyConnection, world: World, *, first_day: int, last_day: int, first_id: int
) -> None:
    settings = world.settings
    database.execute(
        _DAYS_SQL,
        {
            "first_day": first_day,
            "last_day": last_day,
            "first_id": first_id,
            "grid": _GRID,
            "no_rival": settings.no_rival_share,
            "round": settings.round_price_share,
            "lost": settings.lost_otherwise_share,
            "identified": settings.identified_share,
            "quality_sd": settings.quality_sd,
            "body_share": BODY_SHARE,
            "body_scale": BODY_SCALE,
            "body_shape": BODY_SHAPE,
            "dear_scale": DEAR_SCALE,
            "dear_shape": DEAR_SHAPE,
        },
    )
    database.execute(_BIDS_SQL, {"object_id": settings.object_id})
    database.execute(_VIEWS_SQL, {"revenue": world.view_revenue})
    database.execute(_CLICKS_SQL, {"revenue": world.click_revenue})


def _segment_days(world: World, *, bids: int, rng: np.random.Generator) -> pd.DataFrame:
    """One row a day and segment: its number of requests, features, price level and what is bid."""
    people, days = world.population, np.arange(DAYS)
    weekdays = (START_DAY.weekday() + days) % 7
    weights = weekly_shares().sum(axis=2)[people.region[None], weekdays[:, None]] * people.request_share
    requests = rng.multinomial(bids, (weights / weights.sum()).ravel())
    size = len(people.adspace)
    return pd.DataFrame(
        {
            "day_number": np.repeat(days, size),
            "day_start": np.repeat(pd.Timestamp(START_DAY) + pd.to_timedelta(days, "D"), size),
            "requests": requests,
            "adspace": np.tile(people.adspace, DAYS),
            "os": np.tile(people.os, DAYS),
            "internal_adspace_id": np.tile(np.array(people.adspace_ids)[people.adspace], DAYS),
            "geo_region_name": np.tile(np.array(tuple(REGIONS))[people.region], DAYS),
            "os_code": np.tile(np.array(OS_CODES)[people.os], DAYS),
            "log_level": world.log_level(day_numbers=days[:, None]).ravel(),
            "click_rate": np.tile(world.segment_click_rate, DAYS),
            **_base_bids(world),
        }
    ).query("requests > 0")


def _base_bids(world: World) -> dict[str, np.ndarray]:
    """What each day's policy bids on each segment before multipliers, and the run that priced it (None: flat bids)."""
    size, day, bids, run_ids = len(world.population.adspace), 0, [], []
    for epoch in standard_epochs(world, start_day=START_DAY, days=DAYS):
        days = np.arange(day, day + epoch.days)
        day += epoch.days
        policy = epoch.policy
        if isinstance(policy, FlatPolicy):
            bids.append(np.full((epoch.days, size), policy.bid_cpm))
            run_ids += [None] * epoch.days
        elif isinstance(policy, EarlierOptimizer | JitteredOptimizer):
            bids.append(policy.base_bids(world, day_numbers=days))
            run_ids += [f"{pd.Timestamp(START_DAY) + pd.Timedelta(days=int(one)):%Y%m%d}_030000" for one in days]
    return {"base_bid_cpm": np.concatenate(bids).ravel(), "run_id": np.repeat(np.array(run_ids, object), size)}


def _domains(world: World) -> pd.DataFrame:
    domains = world.domains
    return _grid(
        domains.share_by_adspace,
        domain=domains.names,
        price_effect=domains.price_effect,
        click_ratio=domains.click_ratio,
        multiplier=_earlier(world).domain_multipliers(world),
    )


def _visitors(world: World) -> pd.DataFrame:
    visitors = world.visitors
    return _grid(
        visitors.visit_share[None],
        npi=visitors.npis,
        price_effect=visitors.price_effect,
        click_ratio=visitors.click_ratio,
        multiplier=_earlier(world).npi_multipliers(world)[:-1],
    )


def _earlier(world: World) -> EarlierOptimizer:
    return EarlierOptimizer(level_cpm=world.settings.market_median_cpm)


def _grid(shares: np.ndarray, **values: object) -> pd.DataFrame:
    """One row a group and place on the grid: the values of the one that has this place."""
    until = np.cumsum(shares, axis=1)
    until /= until[:, -1:]
    middle = (np.arange(_GRID) + 0.5) / _GRID
    picked = np.concatenate([np.searchsorted(own, middle, side="right") for own in until])
    picked = np.minimum(picked, shares.shape[1] - 1)
    return pd.DataFrame(
        {
            "group_number": np.repeat(np.arange(len(shares)), _GRID),
            "place": np.tile(np.arange(_GRID), len(shares)),
            **{name: np.asarray(column)[picked] for name, column in values.items()},
        }
    )


_DAYS_SQL = """
CREATE OR REPLACE TEMP TABLE auctions AS
WITH requests AS (
    SELECT
        *,
        random() AS arrival,
        CAST(floor(random() * $grid) AS INTEGER) AS browser_place,
        CAST(floor(random() * $grid) AS INTEGER) AS device_place,
        CAST(floor(random() * $grid) AS INTEGER) AS domain_place,
        IF(random() < $identified, CAST(floor(random() * $grid) AS INTEGER), NULL) AS visitor_place,
        sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()) * $quality_sd AS unknown_quality,
        CASE WHEN random() < $body_share THEN $body_scale * pow(-ln(1 - random()), 1 / $body_shape)
            ELSE $dear_scale * pow(-ln(1 - random()), 1 / $dear_shape) END AS noise,
        random() < $no_rival AS has_no_rival,
        random() < $round AS is_round,
        random() >= $lost AS can_win,
        random() AS click_draw,
        random() AS lag_draw
    FROM segment_days, unnest(range(requests))
    WHERE day_number BETWEEN $first_day AND $last_day
),
priced AS (
    SELECT
        requests.*,
        browsers.browser_code,
        devices.device_type,
        domains.domain,
        visitors.npi,
        domains.multiplier AS domain_multiplier,
        COALESCE(visitors.multiplier, 1.0) AS npi_multiplier,
        click_rate * domains.click_ratio * COALESCE(visitors.click_ratio, 1.0) AS click_chance,
        exp(log_level + domains.price_effect + COALESCE(visitors.price_effect, unknown_quality)) * noise AS exact_cpm
    FROM requests
    JOIN browsers ON browsers.group_number = requests.os AND browsers.place = requests.browser_place
    JOIN devices ON devices.group_number = requests.os AND devices.place = requests.device_place
    JOIN domains ON domains.group_number = requests.adspace AND domains.place = requests.domain_place
    LEFT JOIN visitors ON visitors.place = requests.visitor_place
),
rivalled AS (
    SELECT
        *,
        IF(run_id IS NULL, base_bid_cpm, base_bid_cpm * domain_multiplier * npi_multiplier) AS bid_cpm,
        CASE
            WHEN has_no_rival THEN 0
            WHEN NOT is_round THEN exact_cpm
            WHEN exact_cpm < 2 THEN greatest(round(exact_cpm * 4) / 4, 0.25)
            WHEN exact_cpm < 5 THEN round(exact_cpm * 2) / 2
            WHEN exact_cpm < 20 THEN round(exact_cpm)
            WHEN exact_cpm < 100 THEN round(exact_cpm / 5) * 5
            ELSE round(exact_cpm / 25) * 25
        END AS rival_cpm
    FROM priced
)
SELECT
    CAST($first_id + row_number() OVER () - 1 AS VARCHAR) AS bid_id,
    day_start + to_microseconds(CAST(arrival * 86399999999 AS BIGINT)) AS bid_ts,
    * EXCLUDE (day_start, arrival),
    can_win AND bid_cpm >= rival_cpm AS is_won
FROM rivalled
"""
"""The auctions of some days: the requests of each segment, each with its domain, visitor and best rival."""

_BIDS_SQL = """
INSERT INTO bids BY NAME
SELECT
    bid_id,
    bid_ts,
    $object_id AS object_id,
    run_id,
    internal_adspace_id,
    geo_region_name,
    os_code,
    browser_code,
    device_type,
    domain,
    npi,
    bid_cpm,
    IF(run_id IS NULL, NULL, base_bid_cpm) AS base_bid_cpm,
    IF(run_id IS NULL, NULL, domain_multiplier) AS domain_multiplier,
    IF(run_id IS NULL, NULL, npi_multiplier) AS npi_multiplier
FROM auctions
"""

_VIEWS_SQL = """
INSERT INTO views BY NAME
SELECT bid_id, bid_ts + to_microseconds(CAST(lag_draw * 20e6 + 5e5 AS BIGINT)) AS view_ts, bid_cpm AS cost_cpm,
    $revenue AS revenue
FROM auctions
WHERE is_won
"""

_CLICKS_SQL = """
INSERT INTO clicks BY NAME
SELECT bid_id, bid_ts + to_microseconds(CAST(lag_draw * 110e6 + 2e6 AS BIGINT)) AS click_ts, $revenue AS revenue
FROM auctions
WHERE is_won AND click_draw < click_chance
"""
