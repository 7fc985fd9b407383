"""What happens on which live day: runs, a morning without the warehouse, a canary."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

OUTAGE_DAY = 2
"""The warehouse does not answer in the morning of this live day (0 is the first), so the run fails."""

CANARY_DAY = 5
"""From this day on a run is tried on a part of the traffic: the first that no warning holds. The next run starts when
it is decided."""

EVERY_DAYS = 3
"""After the canary a run is made every third day: a run takes about five seconds, and a replay must not take long."""

CANARY_PLAN = "20@1d, 50@2d, 100"

SHORTEST_DAYS = 9
"""In the morning after this many days the canary is decided, if its live numbers are on target."""


@dataclass(frozen=True, slots=True)
class Morning:
    """The run of one morning.

    Attributes:
        values: config values of this run alone.
        is_warehouse_away: the warehouse does not answer.
    """

    values: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    is_warehouse_away: bool = False


def morning_of(live_day: int, *, is_canary_over: bool) -> Morning | None:
    """Return the run of a live day, or None where none is made; 0 is the day on which the first run goes live.

    Args:
        is_canary_over: a run was tried before.
    """
    if live_day == OUTAGE_DAY:
        return Morning(is_warehouse_away=True)
    if live_day >= CANARY_DAY and not is_canary_over:
        return Morning(values={"promotion": "canary", "canary_plan": CANARY_PLAN})
    if live_day > CANARY_DAY and live_day % EVERY_DAYS:
        return None
    return Morning()
