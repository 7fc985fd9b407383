"""The markets that the optimizer is tried on: a world, a scenario, what is wrong with the log."""

from dataclasses import dataclass, field, replace
from datetime import date, timedelta

import numpy as np

from lab.evaluation.judgement import meet_policy, true_slope
from lab.evaluation.log import ExtractedLog, extract_log
from lab.market.data_quality import Dirt
from lab.market.epochs import standard_epochs
from lab.market.events import generate_events
from lab.market.presets import PRESETS
from lab.market.scenarios import with_scenario
from lab.market.tables import Events
from lab.market.world import World
from optimizer.core.config.settings import RunSettings
from optimizer.core.landscape.second_price import SHADOW_PERCENTS

START_DAY = date(2026, 1, 5)
SLOPE_REQUESTS = 100_000

TARGET_ONLY = RunSettings(npi_enabled=True, domain_enabled=True, max_bid_cpm=1_000.0).model_copy(
    update={"daily_step_limit": 100.0}
)
"""What is asked of the optimizer where the win rate alone is judged: no cap near the bids, and no daily step, so that
one run may go where a week of runs would.
"""

DAILY = TARGET_ONLY.model_copy(update={"daily_step_limit": RunSettings().daily_step_limit})
"""The same for daily runs, which keep the daily step."""


@dataclass(frozen=True, slots=True)
class Case:
    """One market with one log. Everything follows from these values.

    Nothing is earned in it unless `value_ratio` says so, so that the target alone decides the bids.
    changed_days: that many of the log's last days lie after the scenario's change.
    """

    seed: int
    scenario: str = "steady"
    preset: str = "drugs_hcp"
    bids: int = 300_000
    days: int = 60
    changed_days: int = 14
    value_ratio: float = 0.0
    is_second_price: bool = False
    dirt: Dirt = field(default_factory=Dirt)

    @property
    def end_day(self) -> date:
        """The day after the log's last."""
        return START_DAY + timedelta(days=self.days)

    def create_world(self) -> World:
        market = replace(PRESETS[self.preset], value_ratio=self.value_ratio)
        if self.is_second_price:
            market = replace(market, auction_type="second_price")
        scenario = with_scenario(market, name=self.scenario, change_day=self.days - self.changed_days)
        return World.create(self.seed, settings=scenario)

    def generate_log(self, world: World) -> Events:
        return generate_events(world, start_day=START_DAY, days=self.days, bids=self.bids, dirt=self.dirt)

    def extract(self, world: World, events: Events) -> ExtractedLog:
        return extract_log(
            events,
            object_id=world.settings.object_id,
            end_day=self.end_day,
            days=self.days,
            is_second_price=self.is_second_price,
        )

    def logged_slope(self, world: World) -> float:
        """Return the true slope at the bids of the log's last epoch, after a change if there was one.

        A second-price log shows that of its shadow bids.
        """
        epoch = standard_epochs(world, start_day=START_DAY, days=self.days)[-1]
        days = epoch.days if self.scenario == "steady" else min(epoch.days, self.changed_days)
        first = self.end_day - timedelta(days=days)
        requests, _ = meet_policy(world, epoch.policy, day=first, days=days, count=SLOPE_REQUESTS, seed=self.seed + 1)
        prices = epoch.policy.price(world, requests)
        shadow = np.prod([percent / 100 for percent in SHADOW_PERCENTS]) ** (1 / (len(SHADOW_PERCENTS) + 1))
        bid_cpm = prices.bid_cpm * (shadow if self.is_second_price else 1.0)
        return true_slope(world, requests, replace(prices, bid_cpm=bid_cpm))
