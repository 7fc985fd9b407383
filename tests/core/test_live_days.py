"""Which days speak for a run."""

from datetime import UTC, date, datetime, timedelta

import pytest

from optimizer.core.live_days import MOST_OF_A_DAY, WHOLE_DAY, live_days

DAY = date(2026, 2, 10)


def at(day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2026, 2, day, hour, minute, tzinfo=UTC)


def days_of(*spans, share: float = WHOLE_DAY, days: int = 30) -> list[int]:
    return sorted(day.day for day in live_days(spans, end_day=DAY, days=days, least_share=share))


@pytest.mark.parametrize(
    ("spans", "most", "whole"),
    [
        ([(at(7), None)], [7, 8, 9], [7, 8, 9]),
        ([(at(7, 6, 10), None)], [7, 8, 9], [8, 9]),
        ([(at(7, 6, 10), at(8, 6, 10))], [7], []),
        ([(at(7, 18), at(8, 20))], [8], []),
        ([(at(7, 0, 10), at(9))], [7, 8], [7, 8]),
        ([(at(7), at(8, 12)), (at(8, 12), None)], [7, 8, 9], [7, 8, 9]),  # another percent at noon
        ([(at(8), at(8, 10)), (at(8, 4), at(8, 11))], [], []),  # what both cover counts once
        ([(at(9), at(8))], [], []),  # the clocks of two machines
        ([(at(12), None)], [], []),
        ([], [], []),
    ],
)
def test_a_day_speaks_for_most_of_it_and_compares_when_whole(spans, most, whole):
    assert days_of(*spans, share=MOST_OF_A_DAY) == most
    assert days_of(*spans) == whole


def test_today_is_not_over_and_the_past_is_bounded():
    long_ago = (at(1) - timedelta(days=90), None)
    assert days_of(long_ago, days=3) == [7, 8, 9]
