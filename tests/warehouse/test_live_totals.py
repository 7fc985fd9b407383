"""What each run's bids brought, against the same counts made in pandas from the same events."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from warehouse.reference import END, START, WINDOW, auctions

from lab.market.tables import Events
from optimizer.core.live.performance import SUMS
from optimizer.warehouse.extraction import Window
from optimizer.warehouse.live_totals import COLUMNS, read_live_totals


@pytest.fixture(scope="module")
def totals(connection: Any) -> pd.DataFrame:
    return read_live_totals(connection, window=WINDOW)


def test_totals_by_day_and_run_hold_what_pandas_counts(totals: pd.DataFrame, log: Events):
    found = auctions(log)
    found = found[found["run_id"].notna()].assign(spend=lambda table: table["cost_cpm"].fillna(0) / 1000, bids=1)
    expected = found.groupby(["day", "run_id"])[list(SUMS)].sum().reset_index()
    assert list(totals.columns) == list(COLUMNS) and len(expected) > 1
    keys = ["day", "run_id"]
    assert totals[keys].to_numpy().tolist() == expected[keys].to_numpy().tolist()
    np.testing.assert_allclose(totals[list(SUMS)].to_numpy(), expected[list(SUMS)].to_numpy(float), atol=1e-9)
    assert set(found["click_revenue"]) != {0.0}


def test_a_window_without_bids_gives_the_columns_and_no_row(connection: Any):
    nobody = Window(object_id=999, data_start_at=START, data_end_at=END)
    empty = read_live_totals(connection, window=nobody)
    assert (list(empty.columns), len(empty)) == (list(COLUMNS), 0)
