"""What one query says of several entities is what a query of each says, whenever their windows begin."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from warehouse.reference import END, START, WINDOW

from optimizer.warehouse.click_delays import read_click_maturity, read_many_click_maturities
from optimizer.warehouse.extraction import Window, Windows
from optimizer.warehouse.live_totals import read_live_totals, read_many_live_totals
from optimizer.warehouse.split_counts import SplitCounts, read_many_split_counts, read_split_counts

NOW = datetime(2026, 1, 12, tzinfo=UTC)
PLACE = "internal_adspace_id"
OTHER, NOBODY = 1335, 999


@pytest.fixture(params=[timedelta(), timedelta(hours=31)], ids=["windows alike", "windows that differ"])
def windows(request: pytest.FixtureRequest) -> Windows:
    return Windows({WINDOW.object_id: START, OTHER: START + request.param, NOBODY: START + 2 * request.param}, END)


def alone(windows: Windows) -> dict[int, Window]:
    return {
        object_id: replace(WINDOW, object_id=object_id, data_start_at=start)
        for object_id, start in windows.starts.items()
    }


def test_totals(connection: Any, windows: Windows):
    found = read_many_live_totals(connection, windows=windows)
    assert found.keys() == windows.starts.keys()
    for object_id, window in alone(windows).items():
        pd.testing.assert_frame_equal(found[object_id], read_live_totals(connection, window=window), check_dtype=False)
    assert len(found[WINDOW.object_id]) > 1 and len(found[NOBODY]) == 0


def test_counts_of_the_split(connection: Any, windows: Windows):
    found = read_many_split_counts(connection, windows=windows, place=PLACE)
    for object_id, window in alone(windows).items():
        assert texts_of(found[object_id]) == texts_of(read_split_counts(connection, window=window, place=PLACE))
    assert found[NOBODY].by_day.empty and not found[WINDOW.object_id].by_day.empty


def texts_of(counts: SplitCounts) -> tuple[Any, ...]:
    tables = (counts.by_day, counts.by_place)
    rows = [sorted(map(str, table.itertuples(index=False))) for table in tables]
    return (*rows, counts.named_bids, counts.ids, counts.largest_id_bids)


def test_the_share_of_clicks_that_has_arrived(connection: Any):
    object_ids = [WINDOW.object_id, OTHER, NOBODY]
    found = read_many_click_maturities(connection, object_ids=object_ids, end_at=END, now=NOW)
    wide = replace(WINDOW, data_start_at=END - timedelta(days=14))
    assert found == {
        object_id: read_click_maturity(connection, window=replace(wide, object_id=object_id), now=NOW)
        for object_id in object_ids
    }
