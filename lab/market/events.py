"""From requests and bids to the events of the log."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import numpy as np
import pyarrow as pa

from lab.market.auctions import Requests, draw_requests
from lab.market.data_quality import Dirt, soil
from lab.market.epochs import Epoch, standard_epochs
from lab.market.outcome import request_click_rate
from lab.market.policies import Policy, Prices
from lab.market.tables import BIDS_SCHEMA, CLICKS_SCHEMA, VIEWS_SCHEMA, Events, concat_events
from lab.market.world import World
from optimizer.errors import ConfigError

_LEAST_COST_CPM = 0.01
_VIEW_LAG_US, _CLICK_LAG_US, _HOUR_US = 20_000_000, 90_000_000, 3_600_000_000


def generate_events(
    world: World,
    *,
    start_day: date,
    days: int,
    bids: int,
    epochs: Sequence[Epoch] | None = None,
    dirt: Dirt | None = None,
    seed: int | None = None,
) -> Events:
    """Return the log of `bids` requests in the days [start_day, start_day + days).

    Args:
        epochs: who bids and for how long, `standard_epochs` by default; their days add up to `days`.
        dirt: what is wrong with the log; nothing by default.
        seed: which requests come; the world's seed by default.

    Raises:
        ConfigError: there are no bids, or the epochs do not cover the days.
        DataError: a day is outside the market's horizon.
    """
    if bids < 1 or days < 1:
        raise ConfigError(f"a log of {bids} bids in {days} days holds nothing; ask for one bid and one day at least")
    epochs = standard_epochs(world, start_day=start_day, days=days) if epochs is None else epochs
    if (covered := sum(epoch.days for epoch in epochs)) != days:
        raise ConfigError(f"the epochs cover {covered} days and the log has {days}; make them equal")
    requests = draw_requests(world, start_day=start_day, days=days, count=bids, seed=seed)
    first, seen_bid_cpm, parts = world.season.number(start_day), None, []
    for epoch in epochs:
        part = requests.between(first, first + epoch.days)
        first += epoch.days
        if len(part):
            prices = epoch.policy.price(world, part)
            part, seen_bid_cpm = _chase_bids(world, part, prices=prices, seen_bid_cpm=seen_bid_cpm)
            parts.append(settle(world, part, prices=prices))
    return soil(concat_events(parts), dirt=dirt or Dirt(), seed=world.seed if seed is None else seed)


def serve(world: World, requests: Requests, *, policy: Policy) -> Events:
    """Return the events of requests that a policy bids on, to be appended to the log."""
    return settle(world, requests, prices=policy.price(world, requests))


def settle(world: World, requests: Requests, *, prices: Prices) -> Events:
    """Return what the bids bring: one at or above the best rival and the floor wins, unless it is lost otherwise."""
    with np.errstate(invalid="ignore"):
        is_won = (prices.bid_cpm >= np.maximum(requests.rival_cpm, requests.floor_cpm)) & (prices.bid_cpm > 0)
    won = np.flatnonzero(is_won & ~requests.is_lost_otherwise)
    clicked = won[requests.click_draw[won] < request_click_rate(world, requests)[won]]
    bids = _tabulate_bids(world, requests, prices=prices)
    view_ts = requests.bid_ts + (requests.lag_draw * _VIEW_LAG_US).astype(np.int64) + 500_000
    click_ts = view_ts + _click_lag_us(world, requests)
    views = {
        "bid_id": bids["bid_id"].take(won),
        "view_ts": pa.array(view_ts[won], pa.timestamp("us")),
        "cost_cpm": _cost_cpm(world, requests, prices=prices)[won],
        "revenue": np.full(len(won), world.view_revenue),
    }
    clicks = {
        "bid_id": bids["bid_id"].take(clicked),
        "click_ts": pa.array(click_ts[clicked], pa.timestamp("us")),
        "revenue": np.full(len(clicked), world.click_revenue),
    }
    made = ~np.isnan(prices.bid_cpm)
    return Events(
        bids if made.all() else bids.filter(pa.array(made)),
        pa.table(views, schema=VIEWS_SCHEMA),
        pa.table(clicks, schema=CLICKS_SCHEMA),
    )


def mean_bids(world: World, requests: Requests, *, prices: Prices, days: np.ndarray) -> np.ndarray:
    """Return our mean bid by day number and adspace, shape (days, adspaces); NaN where there was none."""
    made = ~np.isnan(prices.bid_cpm)
    shape = (len(days), world.settings.adspaces)
    adspaces = world.population.adspace[requests.segment[made]]
    cell = np.ravel_multi_index((requests.day_number[made] - days[0], adspaces), shape)
    counts = np.bincount(cell, minlength=shape[0] * shape[1])
    sums = np.bincount(cell, prices.bid_cpm[made], minlength=shape[0] * shape[1])
    with np.errstate(invalid="ignore"):
        return (sums / counts).reshape(shape)


def _chase_bids(
    world: World, requests: Requests, *, prices: Prices, seen_bid_cpm: np.ndarray | None
) -> tuple[Requests, np.ndarray | None]:
    """Return the requests with the floors of an SSP that follows yesterday's bids, and the bids of the last day."""
    if not world.settings.floor_chase_share:
        return requests, seen_bid_cpm
    days = np.arange(requests.day_number[0], requests.day_number[-1] + 1)
    seen = mean_bids(world, requests, prices=prices, days=days)
    before = np.full_like(seen[:1], np.nan) if seen_bid_cpm is None else seen_bid_cpm[None]
    yesterday = np.concatenate([before, seen[:-1]])
    chased = np.array([world.floors.chase(row, day_number=int(day)) for row, day in zip(yesterday, days, strict=True)])
    adspaces = world.population.adspace[requests.segment]
    floor_cpm = np.maximum(requests.floor_cpm, chased[requests.day_number - days[0], adspaces].round(2))
    return replace(requests, floor_cpm=floor_cpm), seen[-1]


def _click_lag_us(world: World, requests: Requests) -> np.ndarray:
    """Microseconds from view to click, were the view clicked, shape (requests,)."""
    hours = -world.settings.click_delay_hours * np.log1p(-requests.lag_draw)
    return (requests.lag_draw * _CLICK_LAG_US + hours * _HOUR_US).astype(np.int64) + 1_000_000


def _cost_cpm(world: World, requests: Requests, *, prices: Prices) -> np.ndarray:
    if world.settings.auction_type == "first_price":
        return prices.bid_cpm
    return np.maximum(np.maximum(requests.rival_cpm, requests.floor_cpm), _LEAST_COST_CPM)


def _tabulate_bids(world: World, requests: Requests, *, prices: Prices) -> pa.Table:
    visible = requests.visible(world)
    columns = {name: visible[name] for name in visible.column_names}
    columns["object_id"] = np.full(len(requests), world.settings.object_id)
    for name in ("bid_cpm", "base_bid_cpm", "domain_multiplier", "npi_multiplier"):
        column = getattr(prices, name)
        columns[name] = pa.nulls(len(requests), pa.float64()) if column is None else pa.array(column)
    columns["run_id"] = pa.nulls(len(requests), pa.string()) if prices.run_id is None else prices.run_id
    columns["privacy"], columns["is_test"] = (pa.nulls(len(requests), it) for it in (pa.string(), pa.bool_()))
    return pa.table(columns, schema=BIDS_SCHEMA)
