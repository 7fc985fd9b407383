import numpy as np
import pytest
from reporting.stories import backtest, bid_table, check, story, without_active_run, without_bids

from optimizer.core.pricing import bids
from optimizer.presentation.formats import amount, change, count, percent
from optimizer.reporting import tables


def test_changes_are_ordered_by_how_much_traffic_they_move():
    table = bid_table(5).assign(
        segment_key=["small move", "halved", "doubled", "same", "new"],
        bids=[1000, 100, 90, 5000, 9000],
        previous_bid_cpm=[10.0, 10.0, 10.0, 10.0, np.nan],
        planned_bid_cpm=[10.5, 5.0, 20.0, 10.0, 12.0],
    )
    rows = tables.change_rows(story(bids=table))
    assert [row.segment_key for row in rows] == ["halved", "doubled", "small move"]
    assert (rows[0].before, rows[0].now, rows[0].change, rows[0].requests) == (
        amount(10.0),
        amount(5.0),
        change(-0.5),
        count(100),
    )


def test_no_more_changes_are_shown_than_fit_and_none_that_is_smaller():
    whole = bid_table(200)
    weight = np.log(whole["planned_bid_cpm"] / whole["previous_bid_cpm"]).abs() * whole["bids"]
    expected = whole.assign(weight=weight).nlargest(tables.MOST_CHANGES, "weight")["segment_key"].tolist()
    assert [row.segment_key for row in tables.change_rows(story(bids=whole))] == expected


def test_the_summary_shows_the_mean_change_over_requests_and_added_and_removed_segments():
    table = bid_table(4).assign(
        bids=[300, 100, 50, 50],
        previous_bid_cpm=[10.0, 10.0, np.nan, 10.0],
        planned_bid_cpm=[11.0, 8.0, 9.0, np.nan],
    )
    summary = tables.change_summary(story(bids=table))
    assert "the bids of 2 segments" in summary
    assert change((300 * 0.1 - 100 * 0.2) / 400) in summary
    assert "new: 1 segment;" in summary
    assert "without a bid now: 1 segment." in summary


def test_without_an_active_run_nothing_changed():
    first = story(bids=without_active_run(bid_table()), active_run_id=None)
    assert tables.change_rows(first) == []
    assert "no active run" in tables.change_summary(first)


def test_failed_checks_come_first_then_warnings_and_only_they_say_what_to_do():
    checks = [
        check("a", message="never shown"),
        check("b", severity="soft", is_passed=False, message="look at b"),
        check("c"),
        check("d", is_passed=False, message="mend d"),
    ]
    rows = tables.check_rows(story(checks=checks))
    assert [(row.name, row.verdict, row.message) for row in rows] == [
        ("d", "failed", "mend d"),
        ("b", "warning", "look at b"),
        ("a", "passed", ""),
        ("c", "passed", ""),
    ]
    assert (rows[0].figure, rows[0].limit) == ("0.0321", "≤ 0.08")


def test_every_reason_that_a_bid_can_have_is_explained():
    assert set(bids.REASONS) == set(tables.REASONS)


def test_an_explored_bid_is_shown_as_raised_since_jitter_varies_all_bids():
    told = tables.reason_rows(story(bids=bid_table(4).assign(reason="exploration")))
    assert [row.meaning for row in told] == ["thin, below the target: lifted to the upper end of what may be right"]


def test_a_bid_that_no_bound_touched_wins_the_target_where_each_segment_has_it():
    bids = bid_table(4).assign(reason="target")
    told = {scope: tables.reason_rows(story(bids=bids, win_rate_scope=scope)) for scope in ("portfolio", "segment")}
    assert [row.meaning for row in told["portfolio"]] == ["no bound: what is wanted at the shadow price"]
    assert [row.meaning for row in told["segment"]] == ["no bound: wins the target of its segment"]


def test_no_bid_is_not_put_down_to_a_floor_alone():
    told = tables.reason_rows(story(bids=without_bids(bid_table(4))))
    assert [row.meaning for row in told] == ["no bid: nothing is left between its floor and what margin and cap allow"]


def test_reasons_are_counted_and_weighed():
    table = bid_table(4).assign(bids=[600, 200, 150, 50], reason=["target", "step", "step", "cap"])
    rows = tables.reason_rows(story(bids=table))
    assert [(row.reason, row.segments, row.requests) for row in rows] == [
        ("target", "1", percent(0.6)),
        ("step", "2", percent(0.35)),
        ("cap", "1", percent(0.05)),
    ]


def test_a_difference_is_clear_where_its_interval_leaves_nought_out():
    rows = {row.quantity: row for row in tables.backtest_rows(story())}
    assert {name: row.difference.is_clear for name, row in rows.items()} == {
        "Win rate": True,
        "Spend": False,
        "CPM": True,
        "Surplus": False,
        "Margin": False,
    }
    assert rows["Surplus"].difference.interval == ""
    assert rows["CPM"].new.interval == "14.30 to 14.90"


@pytest.mark.parametrize("told", [None, backtest(rows=())])
def test_a_backtest_without_numbers_has_no_rows(told):
    assert tables.backtest_rows(story(backtest=told)) == []
