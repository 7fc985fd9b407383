"""The cells that leave the warehouse against the same counts made in pandas from the same events."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from warehouse.reference import (
    END,
    FEATURES,
    KNOWN_NPI,
    RESTRICTED_NPI,
    START,
    WINDOW,
    assert_same_cells,
    auctions,
    cells_of,
    of_known_npis,
)

from lab.market.tables import Events
from optimizer.core.landscape.cells import prepare_cells
from optimizer.core.landscape.click_delay import mature_day
from optimizer.warehouse.extraction import (
    Window,
    extract_domain_cells,
    extract_npi_totals,
    extract_segment_cells,
    read_totals,
)

SEGMENT_GRAIN = ["day", *FEATURES, "price_bucket", "base_price_bucket"]


@pytest.fixture(scope="module")
def expected(log: Events) -> pd.DataFrame:
    return auctions(log)


@pytest.fixture(scope="module")
def cells(connection: Any, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    path = tmp_path_factory.mktemp("cells") / "segment_cells.parquet"
    rows = extract_segment_cells(connection, window=WINDOW, features=FEATURES, path=path)
    table = pq.read_table(path)
    assert table.num_rows == rows
    return table.to_pandas()


def test_segment_cells_hold_what_pandas_counts(cells: pd.DataFrame, expected: pd.DataFrame):
    said = expected.assign(**{name: expected[name].where(expected[name] != "", None) for name in FEATURES})
    by = list(SEGMENT_GRAIN)
    merged = cells.groupby(by, dropna=False, as_index=False).agg(
        {name: "max" if name == "floor_cpm_max" else (lambda sums: sums.sum(min_count=1)) for name in cells.columns[6:]}
    )
    assert_same_cells(merged, cells_of(said, by), by)


def test_cells_of_a_short_window_are_by_blocks_of_hours(connection: Any, expected: pd.DataFrame, tmp_path: Path):
    hours = read_totals(connection, window=WINDOW).block_hours
    assert hours == 8  # four days
    path = tmp_path / "cells.parquet"
    extract_segment_cells(connection, window=WINDOW, features=["os_code"], path=path, block_hours=hours)
    cells = pd.read_parquet(path).groupby(["day", "block_hour"], as_index=False)[["bids", "wins"]].sum()
    hour = expected["bid_ts"].dt.hour // 8 * 8
    counts = expected.groupby([expected["day"], hour])["wins"].agg(["size", "sum"])
    assert len(cells) == 12
    assert cells[["bids", "wins"]].to_numpy().tolist() == counts.to_numpy().tolist()
    blocks = prepare_cells(pd.read_parquet(path), ["os_code"])["block"]
    assert sorted(blocks.dt.hour.unique()) == [0, 8, 16]


def test_no_empty_text_leaves_the_warehouse_as_a_feature_value_since_a_key_spells_it_as_null(cells: pd.DataFrame):
    assert not (cells[list(FEATURES)] == "").any().any()


def test_domain_cells_hold_what_pandas_counts(connection: Any, expected: pd.DataFrame, tmp_path: Path):
    rows = extract_domain_cells(connection, window=WINDOW, path=tmp_path / "cells.parquet")
    by = ["day", "domain", "price_bucket"]
    known = expected[expected["domain"].notna() & (expected["domain"] != "")]
    cells = pd.read_parquet(tmp_path / "cells.parquet")
    assert rows == len(cells)
    assert_same_cells(cells, cells_of(known, by), by)


def test_npi_totals_hold_what_pandas_counts(connection: Any, expected: pd.DataFrame, tmp_path: Path):
    extract_npi_totals(connection, window=WINDOW, path=tmp_path / "npis.parquet")
    known = of_known_npis(expected)
    mature = mature_day(WINDOW.data_end_at.date())
    known = known.assign(day=known["day"].map(lambda day: max(day, mature)))
    totals = pd.read_parquet(tmp_path / "npis.parquet")
    assert totals["day"].nunique() > 1 and {KNOWN_NPI, RESTRICTED_NPI} & set(totals["npi"]) == {KNOWN_NPI}
    assert_same_cells(totals, cells_of(known, ["npi", "day"]), ["npi", "day"])


ODD = {
    "at the start": (1, 1, 0),
    "just before the start": (0, 0, 0),
    "just before the end": (1, 0, 0),
    "at the end": (0, 0, 0),
    "bid twice": (1, 1, 0),
    "first zero": (1, 0, 0),
    "viewed twice": (1, 1, 0),
    "clicked twice": (1, 1, 1),
    "clicked only": (1, 0, 0),
    "zero": (0, 0, 0),
    "seen late": (1, 1, 1),
    "nothing known": (1, 0, 0),
    "nothing said": (1, 0, 0),
    "other client": (0, 0, 0),
    "a test": (0, 0, 0),
    "no test": (1, 0, 0),
    "restricted": (1, 1, 0),
}


@pytest.mark.parametrize(("bid_id", "counts"), ODD.items(), ids=ODD)
def test_an_odd_auction_counts_as_it_should(connection: Any, tmp_path: Path, bid_id: str, counts: tuple[int, int, int]):
    """The feature is the bid_id itself, so that each auction is its own cell."""
    extract_segment_cells(connection, window=WINDOW, features=["bid_id"], path=tmp_path / "cells.parquet")
    cells = pd.read_parquet(tmp_path / "cells.parquet").set_index("bid_id")[["bids", "wins", "clicks"]]
    assert tuple(cells.reindex([bid_id], fill_value=0).loc[bid_id]) == counts


def test_a_duplicated_event_counts_with_its_earliest_price_cost_and_revenue(connection: Any, tmp_path: Path):
    extract_segment_cells(connection, window=WINDOW, features=["bid_id"], path=tmp_path / "cells.parquet")
    cells = pd.read_parquet(tmp_path / "cells.parquet").set_index("bid_id")
    assert cells.loc["bid twice", "bid_cpm_sum"] == 3.0
    assert cells.loc["viewed twice", ["cost_cpm_sum", "view_revenue"]].tolist() == [2.0, 0.1]
    assert cells.loc["clicked twice", "click_revenue"] == 5.0
    assert cells.loc["clicked only", "click_revenue"] == 0.0


def test_totals_hold_what_pandas_counts(connection: Any, log: Events, expected: pd.DataFrame):
    bids, views, clicks = (getattr(log, name).to_pandas() for name in ("bids", "views", "clicks"))
    start, end = (pd.Timestamp(moment).tz_localize(None) for moment in (START, END))
    own = bids[(bids["object_id"] == 1334) & (bids["bid_ts"] >= start) & (bids["bid_ts"] < end)]
    own = own[~own["is_test"].eq(True)]
    views = views[views["view_ts"] >= start]
    orphans = views.groupby("bid_id")["view_ts"].min()
    orphans = orphans[(orphans < end) & ~orphans.index.isin(bids["bid_id"])].index
    repeated = views[views["bid_id"].isin(expected.index)]
    clicked = clicks.loc[clicks["click_ts"] >= start, "bid_id"]
    totals = read_totals(connection, window=WINDOW).model_dump()
    assert {**totals, "first_bid_ts": None, "last_bid_ts": None} == {
        "bid_rows": len(own),
        "distinct_bids": own["bid_id"].nunique(),
        "duplicate_bids": 2,
        "usable_bids": len(expected),
        "zero_bids": own.loc[own["bid_cpm"] <= 0, "bid_id"].nunique(),
        "first_bid_ts": None,
        "last_bid_ts": None,
        "joined_views": expected["wins"].sum(),
        "duplicate_views": len(repeated) - repeated["bid_id"].nunique(),
        "joined_clicks": expected["clicks"].sum(),
        "orphan_views": len(orphans),
        "orphan_clicks": orphans.isin(clicked).sum(),
    }
    assert pd.Timestamp(totals["first_bid_ts"]) == start
    assert pd.Timestamp(totals["last_bid_ts"]) == end - pd.Timedelta(microseconds=1)


def test_totals_and_cells_count_the_same_auctions(connection: Any, cells: pd.DataFrame):
    totals = read_totals(connection, window=WINDOW)
    counted = (totals.usable_bids, totals.joined_views, totals.joined_clicks)
    assert counted == tuple(cells[["bids", "wins", "clicks"]].sum())


def test_cells_of_a_window_without_bids_are_an_empty_file_with_the_schema(connection: Any, tmp_path: Path):
    nobody = Window(object_id=999, data_start_at=START, data_end_at=END)
    assert extract_segment_cells(connection, window=nobody, features=FEATURES, path=tmp_path / "c.parquet") == 0
    schema = pq.read_schema(tmp_path / "c.parquet")
    assert schema.names[:6] == SEGMENT_GRAIN
    assert schema.field("day").type == pa.date32()
    assert schema.field("bids").type == pa.int64()
    assert pq.read_metadata(tmp_path / "c.parquet").num_rows == 0


def test_every_batch_of_the_warehouse_reaches_the_file_as_it_comes(connection: Any, tmp_path: Path):
    batches = InBatches(connection, rows_per_batch=100)
    rows = extract_npi_totals(batches, window=WINDOW, path=tmp_path / "batched.parquet")
    extract_npi_totals(connection, window=WINDOW, path=tmp_path / "whole.parquet")
    counts = ["npi", "bids", "wins", "clicks"]
    batched, whole = (pq.read_table(tmp_path / f"{name}.parquet").select(counts) for name in ("batched", "whole"))
    assert batched.equals(whole)
    assert pq.read_metadata(tmp_path / "batched.parquet").num_row_groups == -(-rows // 100) > 2


class InBatches:
    """A connection whose results come in many batches, as those of Snowflake do; the local server sends one."""

    def __init__(self, connection: Any, *, rows_per_batch: int) -> None:
        self._connection, self._rows_per_batch = connection, rows_per_batch

    def cursor(self) -> Any:
        cursor = self._connection.cursor()
        whole = cursor.fetch_arrow_batches
        cursor.fetch_arrow_batches = lambda: (
            pa.Table.from_batches([part]) for table in whole() for part in table.to_batches(self._rows_per_batch)
        )
        return cursor
