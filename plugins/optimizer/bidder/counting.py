"""Counts of a bidder process by hour, on their way to the control plane."""

import os
import socket
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from optimizer.control_plane.bidder_counts import HourCount

KEPT = timedelta(days=2)
"""Counts that could not be written are kept this long."""

Totals = Mapping[tuple[str, str, str], int]
"""{(entity_code, run_id or tally.NO_RUN, outcome): impressions since the process began}."""

Write = Callable[[list[HourCount]], None]


def bidder_name(*, started_at: datetime) -> str:
    """Return the name of this process, which no other has: host, process id and start."""
    return f"{socket.gethostname()[:60]}:{os.getpid()}:{started_at.astimezone(UTC):%Y%m%dT%H%M%S}"


class HourlyCounts:
    """Splits growing totals into hours, and writes each hour's sum until it is written for good.

    What comes between two calls belongs to the hour of the later one, so an hour is off by at most the time between.
    """

    def __init__(self, write: Write) -> None:
        self._write, self._seen = write, defaultdict[tuple[str, str, str], int](int)
        self._hours: defaultdict[tuple[str, datetime, str, str], int] = defaultdict(int)
        self._unwritten: set[tuple[str, datetime, str, str]] = set()

    def record(self, totals: Totals, *, now: datetime) -> None:
        """Add what the totals grew by to the hour of `now`, and write every sum that changed since it was written.

        Raises:
            OptimizerError: it could not be written; the next call writes it too.
        """
        hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        for (entity_code, run_id, outcome), total in totals.items():
            grown = total - self._seen[entity_code, run_id, outcome]
            if grown > 0:
                self._seen[entity_code, run_id, outcome] = total
                self._hours[entity_code, hour, run_id, outcome] += grown
                self._unwritten.add((entity_code, hour, run_id, outcome))
        self._forget(before=hour - KEPT)
        if self._unwritten:
            self._write([HourCount(*key, self._hours[key]) for key in sorted(self._unwritten)])
            self._unwritten.clear()
            self._forget(before=hour)

    def _forget(self, *, before: datetime) -> None:
        for key in [key for key in self._hours if key[1] < before]:
            del self._hours[key]
            self._unwritten.discard(key)
