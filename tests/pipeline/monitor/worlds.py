"""Simulated markets in which published bids are live, alone or beside those of a second run; their truth is known."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property

import numpy as np
import pyarrow as pa
from pipeline.driver import ENTITY, FIRST_DAY, NOW

from lab.market.auctions import Requests, draw_requests
from lab.market.events import serve
from lab.market.policies import BidTablePolicy, FlatPolicy
from lab.market.presets import PRESETS
from lab.market.tables import Events, concat_events
from lab.market.world import World

LIVE_DAYS, BIDS_A_DAY = 6, 5_000
MORNING = datetime(2026, 2, 4 + LIVE_DAYS, 2, 30, tzinfo=UTC)
"""The monitor's last morning: the run was live for most of the first day and for all of the others."""

LATE_HOURS = 20.0
SECOND = "20260204_070000"
SECOND_STEP = datetime(2026, 2, 6, 2, 30, tzinfo=UTC)

Share = float | np.ndarray


class LiveWorlds:
    """Logs of the first run in a market, alone or beside a second run that bids the same or another multiple of it.

    Args:
        table: what the bidder serves of the first run.
    """

    def __init__(self, table: BidTablePolicy) -> None:
        self._first, self._second = table, replace(table, run_id=SECOND)
        self._world = World.create(7, settings=replace(PRESETS[ENTITY], first_day=FIRST_DAY, click_rate=0.002))
        count = LIVE_DAYS * BIDS_A_DAY * 2
        self._requests = draw_requests(self._world, start_day=NOW.date(), days=LIVE_DAYS, count=count, seed=3)

    def events(self, name: str) -> Events:
        """Return the log of a world.

        In most of them the second run gets a fifth of the requests, or none does. In `stepped` it gets half from
        SECOND_STEP on, in `too_often` it gets 30 %. In `late_clicks` clicks come LATE_HOURS after their views in the
        mean, and the log holds what had come by the day before MORNING; in `later_clicks`, by MORNING. Both have the
        log of the two weeks before.
        """
        first, second = self._first, self._second
        is_early = self._requests.bid_ts < SECOND_STEP.timestamp() * 1e6
        worlds: dict[str, tuple[Share, BidTablePolicy, BidTablePolicy | None]] = {
            "kept": (0.2, first, None),
            "halved": (0.2, scale(first, 0.5), None),
            "beside": (0.2, first, second),
            "stepped": (np.where(is_early, 0.2, 0.5), first, second),
            "too_often": (0.3, first, second),
            "too_often_halved": (0.3, first, scale(second, 0.5)),
            "tripled": (0.0, scale(first, 3), None),
            "beside_tripled": (0.2, first, scale(second, 3)),
            "not_refreshed": (0.0, first, None),
            "beside_halved": (0.2, first, scale(second, 0.5)),
        }
        match name:
            case "late_clicks":
                return self._late_log.until(MORNING - timedelta(days=1))
            case "later_clicks":
                return self._late_log.until(MORNING)
            case "clicks_lost":
                own, tried = self._served(0.2, first, second)
                return concat_events([clicked(own, every=50), replace(tried, clicks=tried.clicks.slice(0, 0))])
            case _:
                return concat_events(self._served(*worlds[name]))

    def _served(self, share: Share, first: BidTablePolicy, second: BidTablePolicy | None) -> list[Events]:
        """The events of the two runs, of which the second one serves a share of the requests."""
        is_second = np.random.default_rng(3).random(len(self._requests)) < share
        policies = [(~is_second, first), *([] if second is None else [(is_second, second)])]
        return [serve(self._world, pick(self._requests, chosen), policy=policy) for chosen, policy in policies]

    @cached_property
    def _late_log(self) -> Events:
        """The events of the run alone, and of flat bids before it, in a market whose clicks come late."""
        settings = replace(PRESETS[ENTITY], first_day=FIRST_DAY, click_rate=0.02, click_delay_hours=LATE_HOURS)
        world = World.create(7, settings=settings)
        before = draw_requests(world, start_day=NOW.date() - timedelta(days=14), days=14, count=14 * BIDS_A_DAY, seed=4)
        return concat_events(
            [
                serve(world, before, policy=FlatPolicy(world.flat_bid_cpm)),
                serve(world, self._requests, policy=self._first),
            ]
        )


def pick(requests: Requests, chosen: np.ndarray) -> Requests:
    return Requests(*(getattr(requests, name)[chosen] for name in Requests.__dataclass_fields__))


def clicked(events: Events, *, every: int) -> Events:
    """Return the events with a click on one view of `every`, in place of their own."""
    views = events.views.take(list(range(0, len(events.views), every)))
    clicks = [views["bid_id"], views["view_ts"], pa.array([4.0] * len(views))]
    return replace(events, clicks=pa.Table.from_arrays(clicks, schema=events.clicks.schema))


def scale(table: BidTablePolicy, factor: float) -> BidTablePolicy:
    bids = {key: bid * factor for key, bid in table.bids.items()}
    return replace(table, bids=bids, fallback_bid_cpm=table.fallback_bid_cpm * factor)
