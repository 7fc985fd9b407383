import pytest
from reporting.stories import backtest, bid_table, check, story, without_bids

from optimizer.core.pricing import bids
from optimizer.presentation.formats import percent
from optimizer.reporting import tables


def test_failed_checks_come_first_then_warnings_and_only_they_say_what_to_do():
    checks = [
        check("a", message="never shown"),
        check("b", severity="soft", is_passed=False, message="look at b"),
        check("c"),
        check("d", is_passed=False, message="fix d"),
    ]
    rows = tables.check_rows(story(checks=checks))
    assert [(row.name, row.verdict, row.message) for row in rows] == [
        ("d", "failed", "fix d"),
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
