"""Daily figures of many entities: sums of all runs but controls, whole or in part."""

from datetime import date, timedelta

import pytest
from control_plane.catalog import NOW, complete_sample, open_sample

from optimizer.control_plane.live_records import replace_days
from optimizer.control_plane.live_rows import LiveDay
from optimizer.control_plane.live_series import read_day_sums, read_sums_of, read_unfinished, read_win_rates
from optimizer.control_plane.registry import CONTROL_TRIGGER

DAY = timedelta(days=1)
FIRST = date(2026, 2, 1)
COM, HCP = "drugs_com", "drugs_hcp"


def day_of(run_id: str, days_later: int, *, bids: int, wins: int, **fields) -> LiveDay:
    return LiveDay(run_id=run_id, day=FIRST + days_later * DAY, bids=bids, wins=wins, clicks=2, **fields)


@pytest.fixture
def ids(engine) -> dict[str, int]:
    """Return the ids of two entities: two runs and a control of the one share three days, the other has no days."""
    first, second = (complete_sample(engine, name, now=NOW + hour * DAY / 24) for hour, name in enumerate("ab"))
    control = complete_sample(engine, "c", now=NOW + DAY / 8, trigger_type=CONTROL_TRIGGER)
    money = {"spend": 3.0, "view_revenue": 6.0, "click_revenue": 0.0, "click_maturity": 0.5}
    days = [
        day_of(first, 0, bids=100, wins=30, **money),
        day_of(control, 0, bids=50, wins=50, **money),
        day_of(first, 1, bids=100, wins=20, **money),
        day_of(second, 1, bids=300, wins=100, **money),
        day_of(second, 2, bids=0, wins=0),
    ]
    found = {HCP: open_sample(engine, "d", now=NOW + DAY / 6).entity_id}
    replace_days(engine, found[HCP], days, now=NOW)
    return found | {COM: found[HCP] + 1}


def test_the_win_rate_of_a_day_is_that_of_all_runs_but_controls(engine, ids):
    found = read_win_rates(engine, ids.values(), since=FIRST)
    assert found[ids[HCP]] == {FIRST: 0.3, FIRST + DAY: 0.3, FIRST + 2 * DAY: None}
    assert list(found) == [ids[HCP]]
    assert list(read_win_rates(engine, ids.values(), since=FIRST + DAY)[ids[HCP]]) == [FIRST + DAY, FIRST + 2 * DAY]
    assert read_win_rates(engine, [], since=FIRST) == {}


def test_the_sums_of_one_day_are_those_of_the_series(engine, ids):
    series = read_day_sums(engine, ids.values(), since=FIRST)[ids[HCP]]
    assert [(one.day, one.bids, one.wins, one.spend) for one in series] == [
        (FIRST, 100, 30, 3.0),
        (FIRST + DAY, 400, 120, 6.0),
        (FIRST + 2 * DAY, 0, 0, None),
    ]
    for one in series:
        assert read_sums_of(engine, {ids[HCP]: one.day, ids[COM]: one.day}) == {ids[HCP]: one}
    assert read_sums_of(engine, {}) == {}


def test_the_newest_run_in_progress_is_the_one_that_counts(engine, ids):
    newest = open_sample(engine, "e", now=NOW + DAY)
    assert read_unfinished(engine, ids.values()) == {ids[HCP]: newest.run_id}
