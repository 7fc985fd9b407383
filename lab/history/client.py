"""The client with live days: a small market, in which three weeks are enough to see what the optimizer does."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta

from lab.market.events import generate_events
from lab.market.presets import PRESETS
from lab.market.tables import Events
from lab.market.world import World

ENTITY = "drugs_hcp"

VALUES: Mapping[str, str] = {"promotion": "approval"}
"""Config values of the entity: a user approves each run."""

BIDS_A_DAY = 10_000
"""With fewer the slope is known too little, and the jitter that it takes to learn it needs all of the daily step."""

_SEED = 20260203


@dataclass(frozen=True, slots=True)
class LiveClient:
    """An entity with its market.

    Attributes:
        bids_a_day: mean number of auctions a day; weekdays differ.
    """

    world: World
    entity_code: str = ENTITY
    bids_a_day: int = BIDS_A_DAY


def create_client(*, first_day: date, bids_a_day: int = BIDS_A_DAY) -> LiveClient:
    """Return the client: its market has fewer segments than the preset's, and more clicks, so that margins can be seen.

    Args:
        first_day: of its log.
    """
    settings = replace(PRESETS[ENTITY], first_day=first_day, segments=150, domains=60, npis=1_000, click_rate=0.003)
    return LiveClient(World.create(_SEED, settings=settings), bids_a_day=bids_a_day)


def generate_log(client: LiveClient, *, until: date) -> Events:
    """Return the log before the first live day: of the market's first day up to the day before `until`."""
    start_day = client.world.settings.first_day
    days = (until - start_day) // timedelta(days=1)
    return generate_events(client.world, start_day=start_day, days=days, bids=days * client.bids_a_day)
