"""Delays of clicks and ages of views, against the same counts made in pandas from the same events."""

from datetime import timedelta
from typing import Any

import pandas as pd
from warehouse.reference import END, START, WINDOW, auctions

from lab.market.tables import Events
from optimizer.core.landscape.click_delay import LONGEST_HOURS
from optimizer.warehouse.click_delays import COLUMNS, read_click_delays
from optimizer.warehouse.extraction import Window

HOUR = pd.Timedelta(hours=1)
NOW = END + timedelta(days=30)


def test_views_by_day_age_and_delay_are_what_pandas_counts(connection: Any, log: Events):
    start = pd.Timestamp(START).tz_localize(None)
    views, clicks = log.views.to_pandas(), log.clicks.to_pandas()
    log_end = max(views["view_ts"].max(), clicks["click_ts"].max())
    view_ts = views[views["view_ts"] >= start].groupby("bid_id")["view_ts"].min()
    click_ts = clicks[clicks["click_ts"] >= start].groupby("bid_id")["click_ts"].min()
    found = auctions(log).query("wins == 1")[["day"]].join(view_ts).join(click_ts)
    seen = found["view_ts"].dt.floor("s")
    whole = [(moment - seen) // HOUR for moment in (log_end.floor("s"), found["click_ts"].dt.floor("s"))]
    found["age_hours"], found["delay_hours"] = (hours.clip(0, LONGEST_HOURS) for hours in whole)
    keys = ["day", "age_hours", "delay_hours"]
    expected = found.fillna({"delay_hours": -1}).groupby(keys).size()
    counts = read_click_delays(connection, window=WINDOW, now=NOW)
    assert list(counts.columns) == list(COLUMNS)
    read = counts.fillna({"delay_hours": -1}).set_index(keys)["views"]
    assert read.to_dict() == expected.to_dict() and counts["delay_hours"].notna().any()


def test_a_window_without_bids_counts_nothing(connection: Any):
    nobody = Window(object_id=999, data_start_at=START, data_end_at=END)
    empty = read_click_delays(connection, window=nobody, now=NOW)
    assert (list(empty.columns), len(empty)) == (list(COLUMNS), 0)


def test_an_event_dated_in_the_future_does_not_move_the_end_of_the_log(connection: Any):
    counts = read_click_delays(connection, window=WINDOW, now=NOW)
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO VIEWS (bid_id, view_ts, cost_cpm, revenue) VALUES ('misdated', '9999-12-31', 1, 0)")
        cursor.execute("INSERT INTO CLICKS (bid_id, click_ts, revenue) VALUES ('misdated', '2026-03-01', 0)")
        try:
            pd.testing.assert_frame_equal(read_click_delays(connection, window=WINDOW, now=NOW), counts)
        finally:
            cursor.execute("DELETE FROM VIEWS WHERE bid_id = 'misdated'")
            cursor.execute("DELETE FROM CLICKS WHERE bid_id = 'misdated'")
