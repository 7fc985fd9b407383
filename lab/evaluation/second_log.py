"""A market of the second family as a run sees it: its log, settings and served tables."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from lab.evaluation.log import ExtractedLog
from lab.evaluation.trial import TrialRun
from lab.second_market.auctions import Auctions, concat_auctions, log_auctions
from lab.second_market.cells import domain_cells, npi_totals, segment_cells, totals
from lab.second_market.ideal import binding_bid
from lab.second_market.market import Market
from lab.second_market.requests import candidates
from lab.second_market.scenarios import Scenario
from lab.second_market.served import ServedTable, spell_keys
from optimizer.core.config.settings import RunSettings
from optimizer.core.records.window_totals import WindowTotals

FREE_CAP_CPM = 100.0
"""A cap far from all bids, where none is to bind."""

USUAL_DAYS = 21
LEAST_BIDS = 30
"""A segment's usual bid is the geometric mean of this many days, where it has at least this many bids."""


@dataclass(frozen=True)
class LiveLog:
    """A log that grows by a day at a time; only the new day is aggregated.

    cells: of all days of `auctions`, by the candidate features; end_day: the day number after the last.
    """

    market: Market
    auctions: Auctions = field(repr=False)
    cells: pd.DataFrame = field(repr=False)
    view_revenue: float
    end_day: int

    @property
    def candidates(self) -> tuple[str, ...]:
        return candidates(self.market)

    @classmethod
    def open(cls, market: Market, *, view_revenue: float) -> "LiveLog":
        """Return the log before the first run."""
        auctions = log_auctions(market)
        cells = segment_cells(market, auctions, features=candidates(market), view_revenue=view_revenue)
        return cls(market, auctions, cells, view_revenue, market.settings.log_days)

    def append(self, auctions: Auctions) -> "LiveLog":
        """Return the log with the auctions of the next day."""
        cells = segment_cells(self.market, auctions, features=self.candidates, view_revenue=self.view_revenue)
        return LiveLog(
            self.market,
            concat_auctions([self.auctions, auctions]),
            pd.concat([self.cells, cells], ignore_index=True),
            self.view_revenue,
            self.end_day + 1,
        )

    def extract(self) -> ExtractedLog:
        """Return what leaves the warehouse for a run on the morning of `end_day`, which reads all days before."""
        given = {"end_day": self.end_day, "view_revenue": self.view_revenue}
        return ExtractedLog(
            self.cells,
            domain_cells(self.market, self.auctions, **given),
            npi_totals(self.market, self.auctions, **given),
            WindowTotals(**totals(self.auctions)),
        )

    def usual_bids(self, features: tuple[str, ...]) -> dict[str, float]:
        """Return the geometric mean of the base bids of the latest days by segment key, CPM, where there are enough."""
        is_recent = self.auctions.requests.day >= self.end_day - USUAL_DAYS
        keys, key_of = spell_keys(self.market, self.auctions.requests.pick(is_recent), features)
        counts = np.bincount(key_of)
        means = np.exp(np.bincount(key_of, np.log(self.auctions.bids.base_cpm[is_recent])) / counts)
        return {key: mean for key, mean, count in zip(keys, means, counts, strict=True) if count >= LEAST_BIDS}


def run_settings(scenario: Scenario, market: Market) -> RunSettings:
    """Return the settings of the scenario's runs; the cap is far away unless the scenario says that it binds."""
    given, settings = scenario.market, RunSettings()
    cap = FREE_CAP_CPM if given.cap_win_rate is None else binding_bid(market, win_rate=given.cap_win_rate)
    return settings.model_copy(
        update={
            "target_win_rate": scenario.target_win_rate,
            "max_bid_cpm": round(cap, 2),
            "npi_enabled": True,
            "domain_enabled": True,
            "auction_type": "second_price" if given.is_second_price else "first_price",
        }
    )


def view_revenue(scenario: Scenario, market: Market, settings: RunSettings) -> float:
    """Return what a view earns, currency units: so much that the margin allows the scenario's bid; 0 without one."""
    if scenario.market.margin_win_rate is None:
        return 0.0
    return binding_bid(market, win_rate=scenario.market.margin_win_rate) / (1 - settings.target_margin) / 1_000


def served_table(run: TrialRun, settings: RunSettings) -> ServedTable:
    """Return what the run publishes: served bids, keys that must not be bid on, fallback and multipliers."""
    bids, priced = run.priced.bids, run.priced
    served, blocked = bids[bids["is_served"]], bids[bids["is_blocked"]]
    return ServedTable(
        features=tuple(run.selection.features),
        bids_cpm={
            **dict(zip(served["segment_key"], served["suggested_bid_cpm"], strict=True)),
            **dict.fromkeys(blocked["segment_key"], 0.0),
        },
        fallback_cpm=priced.figures.fallback_bid_cpm,
        max_bid_cpm=settings.max_bid_cpm,
        domain_multipliers=_multipliers(priced.domains, "domain"),
        npi_multipliers=_multipliers(priced.npis, "npi"),
    )


def _multipliers(table: pd.DataFrame | None, key: str) -> dict[str, float]:
    return {} if table is None else dict(zip(table[key], table["multiplier"], strict=True))
