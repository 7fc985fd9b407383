"""Auctions that took place: bids on requests, and what the log shows of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta

import numpy as np

from lab.second_market.log_policy import logged_bids
from lab.second_market.market import Market
from lab.second_market.prices import draw_prices
from lab.second_market.requests import Requests, concat_requests, draw_requests
from lab.second_market.settings import FIRST_DAY
from lab.second_market.streams import stream


@dataclass(frozen=True, slots=True)
class Bids:
    """One bid a request, CPM, shape (n,): bid = base x domain multiplier x NPI multiplier; NaN where none is made."""

    bid_cpm: np.ndarray
    base_cpm: np.ndarray
    domain_multiplier: np.ndarray
    npi_multiplier: np.ndarray


@dataclass(frozen=True, slots=True)
class Auctions:
    """Auctions with a bid, as the log shows them.

    is_won: has a view; cost_cpm: 0 where it has none. run_ids: the run that priced all bids of a day, by day number.
    """

    requests: Requests
    bids: Bids
    is_won: np.ndarray
    is_clicked: np.ndarray
    cost_cpm: np.ndarray
    run_ids: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.is_won)


def settle(market: Market, requests: Requests, bids: Bids, *, run_ids: Mapping[int, str]) -> Auctions:
    """Return the auctions of the requests that are bid on; the rivals are the same for every bidder."""
    chance = stream(market.seed, "rivals", int(requests.day[0]), int(requests.day[-1]))
    price = draw_prices(market, requests, chance=chance)
    is_noticed = chance.random(len(requests)) >= market.settings.lost_notices
    may_click = chance.random(len(requests)) < market.settings.click_rate
    with np.errstate(invalid="ignore"):
        is_won = (bids.bid_cpm > price) & (bids.bid_cpm >= market.floor_cpm[requests.segment]) & is_noticed
    paid = price if market.settings.is_second_price else bids.bid_cpm
    cost = np.where(is_won, paid, 0.0)
    is_bid = ~np.isnan(bids.bid_cpm)
    made = Bids(*(getattr(bids, column.name)[is_bid] for column in fields(Bids)))
    won, clicked = is_won[is_bid], (is_won & may_click)[is_bid]
    return Auctions(requests.pick(is_bid), made, won, clicked, cost[is_bid], run_ids)


def log_auctions(market: Market) -> Auctions:
    """Return the market's log: the days before the first run."""
    s = market.settings
    requests = draw_requests(market, days=range(s.log_days), per_day=s.bids_a_day)
    return settle(market, requests, old_bids(market, requests), run_ids=old_run_ids(range(s.log_days)))


def old_bids(market: Market, requests: Requests) -> Bids:
    """Return the bids of the log's policy, which knows no multipliers."""
    bid, ones = logged_bids(market, requests), np.ones(len(requests))
    return Bids(bid, bid, ones, ones)


def old_run_ids(days: Iterable[int]) -> dict[int, str]:
    """Return the run ids of the log's policy by day number; nobody knows what those runs planned."""
    return {day: f"old_{FIRST_DAY + timedelta(days=day):%Y%m%d}" for day in days}


def concat_auctions(parts: Sequence[Auctions]) -> Auctions:
    """Return the auctions of all parts, in their order."""
    bids = Bids(*(np.concatenate([getattr(part.bids, column.name) for part in parts]) for column in fields(Bids)))
    columns = (np.concatenate([getattr(part, name) for part in parts]) for name in ("is_won", "is_clicked", "cost_cpm"))
    run_ids = {day: run_id for part in parts for day, run_id in part.run_ids.items()}
    return Auctions(concat_requests([part.requests for part in parts]), bids, *columns, run_ids)
