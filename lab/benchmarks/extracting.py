"""Cells against raw rows: what it costs to make them, and what they save."""

from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any
from warnings import catch_warnings, filterwarnings

import pyarrow.parquet as pq
import snowflake.connector

from lab.benchmarks.figures import Figure, best_seconds
from lab.benchmarks.market import DAYS, END_DAY, create_world, generate_parts
from lab.evaluation.log import CANDIDATES, BatchedConnection
from lab.market.tables import concat_events
from lab.stack.event_log import create_tables
from lab.stack.warehouse_loading import load_parquet
from optimizer.warehouse.extraction import Window, extract_segment_cells

CELLS_FILE = "cells.parquet"
MAX_SCANS = 12.0
MAX_BYTES_SHARE = 0.5


def open_window(object_id: int) -> Window:
    """Return the days of every log of this client."""
    end = datetime.combine(END_DAY, time())
    return Window(object_id, end - timedelta(days=DAYS), end)


def measure_cells(folder: Path, *, bids: int, repeats: int) -> list[Figure]:
    """Return what the cells of a log cost and weigh against its rows, and leave both in the folder."""
    # A measured run imports this module too; its memory does not include fakesnow's.
    import fakesnow

    world = create_world()
    files = concat_events(generate_parts(world, bids=bids, seed=1)).write_parquet(folder)
    cells, window = folder / CELLS_FILE, open_window(world.settings.object_id)
    with fakesnow.patch(), snowflake.connector.connect(database="LOGS", schema="RTB") as plain, catch_warnings():
        # DuckDB would have fakesnow fetch in another way.
        filterwarnings("ignore", "Arrow output on a DB-API result", UserWarning)
        create_tables(plain)
        for table, file in files.items():
            load_parquet(plain, table=table.upper(), files=[file])
        connection = BatchedConnection(plain)
        seconds = best_seconds(
            {
                "scan": lambda: [_scan(file) for file in files.values()],
                "cells": lambda: extract_segment_cells(connection, window=window, features=CANDIDATES, path=cells),
            },
            repeats=repeats,
        )
    rows, raw_bytes = pq.read_metadata(files["bids"]).num_rows, sum(file.stat().st_size for file in files.values())
    return [
        Figure(f"cells of {rows:,} bids, by the warehouse's SQL", seconds["cells"], seconds["scan"],
               "an Arrow scan of the same files", "s", MAX_SCANS),
        Figure("cells that leave the warehouse", pq.read_metadata(cells).num_rows, rows, "its bids", "rows", 1.0),
        Figure("bytes that leave it", cells.stat().st_size, raw_bytes, "its Parquet files", "bytes", MAX_BYTES_SHARE),
    ]  # fmt: skip


def _scan(file: Path) -> dict[str, Any]:
    """Read every row of every column, a row group at a time, and keep nothing."""
    with pq.ParquetFile(file) as rows:
        return {"rows": sum(batch.num_rows for batch in rows.iter_batches())}
