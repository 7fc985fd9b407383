"""The world outside: a market whose truth is known, and the SSP that asks our bidder for each of its auctions."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa

from lab.market.auctions import Requests, draw_requests
from lab.market.epochs import Epoch, calibrate_optimizer
from lab.market.events import generate_events, settle
from lab.market.outcome import ExpectedOutcome, expect_outcome
from lab.market.policies import JitteredOptimizer, Prices
from lab.market.settings import WorldSettings
from lab.market.tables import Events
from lab.market.world import World

FIRST_DAY = date(2025, 12, 9)
HISTORY_DAYS, CHANGE_DAY = 56, 28
HISTORY_BIDS, LIVE_BIDS_A_DAY = 56_000, 1_500
SEED = 7

DEVICE_NUMBERS = {"phone": 4, "tablet": 5, "desktop": 2}

Bidder = Callable[[bytes], dict[str, Any] | None]
"""A bid request of OpenRTB to the bid response, or None where nothing is bid."""


@dataclass(frozen=True)
class LiveDays:
    """What some days of live bidding brought: the events, and by run_id what its bids were truly worth."""

    events: Events
    truth: dict[str, ExpectedOutcome]

    def bid_counts(self) -> dict[str, int]:
        """Return how many auctions each run bid in."""
        return {run_id: outcome.requests for run_id, outcome in self.truth.items()}

    def shares(self) -> dict[str, float]:
        """Return each run's share of the bids."""
        counts = self.bid_counts()
        return {run_id: count / sum(counts.values()) for run_id, count in counts.items()}


@dataclass(frozen=True)
class SimulatedMarket:
    """A market of the demo's first client, drugs_hcp."""

    world: World

    @classmethod
    def create(cls) -> "SimulatedMarket":
        """Return a small market in which controls begin to pay 70 % more, 28 days after its first."""
        settings = WorldSettings(
            first_day=FIRST_DAY,
            adspaces=4,
            segments=60,
            domains=12,
            npis=200,
            typical_bids=HISTORY_BIDS,
            market_median_cpm=10.0,
            logged_win_rate=0.5,
            click_rate=0.01,
            value_ratio=4.0,
            day_sd=0.04,
            change_day=CHANGE_DAY,
            price_step=math.log(1.7),
        )
        return cls(World.create(SEED, settings=settings))

    def history(self, *, jitter_sd: float = 0.10) -> Events:
        """Return eight weeks of a bidder without our runs, whose bids were varied at random by this share."""
        usual = calibrate_optimizer(self.world, start_day=FIRST_DAY, days=HISTORY_DAYS)
        return generate_events(
            self.world,
            start_day=FIRST_DAY,
            days=HISTORY_DAYS,
            bids=HISTORY_BIDS,
            epochs=[Epoch(JitteredOptimizer(replace(usual, held_day=0), seed=SEED, jitter_sd=jitter_sd), HISTORY_DAYS)],
        )

    def hold_auctions(self, bidder: Bidder, *, start_day: date, days: int) -> LiveDays:
        """Return what comes of it where the bidder is asked for a bid in every auction of these days."""
        requests = draw_requests(self.world, start_day=start_day, days=days, count=days * LIVE_BIDS_A_DAY)
        asked = requests.visible(self.world).to_pylist()
        prices = _as_prices([_bid_of(bidder(_openrtb(row))) for row in asked])
        run_ids = np.array(prices.run_id.to_pylist(), dtype=object)
        truth = {}
        for run_id in set(run_ids) - {None}:
            own = run_ids == run_id
            truth[run_id] = expect_outcome(self.world, _pick(requests, own), prices=Prices(prices.bid_cpm[own]))
        return LiveDays(settle(self.world, requests, prices=prices), truth)


def _openrtb(row: dict[str, Any]) -> bytes:
    """The SSP's bid request for an auction, as the bidder's openrtb.toml expects it."""
    request = {
        "id": row["bid_id"],
        "imp": [{"id": "1", "tagid": row["internal_adspace_id"]}],
        "site": {"domain": row["domain"]},
        "device": {
            "os": row["os_code"],
            "geo": {"region": row["geo_region_name"]},
            "devicetype": DEVICE_NUMBERS[row["device_type"]],
            "ext": {"browser": row["browser_code"]},
        },
        "user": {"ext": {"npi": row["npi"]}},
    }
    return json.dumps(request).encode()


def _bid_of(response: dict[str, Any] | None) -> dict[str, Any]:
    """The parts of the response's one bid, in the columns of BIDS."""
    return {} if response is None else response["seatbid"][0]["bid"][0]["ext"]


def _as_prices(bids: list[dict[str, Any]]) -> Prices:
    numbers = ("bid_cpm", "base_bid_cpm", "domain_multiplier", "npi_multiplier")
    columns = {name: np.array([bid.get(name, np.nan) for bid in bids], dtype=float) for name in numbers}
    return Prices(**columns, run_id=pa.array([bid.get("run_id") for bid in bids], pa.string()))


def _pick(requests: Requests, chosen: np.ndarray) -> Requests:
    return Requests(*(getattr(requests, name)[chosen] for name in Requests.__dataclass_fields__))
