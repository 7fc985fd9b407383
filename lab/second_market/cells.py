"""The log as a run reads it: cells and totals made in numpy, column by column as the optimizer's SQL makes them."""

import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta

import numpy as np
import pandas as pd

from lab.second_market.auctions import Auctions
from lab.second_market.market import Market
from lab.second_market.requests import feature_codes
from lab.second_market.settings import FIRST_DAY
from optimizer.core.landscape.cells import PRICE_BUCKET_WIDTH
from optimizer.core.landscape.click_delay import mature_day
from optimizer.core.landscape.second_price import SHADOW_PERCENTS, wins_column
from optimizer.core.landscape.win_rate import LATEST_DAYS


def segment_cells(
    market: Market, auctions: Auctions, *, features: Sequence[str], view_revenue: float = 0.0
) -> pd.DataFrame:
    """Return the cells by candidate features, as include/sql/snowflake/segment_cells.sql does.

    Args:
        view_revenue: currency units that a view earns.
    """
    coded = {"day": _days(auctions), **{name: feature_codes(market, auctions.requests, name) for name in features}}
    coded["price_bucket"] = _buckets(auctions.bids.bid_cpm)
    coded["base_price_bucket"] = _buckets(auctions.bids.base_cpm)
    group, keys = _group(coded)
    names = {day: auctions.run_ids.get(int(day)) for day in np.unique(auctions.requests.day)}
    first = _first_of(group)
    run_id = np.array([names[day] for day in auctions.requests.day[first]], dtype=object)
    shadow = _shadow_wins(auctions, group) if market.settings.is_second_price else {}
    return pd.DataFrame({**keys, "run_id": run_id, **shadow, **_sums(auctions, group, view_revenue)})


def domain_cells(market: Market, auctions: Auctions, *, end_day: int, view_revenue: float = 0.0) -> pd.DataFrame:
    """Return the cells by domain, as domain_cells.sql does; end_day is the day number after the window's last."""
    group, keys = _group(
        {
            "day": _days(auctions),
            "domain": feature_codes(market, auctions.requests, "domain"),
            "price_bucket": _buckets(auctions.bids.bid_cpm),
        }
    )
    multiplied = _multiplied(auctions, group, auctions.bids.domain_multiplier, end_day)
    return pd.DataFrame({**keys, **multiplied, **_sums(auctions, group, view_revenue)})


def npi_totals(market: Market, auctions: Auctions, *, end_day: int, view_revenue: float = 0.0) -> pd.DataFrame:
    """Return the totals by identified professional and day, as npi_totals.sql does."""
    is_known = auctions.requests.npi >= 0
    codes, names = feature_codes(market, auctions.requests, "npi")
    day_of, days = _days(auctions, since=mature_day(_date(end_day)))
    group = np.full(len(auctions), -1)
    group[is_known], keys = _group({"npi": (codes[is_known], names), "day": (day_of[is_known], days)})
    count = len(keys["npi"])
    group = np.where(is_known, group, count)  # visitors that are not identified: one group more, left out below
    multiplied = _multiplied(auctions, group, auctions.bids.npi_multiplier, end_day)
    sums = {name: values[:count] for name, values in {**multiplied, **_sums(auctions, group, view_revenue)}.items()}
    return pd.DataFrame({**keys, **sums})


def totals(auctions: Auctions) -> dict[str, int | str]:
    """Return what `optimizer.core.records.window_totals.WindowTotals` holds; this log has no dirt."""
    count, wins = len(auctions), int(auctions.is_won.sum())
    first, last = (datetime.combine(_date(day), time(12)) for day in auctions.requests.day[[0, -1]])
    return {
        "bid_rows": count,
        "distinct_bids": count,
        "usable_bids": count,
        "zero_bids": 0,
        "first_bid_ts": str(first),
        "last_bid_ts": str(last),
        "joined_views": wins,
        "duplicate_views": 0,
        "joined_clicks": int(auctions.is_clicked.sum()),
        "orphan_views": 0,
        "orphan_clicks": 0,
    }


Coded = tuple[np.ndarray, np.ndarray]
"""Codes, shape (n,), and the values that they stand for, in order."""


def _date(day: int) -> date:
    return FIRST_DAY + timedelta(days=int(day))


def _days(auctions: Auctions, *, since: date | None = None) -> Coded:
    """The days; those before `since` count as that day."""
    least = -math.inf if since is None else (since - FIRST_DAY).days
    days = np.maximum(auctions.requests.day, least).astype(int)
    first, last = int(days[0]), int(days[-1])
    return days - first, np.array(pd.date_range(_date(first), _date(last)))


def _buckets(price_cpm: np.ndarray) -> Coded:
    bucket = np.round(np.log(price_cpm) / PRICE_BUCKET_WIDTH).astype(int)
    least = bucket.min()
    return bucket - least, np.arange(least, bucket.max() + 1)


def _group(coded: Mapping[str, Coded]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the group of each row, shape (n,), and the values of each group, by column, groups sorted by value."""
    key = np.zeros(len(next(iter(coded.values()))[0]), dtype=np.int64)
    for codes, values in coded.values():
        key = key * len(values) + codes
    distinct, group = np.unique(key, return_inverse=True)
    found = {}
    for name, (_, values) in reversed(coded.items()):
        distinct, codes = np.divmod(distinct, len(values))
        found[name] = values[codes]
    return group, {name: found[name] for name in coded}


def _first_of(group: np.ndarray) -> np.ndarray:
    first = np.zeros(int(group.max()) + 1, dtype=int)
    first[group[::-1]] = np.arange(len(group))[::-1]
    return first


def _sums(auctions: Auctions, group: np.ndarray, view_revenue: float) -> dict[str, np.ndarray]:
    def add(values: np.ndarray) -> np.ndarray:
        return np.bincount(group, values)

    wins = np.bincount(group, auctions.is_won).astype(np.int64)
    return {
        "bids": np.bincount(group),
        "wins": wins,
        "clicks": np.bincount(group, auctions.is_clicked).astype(np.int64),
        "bid_cpm_sum": add(auctions.bids.bid_cpm),
        "base_bid_cpm_sum": add(auctions.bids.base_cpm),
        "cost_cpm_sum": add(auctions.cost_cpm),
        "view_revenue": wins * view_revenue,
        "click_revenue": np.zeros(len(wins)),
        "floor_cpm_max": np.full(len(wins), np.nan),
    }


def _multiplied(auctions: Auctions, group: np.ndarray, multiplier: np.ndarray, end_day: int) -> dict[str, np.ndarray]:
    is_recent = auctions.requests.day >= end_day - LATEST_DAYS
    return {
        "multiplied_bids": np.bincount(group, is_recent).astype(np.int64),
        "log_multiplier_sum": np.bincount(group, np.where(is_recent, np.log(multiplier), 0.0)),
    }


def _shadow_wins(auctions: Auctions, group: np.ndarray) -> dict[str, np.ndarray]:
    return {
        wins_column(percent): np.bincount(
            group, auctions.is_won & (auctions.cost_cpm <= auctions.bids.bid_cpm * percent / 100)
        ).astype(np.int64)
        for percent in SHADOW_PERCENTS
    }
