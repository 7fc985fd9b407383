import numpy as np
import pytest
from reporting.stories import bid_table, changed_bids, live_comparison, read_words, story

from optimizer.core.pricing.run_comparison import AnchorChange
from optimizer.core.pricing.served_changes import BOUND_REASONS, CAUSES
from optimizer.presentation.formats import amount, change, count, percent, points, signed_amount
from optimizer.reporting import live_tables
from optimizer.reporting.report_data import ComparedWith
from optimizer.reporting.tables import REASONS


def test_the_changes_with_most_money_at_stake_are_shown_with_both_bids_and_the_cause():
    bids = bid_table(200)
    changes = changed_bids(bids)
    told = story(bids=bids, live=live_comparison(changes=changes))
    page, largest = read_words(told), changes.head(live_tables.MOST_CHANGES)
    rows = [row for row in page.rows_of("changes") if len(row) == 6][1:]
    assert [row[0].split()[0] for row in rows] == largest["segment_key"].tolist()
    assert [row[0].split(maxsplit=1)[1] for row in rows] == [cause.replace("_", " ") for cause in largest["cause"]]
    assert [row[1] for row in rows] == [amount(bid) for bid in largest["before_cpm"]]
    assert [row[2] for row in rows] == [amount(bid) for bid in largest["after_cpm"]]
    assert [row[5] for row in rows] == [signed_amount(money) for money in largest["spend_change"]]


def test_causes_are_summed_over_all_changes_not_only_the_largest():
    bids = bid_table(200)
    changes = changed_bids(bids)
    rows = {row.cause: row for row in live_tables.cause_rows(story(bids=bids, live=live_comparison(changes=changes)))}
    step = changes[changes["cause"] == "step"]
    assert rows["step"].segments == count(len(step))
    assert rows["step"].requests == percent(step["requests"].sum() / bids["requests"].sum())
    assert rows["step"].at_stake == signed_amount(step["spend_change"].sum())
    assert rows["new segment"].meaning == CAUSES["new_segment"]


def test_every_cause_has_a_meaning():
    assert set(BOUND_REASONS) <= set(REASONS)
    assert all(CAUSES.values())


def test_if_no_served_bid_changes_one_sentence_says_so_and_no_row_is_listed():
    page = read_words(story(live=live_comparison(changes=changed_bids(bid_table()).head(0))))
    assert "No served bid changes: this run serves what the live run 20260306_060000 serves." in page.section("changes")
    assert page.rows_of("changes") == []


def test_the_summary_has_the_share_of_the_segments_and_the_money():
    bids = bid_table(40)
    changes = changed_bids(bids)
    summary = live_tables.change_summary(story(bids=bids, live=live_comparison(changes=changes)))
    share = percent(changes["requests"].sum() / bids["requests"].sum())
    assert "the served bids of 20 of 40 segments change" in summary
    assert f"{share} of the requests. Expected spend changes by" in summary
    assert summary.endswith(f"{signed_amount(changes['spend_change'].sum())} a day.")


def test_a_bid_that_ends_or_begins_has_no_relative_change():
    changes = changed_bids(bid_table(2), every=1).assign(before_cpm=[0.0, 5.0], after_cpm=[5.0, 0.0])
    rows = live_tables.change_rows(story(live=live_comparison(changes=changes)))
    assert [(row.before, row.now) for row in rows] == [("no bid", amount(5.0)), (amount(5.0), "no bid")]
    assert {row.change for row in rows} == {"\N{EN DASH}"}


def test_with_another_segment_key_mean_bids_are_compared_by_the_anchor():
    anchors = (AnchorChange("10000", 50.0, 10.0, 11.0), AnchorChange(None, 5.0, 8.0, 8.0))
    page = read_words(story(live=live_comparison(changes=None, anchors=anchors)))
    assert "has another segment key, so bids are compared by internal_adspace_id only" in page.section("changes")
    assert page.rows_of("changes")[1:] == [
        ["10000", amount(10.0), amount(11.0), change(0.1)],
        ["(empty)", amount(8.0), amount(8.0), change(0.0)],
    ]


def test_a_live_run_that_cannot_be_read_says_why():
    text = read_words(story(live=live_comparison(changes=None, problem="run r: its files were removed")))
    assert "The bids of the live run cannot be compared: run r: its files were removed." in text.section("changes")


def test_without_a_live_run_every_bid_is_new():
    page = read_words(story(live=None))
    assert "No run was live when this one was priced: every bid is new" in page.section("changes")
    assert "live" not in page.sections and page.rows_of("changes") == []


def test_forecasts_and_what_was_measured_are_next_to_each_other():
    told = story()
    page = read_words(told)
    header, win_rate, cpm, _, spend = page.rows_of("live")
    assert header[1:] == [
        "This run, forecast",
        "Live run, forecast",
        "Live run, measured",
        "Control, forecast",
        "Control, measured",
        "Optimizer less control",
    ]
    expected = percent(told.figures["expected_win_rate"])
    assert win_rate[1:4] == [expected, percent(0.29), f"{percent(0.28)} {percent(0.26)} to {percent(0.30)}"]
    assert win_rate[4:] == [percent(0.22), percent(0.23), f"{points(0.05)} {points(0.01)} to {points(0.09)}"]
    assert cpm[6].startswith(signed_amount(-1.7))
    assert spend[1:] == ["\N{EN DASH}", amount(800.5), *["\N{EN DASH}"] * 4]
    assert (
        "Run 20260306_060000 was live when this one was priced; measured over 7 days up to 2026-03-05"
        in page.section("live")
    )
    assert "This month (2026-03-01 to 2026-03-05): +123.45 saved" in page.section("live")


@pytest.mark.parametrize("measured", [{}, {"win_rate": None}])
def test_what_was_not_measured_has_no_number(measured):
    live = ComparedWith("r1", {"expected_cpm": np.nan}, dict.fromkeys(measured), days=0)
    page = read_words(story(live=live_comparison(live=live, control=None, against_control={}, savings=())))
    assert "Run r1 was live when this one was priced; nothing was measured of it yet." in page.section("live")
    assert "has no control beside it, so what the optimizer saves is not measured" in page.section("live")
    assert all(cell == "\N{EN DASH}" for row in page.rows_of("live")[1:] for cell in row[2:])
