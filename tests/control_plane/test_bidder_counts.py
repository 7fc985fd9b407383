"""Hourly counts of several bidders: added up, written again without harm, and removed when they are old."""

from datetime import timedelta

from control_plane.catalog import NOW

from optimizer.control_plane.bidder_counts import HourCount, read_counts, remove_counts, write_counts

HOUR = timedelta(hours=1)


def read(engine, *, since=NOW - 24 * HOUR, until=NOW + HOUR):
    rows = read_counts(engine, "drugs_hcp", since=since, until=until)
    return [(row.counted_hour, row.outcome, row.impressions) for row in rows]


def test_the_counts_of_all_bidders_are_added_up_and_a_repeated_write_changes_nothing(engine):
    for _ in range(2):
        write_counts(engine, "a", [HourCount("drugs_hcp", NOW, "r1", "segment", 5)], now=NOW)
        write_counts(engine, "b", [HourCount("drugs_hcp", NOW, "r1", "segment", 7)], now=NOW)
    assert read(engine) == [(NOW, "segment", 12)]
    write_counts(engine, "a", [HourCount("drugs_hcp", NOW, "r1", "segment", 9)], now=NOW)
    assert read(engine) == [(NOW, "segment", 16)]


def test_hours_outcomes_and_entities_are_kept_apart(engine):
    counts = [
        HourCount("drugs_hcp", NOW - HOUR, "r1", "fallback", 1),
        HourCount("drugs_hcp", NOW, "r1", "below_floor", 2),
        HourCount("drugs_com", NOW, "r1", "segment", 4),
        HourCount("unknown", NOW, "r1", "segment", 8),
    ]
    write_counts(engine, "a", counts, now=NOW)
    assert read(engine) == [(NOW - HOUR, "fallback", 1), (NOW, "below_floor", 2)]
    assert read(engine, until=NOW) == [(NOW - HOUR, "fallback", 1)]


def test_old_hours_are_removed(engine):
    write_counts(engine, "a", [HourCount("drugs_hcp", NOW - at * HOUR, "r1", "segment", 1) for at in range(3)], now=NOW)
    assert remove_counts(engine, before=NOW - HOUR) == 1
    assert [hour for hour, _, _ in read(engine)] == [NOW - HOUR, NOW]
