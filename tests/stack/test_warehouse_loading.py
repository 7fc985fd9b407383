from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from snowflake.connector.errors import ProgrammingError

from lab.stack.warehouse_loading import load_parquet
from optimizer.errors import DataError, WarehouseError

NOON = datetime(2026, 2, 3, 12, tzinfo=UTC).replace(tzinfo=None)


@pytest.fixture
def table(warehouse) -> str:
    warehouse.execute("CREATE OR REPLACE TABLE loaded (bid_id VARCHAR NOT NULL, bid_ts TIMESTAMP_NTZ, bid_cpm DOUBLE)")
    return "loaded"


def write_bids(path: Path, *, ids: list[str | None], zone: str | None = None) -> Path:
    times = pa.array([NOON] * len(ids), pa.timestamp("us", tz=zone))
    # Neither the order nor the case of the table's columns.
    pq.write_table(pa.table({"bid_cpm": [1.5] * len(ids), "BID_ID": ids, "bid_ts": times}), path)
    return path


def rows_of(warehouse, table: str) -> list[tuple]:
    return warehouse.execute(f"SELECT * FROM {table} ORDER BY bid_id").fetchall()


def test_files_are_loaded_by_column_name_with_their_utc_times(warehouse, table: str, tmp_path: Path):
    files = [write_bids(tmp_path / "a file.parquet", ids=["b1"]), write_bids(tmp_path / "b.parquet", ids=["b2"])]
    assert load_parquet(warehouse.connection, table=table, files=files) == 2
    assert rows_of(warehouse, table) == [("b1", NOON, 1.5), ("b2", NOON, 1.5)]


def test_files_of_the_same_name_in_two_folders_are_both_loaded(warehouse, table: str, tmp_path: Path):
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
    files = [write_bids(tmp_path / name / "part.parquet", ids=[name]) for name in ("x", "y")]
    assert load_parquet(warehouse.connection, table=table, files=files) == 2
    assert [row[0] for row in rows_of(warehouse, table)] == ["x", "y"]


def test_a_load_that_replaces_can_be_repeated(warehouse, table: str, tmp_path: Path):
    files = [write_bids(tmp_path / "a.parquet", ids=["b1", "b2"])]
    for _ in range(2):
        assert load_parquet(warehouse.connection, table=table, files=files, replace=True) == 2
    assert len(rows_of(warehouse, table)) == 2


def test_a_load_that_fails_leaves_the_table_as_it_was(warehouse, table: str, tmp_path: Path):
    good, bad = write_bids(tmp_path / "a.parquet", ids=["b1"]), write_bids(tmp_path / "b.parquet", ids=[None])
    load_parquet(warehouse.connection, table=table, files=[good])
    with pytest.raises(ProgrammingError):
        load_parquet(warehouse.connection, table=table, files=[good, bad], replace=True)
    assert rows_of(warehouse, table) == [("b1", NOON, 1.5)]


def test_a_timestamp_with_a_time_zone_is_refused_by_column(warehouse, table: str, tmp_path: Path):
    file = write_bids(tmp_path / "a.parquet", ids=["b1"], zone=str(UTC))
    with pytest.raises(DataError, match="bid_ts carry a time zone"):
        load_parquet(warehouse.connection, table=table, files=[file])


def test_a_file_that_is_not_parquet_is_refused_by_name(warehouse, table: str, tmp_path: Path):
    (tmp_path / "a.parquet").write_text("bid_id\nb1\n")
    with pytest.raises(DataError, match=r"a\.parquet cannot be read as Parquet"):
        load_parquet(warehouse.connection, table=table, files=[tmp_path / "a.parquet"])


def test_a_table_name_with_sql_in_it_is_refused(warehouse, tmp_path: Path):
    file = write_bids(tmp_path / "a.parquet", ids=["b1"])
    with pytest.raises(WarehouseError, match="is not a table name"):
        load_parquet(warehouse.connection, table="loaded; DROP TABLE loaded", files=[file])
