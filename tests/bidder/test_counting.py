"""Totals become hours, and an hour that could not be written is written later, whole."""

from datetime import UTC, datetime, timedelta

import pytest

from optimizer.bidder.counting import HourlyCounts
from optimizer.control_plane.bidder_counts import HourCount
from optimizer.errors import UnavailableError

NOON = datetime(2026, 2, 3, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Table:
    """Keeps what was written last of each hour, or is silent."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, datetime, str, str], int] = {}
        self.writes, self.is_silent = 0, False

    def write(self, counts: list[HourCount]) -> None:
        if self.is_silent:
            raise UnavailableError("the database is silent")
        self.writes += 1
        self.rows |= {tuple(count[:4]): count.impressions for count in counts}


def test_what_grew_belongs_to_the_hour_in_which_it_was_recorded():
    table = Table()
    counts = HourlyCounts(table.write)
    for total, minutes in ((3, 1), (10, 59), (10, 60), (14, 61)):
        counts.record({("a", "run", "segment"): total}, now=NOON + minutes * MINUTE)
    assert table.rows == {("a", NOON, "run", "segment"): 10, ("a", NOON + 60 * MINUTE, "run", "segment"): 4}
    assert table.writes == 3  # nothing had changed once


def test_a_silent_database_loses_no_count():
    table = Table()
    counts = HourlyCounts(table.write)
    counts.record({("a", "run", "segment"): 3}, now=NOON)
    table.is_silent = True
    for minutes, total in ((30, 5), (90, 9)):
        with pytest.raises(UnavailableError):
            counts.record({("a", "run", "segment"): total}, now=NOON + minutes * MINUTE)
    table.is_silent = False
    counts.record({("a", "run", "segment"): 9}, now=NOON + 150 * MINUTE)
    assert table.rows == {("a", NOON, "run", "segment"): 5, ("a", NOON + 60 * MINUTE, "run", "segment"): 4}


def test_counts_that_could_not_be_written_for_two_days_are_forgotten():
    table = Table()
    counts, later = HourlyCounts(table.write), NOON + timedelta(days=2, hours=1)
    table.is_silent = True
    with pytest.raises(UnavailableError):
        counts.record({("a", "run", "segment"): 3}, now=NOON)
    table.is_silent = False
    counts.record({("a", "run", "segment"): 4}, now=later)
    assert table.rows == {("a", later.replace(minute=0), "run", "segment"): 1}
