"""The auctions of live days: the same for a day whenever they are asked for."""

from dataclasses import dataclass
from datetime import date, timedelta

from lab.history.client import LiveClient
from lab.market.auctions import Requests, draw_requests

_WEEK_DAYS = 7


@dataclass(frozen=True, slots=True)
class LiveTraffic:
    """Auctions of a client from its first live day on."""

    client: LiveClient
    first_day: date

    def of_day(self, day: date) -> Requests:
        """Return the auctions of the day in order of time.

        Raises:
            DataError: the market has no such day.
        """
        world, count = self.client.world, _WEEK_DAYS * self.client.bids_a_day
        week_start = self.first_day + (day - self.first_day) // timedelta(weeks=1) * timedelta(weeks=1)
        week = draw_requests(world, start_day=week_start, days=_WEEK_DAYS, count=count)
        number = world.season.number(day)
        return week.between(number, number + 1)
