"""A simulated log as a run would read it: by the optimizer's own SQL, on a warehouse in this process."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pyarrow as pa
import snowflake.connector

from lab.market.tables import Events
from lab.stack.event_log import create_tables
from lab.stack.warehouse_loading import load_parquet
from optimizer.core.records.window_totals import WindowTotals
from optimizer.warehouse.click_delays import read_click_maturity
from optimizer.warehouse.extraction import (
    Window,
    extract_domain_cells,
    extract_npi_totals,
    extract_segment_cells,
    read_totals,
)

CANDIDATES = ("internal_adspace_id", "geo_region_name", "os_code", "browser_code", "device_type")


@dataclass(frozen=True, slots=True)
class ExtractedLog:
    """What leaves the warehouse for one run; see `optimizer.core.landscape.cells`.

    click_maturity: the share of the clicks that has arrived, by day; all clicks of other days have.
    """

    cells: pd.DataFrame
    domain_cells: pd.DataFrame
    npi_totals: pd.DataFrame
    totals: WindowTotals
    click_maturity: Mapping[date, float] = field(default_factory=dict)


def extract_log(
    events: Events, *, object_id: int, end_day: date, days: int, candidates: Sequence[str] = CANDIDATES,
    is_second_price: bool = False,
) -> ExtractedLog:  # fmt: skip
    """Return the cells and totals of the `days` days before `end_day`."""
    import fakesnow  # none of the memory of a measured run, which imports this module

    end = datetime.combine(end_day, time())
    window = Window(object_id, end - timedelta(days=days), end)
    with TemporaryDirectory(prefix="optimizer-truth-") as name, fakesnow.patch(), warnings.catch_warnings():
        # DuckDB would have fakesnow fetch in another way.
        warnings.filterwarnings("ignore", "Arrow output on a DB-API result", UserWarning)
        folder = Path(name)
        with snowflake.connector.connect(database="LOGS", schema="RTB") as plain:
            create_tables(plain)
            for table, file in events.write_parquet(folder).items():
                load_parquet(plain, table=table.upper(), files=[file])
            connection = BatchedConnection(plain)
            extract_segment_cells(
                connection, window=window, features=candidates, path=folder / "segments.parquet",
                is_second_price=is_second_price,
            )  # fmt: skip
            extract_domain_cells(connection, window=window, path=folder / "domains.parquet")
            extract_npi_totals(connection, window=window, path=folder / "npis.parquet")
            maturity = read_click_maturity(connection, window=window, now=datetime.now(UTC))
            return ExtractedLog(
                *(pd.read_parquet(folder / f"{table}.parquet") for table in ("segments", "domains", "npis")),
                read_totals(connection, window=window),
                {} if maturity is None else maturity.by_day,
            )


@dataclass(frozen=True, slots=True)
class BatchedConnection:
    """fakesnow's connection in this process, whose cursors know no Arrow batches, with them: one batch is all rows."""

    plain: Any

    def cursor(self) -> "_BatchedCursor":
        return _BatchedCursor(self.plain.cursor())


@dataclass(frozen=True, slots=True)
class _BatchedCursor:
    plain: Any

    def __enter__(self) -> "_BatchedCursor":
        return self

    def __exit__(self, *_: object) -> None:
        self.plain.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plain, name)

    def fetch_arrow_batches(self) -> list[pa.Table]:
        return [pa.Table.from_pandas(self.plain.fetch_pandas_all(), preserve_index=False)]
