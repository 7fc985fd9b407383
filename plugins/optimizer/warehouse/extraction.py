"""Stream cells from the warehouse to Parquet, batch by batch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from optimizer.core.landscape.cells import DAY_SPAN, PRICE_BUCKET_WIDTH
from optimizer.core.landscape.click_delay import mature_day
from optimizer.core.landscape.grain import FINEST, Grain, fine_from
from optimizer.core.landscape.second_price import SHADOW_PERCENTS, wins_column
from optimizer.core.landscape.win_rate import LATEST_DAYS
from optimizer.core.records.window_totals import WindowTotals
from optimizer.errors import EmptyWindowError, WarehouseError
from optimizer.warehouse.contract import render_for
from optimizer.warehouse.failures import warehouse_errors
from optimizer.warehouse.queries import warehouse_time

_SUM_COLUMNS = {
    "bids": pa.int64(),
    "wins": pa.int64(),
    "clicks": pa.int64(),
    "bid_cpm_sum": pa.float64(),
    "base_bid_cpm_sum": pa.float64(),
    "cost_cpm_sum": pa.float64(),
    "view_revenue": pa.float64(),
    "click_revenue": pa.float64(),
    "floor_cpm_max": pa.float64(),
}

_MULTIPLIER_COLUMNS = {"multiplied_bids": pa.int64(), "log_multiplier_sum": pa.float64()}

_ODD = "odd_"
"""What the names of the totals begin with that count NaN and infinities: odd_<table>_<column>."""

UNBOUNDED = 2**62
"""More cells than any log has."""

SUM_DECIMALS = 10
"""Sums of CPM and revenue keep this many: a cent times two multipliers of four decimals has ten."""


@dataclass(frozen=True, slots=True)
class Window:
    """What to read: the bids of one entity in [data_start_at, data_end_at), UTC."""

    object_id: int
    data_start_at: datetime
    data_end_at: datetime

    def binds(self) -> dict[str, Any]:
        """Return the bind parameters of the queries; the warehouse's timestamps are UTC without a zone."""
        return {"object_id": self.object_id, **self.alone().binds()}

    def alone(self) -> "Windows":
        """Return it as the only one of several."""
        return Windows({self.object_id: self.data_start_at}, self.data_end_at)


@dataclass(frozen=True, slots=True)
class Windows:
    """What to read of several entities at once: the bids of each from its own start on, before data_end_at, UTC.

    starts: {object_id: start}; not empty.
    """

    starts: Mapping[int, datetime]
    data_end_at: datetime

    def binds(self) -> dict[str, Any]:
        """Return the bind parameters; data_start_dt is the earliest start."""
        return {
            "object_ids": sorted(self.starts),
            "data_start_dt": warehouse_time(min(self.starts.values())),
            "data_end_dt": warehouse_time(self.data_end_at),
        }

    def own_starts(self) -> Mapping[int, datetime] | None:
        """Return the starts where they differ: what `render_for` needs then."""
        return self.starts if len(set(self.starts.values())) > 1 else None


def read_totals(connection: Any, *, window: Window) -> WindowTotals:
    """Return the totals of the window.

    Raises:
        EmptyWindowError: it holds no bid above zero.
        WarehouseError: a number of its events is NaN or infinite; names each such column with its count of rows.
    """
    with warehouse_errors("counting the window's events"), connection.cursor() as cursor:
        row = cursor.execute(render_for(connection, "window_totals"), window.binds()).fetchone()
        names = [column.name.lower() for column in cursor.description]
    values = dict(zip(names, row, strict=True))
    odd = {name: int(values.pop(name) or 0) for name in names if name.startswith(_ODD)}
    _refuse_odd_numbers(odd, window)
    if not values["usable_bids"]:
        raise EmptyWindowError(
            f"BIDS has no bid above zero of object_id {window.object_id} in [{window.data_start_at:%Y-%m-%d %H:%M}, "
            f"{window.data_end_at:%Y-%m-%d %H:%M}) UTC ({int(values['zero_bids'] or 0)} zero bids); check the entity's "
            "object_id, the window and the load of the log"
        )
    figures: dict[str, Any] = {
        name: str(value) if name.endswith("_ts") else int(value or 0) for name, value in values.items()
    }
    return WindowTotals(**figures)


def _refuse_odd_numbers(odd: Mapping[str, int], window: Window) -> None:
    places = {name: name.removeprefix(_ODD).split("_", 1) for name in odd}
    found = [f"{places[name][0].upper()}.{places[name][1]} in {count:,} rows" for name, count in odd.items() if count]
    if found:
        raise WarehouseError(
            f"a number is NaN or infinite in the window of object_id {window.object_id} from "
            f"{window.data_start_at:%Y-%m-%d %H:%M} to {window.data_end_at:%Y-%m-%d %H:%M} UTC: {'; '.join(found)}; "
            "set it to what it was, or to NULL, or remove the rows"
        )


def extract_segment_cells(
    connection: Any,
    *,
    window: Window,
    features: Sequence[str],
    path: Path,
    is_second_price: bool = False,
    block_hours: int | None = None,
    grain: Grain = FINEST,
) -> int:
    """Write the cells by candidate features to `path` (Parquet) and return their number.

    Args:
        block_hours: of the window's totals; with it cells are by blocks of this many hours instead of days.
        grain: how fine the cells are; where it merges days, the cells have the column `day_span`.
    """
    percents = SHADOW_PERCENTS if is_second_price else ()
    schema = {
        "day": pa.date32(),
        **({DAY_SPAN: pa.int32()} if grain.older_days > 1 else {}),
        **({"block_hour": pa.int32()} if block_hours else {}),
        **dict.fromkeys(features, pa.string()),
        **{"price_bucket": pa.int32(), "base_price_bucket": pa.int32(), "run_id": pa.string()},
        **{wins_column(percent): pa.int64() for percent in percents},
        **_SUM_COLUMNS,
    }
    query = render_for(
        connection,
        "segment_cells",
        features=features,
        shadow_percents=percents,
        block_hours=block_hours,
        cells=[(features, grain)],
    )
    binds = {**window.binds(), **_BUCKETS, **_fine(window)}
    return _extract(connection, query, binds, schema, path, adjust=None if grain == FINEST else _with_mean_price)


def count_segment_cells(
    connection: Any,
    *,
    window: Window,
    counted: Sequence[tuple[Sequence[str], Grain]],
    block_hours: int | None = None,
) -> list[int]:
    """Return how many cells `extract_segment_cells` would write for each of these features and grains."""
    features = list(dict.fromkeys(feature for own, _ in counted for feature in own))
    query = render_for(connection, "cell_counts", features=features, cells=counted, block_hours=block_hours)
    with warehouse_errors("counting the window's cells"), connection.cursor() as cursor:
        row = cursor.execute(query, {**window.binds(), **_BUCKETS, **_fine(window)}).fetchone()
    return [int(count) for count in row]


def extract_domain_cells(
    connection: Any, *, window: Window, path: Path, price_buckets: int = 1, max_cells: int = UNBOUNDED
) -> int:
    """Write the cells by domain to `path` (Parquet) and return their number.

    Args:
        price_buckets: that many neighboring price buckets are one.
        max_cells: if there are more, those of the domains with the most bids.
    """
    key = {"day": pa.date32(), "domain": pa.string(), "price_bucket": pa.int32()}
    binds = {**window.binds(), **_recent(window), **_BUCKETS, "max_cells": max_cells}
    query = render_for(connection, "domain_cells", cells=[((), Grain(price_buckets))])
    adjust = None if price_buckets == 1 else _with_mean_price
    return _extract(connection, query, binds, {**key, **_MULTIPLIER_COLUMNS, **_SUM_COLUMNS}, path, adjust=adjust)


def extract_npi_totals(connection: Any, *, window: Window, path: Path, max_cells: int = UNBOUNDED) -> int:
    """Write the totals by identified professional and day to `path` (Parquet) and return the number of rows.

    Days that are older than any click's delay are one row, see `mature_day`.

    Args:
        max_cells: if there are more rows, those of the professionals with the most bids.
    """
    columns = {"npi": pa.string(), "day": pa.date32(), **_MULTIPLIER_COLUMNS, **_SUM_COLUMNS}
    binds = {**window.binds(), **_recent(window), **_mature(window), "max_cells": max_cells}
    return _extract(connection, render_for(connection, "npi_totals"), binds, columns, path)


def count_multiplier_cells(connection: Any, *, window: Window, price_buckets: Sequence[int]) -> tuple[list[int], int]:
    """Return how many domain cells there are with each number of price buckets as one, and how many totals of NPIs."""
    query = render_for(connection, "multiplier_counts", cells=[((), Grain(number)) for number in price_buckets])
    with warehouse_errors("counting the window's cells"), connection.cursor() as cursor:
        row = cursor.execute(query, {**window.binds(), **_BUCKETS, **_mature(window)}).fetchone()
    *domains, npis = (int(count) for count in row)
    return domains, npis


_BUCKETS = {"bucket_width": PRICE_BUCKET_WIDTH}


def _mature(window: Window) -> dict[str, str]:
    return {"mature_dt": mature_day(window.data_end_at.date()).isoformat()}


def _fine(window: Window) -> dict[str, str]:
    return {"fine_from_dt": warehouse_time(fine_from(window.data_end_at))}


def _recent(window: Window) -> dict[str, str]:
    start = window.data_end_at.replace(tzinfo=None) - timedelta(days=LATEST_DAYS)
    return {"recent_dt": start.isoformat(sep=" ")}


def _extract(
    connection: Any,
    query: str,
    binds: Mapping[str, Any],
    columns: Mapping[str, pa.DataType],
    path: Path,
    *,
    adjust: Callable[[pa.Table], pa.Table] | None = None,
) -> int:
    schema = pa.schema(list(columns.items()))
    rows = 0
    with (
        pq.ParquetWriter(path, schema) as writer,
        warehouse_errors(f"writing {path.name}"),
        connection.cursor() as cursor,
    ):
        cursor.execute(query, binds)
        for batch in cursor.fetch_arrow_batches() or ():
            cells = _cast(batch, schema)
            writer.write_table(cells if adjust is None else adjust(cells))
            rows += batch.num_rows
    return rows


def _with_mean_price(cells: pa.Table) -> pa.Table:
    """The cells of merged buckets with the bucket of their mean price: the middle of wide buckets would be far off."""
    place = cells.schema.get_field_index("price_bucket")
    mean = cells.column("bid_cpm_sum").to_numpy() / cells.column("bids").to_numpy()
    bucket = pa.array(np.round(np.log(mean) / PRICE_BUCKET_WIDTH).astype(np.int32))
    return cells.set_column(place, cells.schema.field(place), bucket)


def _cast(batch: pa.Table, schema: pa.Schema) -> pa.Table:
    """The batch in the cells' own types: the warehouse's number types depend on its version.

    Sums are rounded: the last digits of a float sum depend on the order of adding, and a second read must leave the
    same file.
    """
    named = batch.rename_columns([name.lower() for name in batch.column_names])
    arrays = []
    for field in schema:
        column = named.column(field.name)
        if pa.types.is_integer(field.type) and not pa.types.is_integer(column.type):
            column = pc.round(column.cast(pa.float64()))
        elif pa.types.is_floating(field.type):
            column = pa.array(np.round(column.to_numpy().astype(float), SUM_DECIMALS), from_pandas=True)
        arrays.append(column.cast(field.type))
    return pa.table(arrays, schema=schema)
