"""On which UTC days a run was live: what its share of a day's traffic may be compared by."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta

MOST_OF_A_DAY = 0.5
"""A day speaks for a run that was live for at least this share of it."""

WHOLE_DAY = 0.98
"""A day compares two runs that were both live for this share of it: the bidder takes minutes to follow a new split."""

SETTLED_AFTER = timedelta(hours=2)
"""How long after its end a day still lacks events: the warehouse is loaded with a delay, and views come after bids."""

SHORTEST_BREAK = timedelta(minutes=10)
"""The statements of a UI that changes a split lie some time apart; that is not a break."""

_DAY = timedelta(days=1)


def first_unsettled_day(now: datetime) -> date:
    """Return the first UTC day whose events are not all there yet: today, and yesterday until it is settled."""
    return (now.astimezone(UTC) - SETTLED_AFTER).date()


def unbroken(spans: Iterable[tuple[datetime, datetime | None]]) -> list[tuple[datetime, datetime | None]]:
    """Return the spans since the run was last off for longer than SHORTEST_BREAK, in order.

    A run that was taken off and came back is judged again: a user brought it back, perhaps because it was fixed.
    """
    found: list[tuple[datetime, datetime | None]] = []
    for begin, until in sorted(spans, key=lambda span: span[0], reverse=True):
        if found and until is not None and until + SHORTEST_BREAK < found[-1][0]:
            break
        found.append((begin, until))
    return found[::-1]


def live_days(
    spans: Iterable[tuple[datetime, datetime | None]], *, end_day: date, days: int, least_share: float
) -> set[date]:
    """Return the UTC days before `end_day`, at most that many, of which the spans cover at least the share.

    Args:
        spans: [from, to) in UTC of each of the run's deployments; to is None where it is still live.
    """
    ordered = sorted(spans, key=lambda span: span[0])
    candidates = (end_day - number * _DAY for number in range(1, days + 1))
    return {day for day in candidates if _covered(ordered, day) >= least_share * _DAY}


def mean_share(spans: Iterable[tuple[datetime, datetime | None, float]], day: date) -> float:
    """Return the share of the traffic that a run had on the day, averaged over its hours, in the unit of the spans.

    Args:
        spans: (from, to, share) of each of its deployments; to is None where it is still live.
    """
    return sum(share * (_covered([(begin, until)], day) / _DAY) for begin, until, share in spans)


def _covered(spans: list[tuple[datetime, datetime | None]], day: date) -> timedelta:
    """How much of the day the spans cover; what two of them cover counts once."""
    reached = datetime.combine(day, time(), UTC)
    end, covered = reached + _DAY, timedelta()
    for begin, until in spans:
        first, last = max(begin, reached), min(until or end, end)
        if last > first:
            covered, reached = covered + (last - first), last
    return covered
