"""The logs that are measured: one simulated market, of any size, over the same days."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta

from lab.market.epochs import Epoch, standard_epochs
from lab.market.events import generate_events
from lab.market.presets import PRESETS
from lab.market.tables import Events
from lab.market.world import World
from optimizer.core.config.settings import RunSettings

SEED = 7
START_DAY = date(2026, 1, 5)
DAYS = 60
END_DAY = START_DAY + timedelta(days=DAYS)
SETTINGS = RunSettings(npi_enabled=True, domain_enabled=True)


def create_world() -> World:
    """Return the market of every log."""
    return World.create(SEED, settings=replace(PRESETS["drugs_hcp"], first_day=START_DAY))


def generate_parts(world: World, *, bids: int, seed: int, part_days: int = 5) -> Iterator[Events]:
    """Yield a log of that many bids in parts of a few days each; another seed brings other bids on the same days."""
    day, parts = START_DAY, DAYS // part_days
    for epoch in standard_epochs(world, start_day=START_DAY, days=DAYS):
        for _ in range(epoch.days // part_days):
            part = Epoch(epoch.policy, part_days)
            yield generate_events(
                world, start_day=day, days=part_days, bids=max(1, bids // parts), epochs=[part], seed=seed
            )
            day += timedelta(days=part_days)
