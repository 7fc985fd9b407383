"""A team's own event log: read from Parquet or CSV, checked row by row, and loaded whole or not at all."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from lab.market.tables import BIDS_SCHEMA, CLICKS_SCHEMA, VIEWS_SCHEMA
from lab.stack.warehouse_loading import load_tables
from optimizer.errors import DataError

SCHEMAS = {"bids": BIDS_SCHEMA, "views": VIEWS_SCHEMA, "clicks": CLICKS_SCHEMA}
_TIMES = {"bids": "bid_ts", "views": "view_ts", "clicks": "click_ts"}
_PRICES = {"bids": ("bid_cpm", "base_bid_cpm", "floor_cpm"), "views": ("cost_cpm", "revenue"), "clicks": ("revenue",)}

OPTIONAL_COLUMNS = frozenset(
    {
        *("run_id", "browser_code", "device_type", "domain", "npi", "base_bid_cpm", "domain_multiplier"),
        *("npi_multiplier", "floor_cpm", "privacy", "is_test"),
    }
)
NULLABLE_COLUMNS = OPTIONAL_COLUMNS | {"internal_adspace_id", "geo_region_name", "os_code"}

EARLIEST = datetime(2000, 1, 1)  # noqa: DTZ001 - the log's times are UTC without a zone
"""Rows of earlier times, such as an epoch of 0, are set aside."""

# With a point or a plus sign: without both it may be an id in hexadecimal.
_SPOILED = re.compile(r"[0-9]+\.[0-9]+[eE]\+?[0-9]+|[0-9]+[eE]\+[0-9]+")
_BOOLEANS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


@dataclass(frozen=True, slots=True)
class OwnLog:
    """A team's own log: the rows of each table, the client, the day after its last, and what a person should know."""

    tables: Mapping[str, pa.Table]
    object_id: int
    end_day: date
    notes: tuple[str, ...] = field(default=())


def read_own_log(files: Mapping[str, Path], *, now: datetime) -> OwnLog:
    """Return a team's own bids, views and clicks.

    Rows of a time that is still to come, or before EARLIEST, are set aside; they and negative prices are in the notes.

    Args:
        files: {"bids": path, "views": path, "clicks": path}, Parquet or CSV in the warehouse's columns.

    Raises:
        DataError: names the file with every missing column, the column and row of a value that cannot be read, or says
            that the bids are of several clients.
    """
    tables, notes = {}, []
    for name, path in files.items():
        tables[name], found = _without_impossible_times(name, read_events(name, path), path=path, now=now)
        notes += [*found, *_negative_prices(name, tables[name], path=path)]
    clients = pc.unique(tables["bids"]["object_id"]).to_pylist()
    if len(clients) != 1:
        raise DataError(
            f"{files['bids']}: object_id holds {sorted(clients)[:5]}; give the bids of exactly one SSP client"
        )
    last = pc.max(tables["bids"]["bid_ts"]).as_py()
    return OwnLog(tables, object_id=clients[0], end_day=last.date() + timedelta(days=1), notes=tuple(notes))


def load_own_log(connection: Any, log: OwnLog, *, marker: Path) -> None:
    """Load a team's own log instead of what the tables held: all three tables, or none where one cannot be loaded."""
    with TemporaryDirectory(prefix="optimizer-log-") as folder:
        files = {name.upper(): [Path(folder) / f"{name}.parquet"] for name in log.tables}
        for name, table in log.tables.items():
            pq.write_table(table, files[name.upper()][0])
        load_tables(connection, files, replace=True)
    marker.unlink(missing_ok=True)


def read_events(name: str, path: Path) -> pa.Table:
    """Return the rows of a Parquet or CSV file in the table's columns and types; optional columns may be missing.

    Times are ISO 8601, UTC where they have no zone, or an epoch in seconds, ms, µs or ns. An empty cell of a CSV file
    is no value. Rows are counted from 1; the first row of a CSV file is its header.

    Raises:
        DataError: the file cannot be read, is empty, has a column twice, lacks columns or values, or holds values of
            the wrong type; names the file, and for a value its column, its row and the value.
    """
    schema = SCHEMAS[name]
    try:
        table = pq.read_table(path) if path.suffix == ".parquet" else _read_csv(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as rows of {name.upper()}: {error}") from error
    names = [column.strip().lower() for column in table.column_names]
    if twice := sorted(column for column, count in Counter(names).items() if count > 1 and column in schema.names):
        raise DataError(f"{path}: the column {', '.join(twice)} of {name.upper()} is there twice; keep one")
    table = table.rename_columns(names)
    missing = [column for column in schema.names if column not in names]
    if required := [column for column in missing if column not in OPTIONAL_COLUMNS]:
        raise DataError(f"{path}: the column {', '.join(required)} of {name.upper()} is missing; add it")
    if name != "clicks" and table.num_rows == 0:
        raise DataError(f"{path} holds no row of {name.upper()}")
    place = _Place(path, name, first_row=1 if path.suffix == ".parquet" else 2)
    columns = [
        pa.nulls(table.num_rows, field.type) if field.name in missing else _convert(table[field.name], field, place)
        for field in schema
    ]
    events = pa.table(columns, schema=schema)
    for column in schema.names:
        if column not in NULLABLE_COLUMNS and events[column].null_count:
            empty = pc.index(pc.is_null(events[column]), True).as_py()
            count = events[column].null_count
            raise DataError(
                f"{place.of(column, empty)} is empty, as in {count:,} rows; fill it in or leave the rows out"
            )
    return events


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value is, for messages."""

    path: Path
    table: str
    first_row: int

    def of(self, column: str, position: int) -> str:
        return f"{self.path}: {self.table.upper()}.{column} in row {position + self.first_row:,}"


def _read_csv(path: Path) -> pa.Table:
    """All columns as text: what a cell says is decided by its column, and a message can name its row."""
    parse = pa_csv.ParseOptions(newlines_in_values=True)
    with path.open("rb") as file:
        head = pa_csv.read_csv(pa.BufferReader(file.readline()), parse_options=parse)
    convert = pa_csv.ConvertOptions(
        column_types=dict.fromkeys(head.column_names, pa.string()), null_values=[""], strings_can_be_null=True
    )
    one_thread = pa_csv.ReadOptions(use_threads=False)  # with several, errors do not say which row they mean
    return pa_csv.read_csv(path, read_options=one_thread, parse_options=parse, convert_options=convert)


def _convert(column: pa.ChunkedArray, field: pa.Field, place: _Place) -> pa.Array:
    for is_kind, convert in (
        (pa.types.is_string, _texts),
        (pa.types.is_timestamp, _times),
        (pa.types.is_boolean, _flags),
    ):
        if is_kind(field.type):
            return convert(column, field.name, place)
    return _numbers(column, field, place)


def _texts(column: pa.ChunkedArray, name: str, place: _Place) -> pa.Array:
    if pa.types.is_floating(column.type):
        where = f"{place.path}: {place.table.upper()}.{name}"
        raise DataError(f"{where} is a column of floats, which lose the digits of an id; write it as text")
    texts = column.cast(pa.string()).to_pandas()
    _refuse(texts, texts.str.fullmatch(_SPOILED).eq(True), name, place, "was a float and lost digits; write it as text")
    return pa.array(texts, pa.string(), from_pandas=True)


def _numbers(column: pa.ChunkedArray, field: pa.Field, place: _Place) -> pa.Array:
    given = column.to_pandas() if _is_text(column) else pd.Series(column.cast(pa.float64()).to_numpy())
    numbers = pd.to_numeric(given, errors="coerce").astype(float)
    _refuse(given, numbers.isna() & given.notna(), field.name, place, "is not a number; write it as 1234.5")
    _refuse(given, np.isinf(numbers), field.name, place, "is infinite; leave the cell empty, or the row out")
    if pa.types.is_integer(field.type):
        _refuse(given, numbers.mod(1).gt(0), field.name, place, "is not a whole number")
    return pa.array(numbers, pa.float64(), from_pandas=True).cast(field.type)


def _times(column: pa.ChunkedArray, name: str, place: _Place) -> pa.Array:
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        zoned = pa.timestamp("us", getattr(column.type, "tz", None))
        return column.cast(zoned, safe=False).cast(pa.timestamp("us")).combine_chunks()
    given = column.to_pandas()
    epochs = pd.to_numeric(given, errors="coerce").astype(float)
    texts = given.where(epochs.isna()) if _is_text(column) else pd.Series(None, index=given.index, dtype=object)
    times = pd.to_datetime(texts, format="ISO8601", utc=True, errors="coerce").dt.tz_localize(None).astype("M8[us]")
    times = times.where(epochs.isna(), _of_epochs(epochs))
    todo = "is no time; write it as 2026-01-31 06:00:00 (UTC) or as an epoch in seconds"
    _refuse(given, times.isna() & given.notna(), name, place, todo)
    return pa.array(times, pa.timestamp("us"), from_pandas=True)


def _of_epochs(epochs: pd.Series) -> pd.Series:
    """The times of numbers of seconds, ms, µs or ns since 1970: until 5138 each has a size of its own."""
    size = epochs.abs()
    unit_us = np.select([size < 1e11, size < 1e14, size < 1e17], [1e6, 1e3, 1.0], 1e-3)
    return pd.Series((epochs * unit_us).fillna(0).round().astype("int64").astype("M8[us]"), index=epochs.index)


def _flags(column: pa.ChunkedArray, name: str, place: _Place) -> pa.Array:
    if pa.types.is_boolean(column.type):
        return column.combine_chunks()
    given = column.cast(pa.string()).to_pandas()
    flags = given.str.strip().str.lower().map(_BOOLEANS)
    _refuse(given, flags.isna() & given.notna(), name, place, "is neither true nor false")
    return pa.array(flags, pa.bool_(), from_pandas=True)


def _is_text(column: pa.ChunkedArray) -> bool:
    return pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or pa.types.is_null(column.type)


def _refuse(given: pd.Series, is_bad: pd.Series, name: str, place: _Place, why: str) -> None:
    if is_bad.any():
        first = int(is_bad.to_numpy().argmax())
        more = f" ({is_bad.sum():,} such rows)" if is_bad.sum() > 1 else ""
        # A doctor's identifier is in no message.
        value = "a value" if name == "npi" else repr(str(given.iloc[first])[:60])
        raise DataError(f"{place.of(name, first)}: {value} {why}{more}")


def _without_impossible_times(
    name: str, table: pa.Table, *, path: Path, now: datetime
) -> tuple[pa.Table, Iterator[str]]:
    """The rows of times from EARLIEST to `now`, and what was set aside."""
    times, utc_now = table[_TIMES[name]], now.astimezone(UTC).replace(tzinfo=None)
    is_late, is_early = pc.greater(times, pa.scalar(utc_now)), pc.less(times, pa.scalar(EARLIEST))
    kept = table.filter(pc.invert(pc.or_(is_late, is_early)))
    if name == "bids" and not kept.num_rows:
        raise DataError(f"{path}: no row of BIDS has a bid_ts between {EARLIEST:%Y} and now; correct the column")
    found = ((is_late, "in the future"), (is_early, f"before {EARLIEST:%Y}"))
    counts = ((int(pc.sum(which).as_py() or 0), when) for which, when in found)
    return kept, (
        f"{path}: {count:,} rows of {name.upper()} {when} were set aside ({_TIMES[name]})"
        for count, when in counts
        if count
    )


def _negative_prices(name: str, table: pa.Table, *, path: Path) -> Iterator[str]:
    for column in _PRICES[name]:
        if count := int(pc.sum(pc.less(table[column], 0)).as_py() or 0):
            yield f"{path}: {count:,} rows of {name.upper()} have a negative {column}"
