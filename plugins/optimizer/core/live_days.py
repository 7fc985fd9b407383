"""On which UTC days a run was live: what its share of a day's traffic may be compared by."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta

MOST_OF_A_DAY = 0.5
"""A day speaks for a run that was live for at least this share of it."""

WHOLE_DAY = 0.98
"""A day compares two runs that were both live for this share of it: the bidder takes minutes to follow a new split."""

_DAY = timedelta(days=1)


def live_days(
    spans: Iterable[tuple[datetime, datetime | None]], *, end_day: date, days: int, least_share: float
) -> set[date]:
    """Return the UTC days before `end_day`, at most so many, of which the spans cover at least the share.

    Args:
        spans: [from, to) in UTC of each of the run's deployments; to is None where it is still live.
    """
    ordered = sorted(spans, key=lambda span: span[0])
    candidates = (end_day - number * _DAY for number in range(1, days + 1))
    return {day for day in candidates if _covered(ordered, day) >= least_share * _DAY}


def _covered(spans: list[tuple[datetime, datetime | None]], day: date) -> timedelta:
    """How much of the day the spans cover; what two of them cover counts once."""
    reached = datetime.combine(day, time(), UTC)
    end, covered = reached + _DAY, timedelta()
    for begin, until in spans:
        first, last = max(begin, reached), min(until or end, end)
        if last > first:
            covered, reached = covered + (last - first), last
    return covered
