"""One market for all tests, and what it logged."""

from datetime import date

import pytest

from lab.market.events import generate_events
from lab.market.presets import PRESETS
from lab.market.tables import Events
from lab.market.world import World

START_DAY = date(2026, 1, 5)
DAYS, BIDS = 30, 300_000


@pytest.fixture(scope="session")
def world() -> World:
    return World.create(7, settings=PRESETS["drugs_hcp"])


@pytest.fixture(scope="session")
def log(world: World) -> Events:
    return generate_events(world, start_day=START_DAY, days=DAYS, bids=BIDS)
