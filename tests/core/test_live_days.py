"""Which days speak for a run."""

from datetime import UTC, date, datetime, timedelta

import pytest

from optimizer.core.live.live_window import MOST_OF_A_DAY, WHOLE_DAY, first_unsettled_day, live_days, unbroken

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


@pytest.mark.parametrize(
    ("spans", "kept"),
    [
        ([(at(7), None)], [(at(7), None)]),
        ([(at(7), at(8)), (at(8), None)], [(at(7), at(8)), (at(8), None)]),
        ([(at(8, 0, 5), None), (at(7), at(8))], [(at(7), at(8)), (at(8, 0, 5), None)]),  # two statements of a UI
        ([(at(1), at(3)), (at(7), at(8)), (at(8), None)], [(at(7), at(8)), (at(8), None)]),
        ([(at(1), at(7)), (at(8), None)], [(at(8), None)]),
        ([(at(7), None), (at(8), None)], [(at(7), None), (at(8), None)]),
        ([], []),
    ],
)
def test_a_run_that_was_off_is_judged_by_what_came_after(spans, kept):
    assert unbroken(spans) == kept


@pytest.mark.parametrize(("now", "day"), [(at(10, 1, 59), 9), (at(10, 2, 30), 10), (at(10, 23), 10)])
def test_yesterday_counts_once_its_events_had_time_to_arrive(now, day):
    assert first_unsettled_day(now) == date(2026, 2, day)
