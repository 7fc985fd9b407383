"""A team's own event log: read from Parquet or CSV, checked row by row, and loaded whole or not at all."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lab.market.tables import BIDS_SCHEMA, CLICKS_SCHEMA, VIEWS_SCHEMA
from lab.stack.own_files import is_parquet, read_rows
from lab.stack.own_values import Place, convert
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

WORDS_FOR_NO_VALUE = ("null", "none", "nan", "n/a", "\\n")
"""Texts, in any case, that other systems export where there is no value; here they are values as any other."""

EARLIEST = datetime(2000, 1, 1)  # noqa: DTZ001 - the log's times are UTC without a zone
"""Rows of earlier times, such as an epoch of 0, are set aside."""


@dataclass(frozen=True, slots=True)
class OwnLog:
    """A team's own log: the rows of each table, the client, the day after its last, and what a person should know."""

    tables: Mapping[str, pa.Table]
    object_id: int
    end_day: date
    notes: tuple[str, ...] = field(default=())


def read_own_log(files: Mapping[str, Path], *, now: datetime) -> OwnLog:
    """Return a team's own bids, views and clicks.

    Rows of a time that is still to come, or before EARLIEST, are set aside; they, negative prices and words for no
    value, such as NULL, are in the notes.

    Args:
        files: {"bids": path, "views": path, "clicks": path}, Parquet or CSV in the warehouse's columns.

    Raises:
        DataError: names the file with every missing column, the column and row of a value that cannot be read, or says
            that the bids are of several clients.
    """
    tables, notes = {}, []
    for name, path in files.items():
        tables[name], found = _without_impossible_times(name, read_events(name, path), path=path, now=now)
        notes += [*found, *_negative_prices(name, tables[name], path=path), *_words(name, tables[name], path=path)]
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
        held = marker.read_text() if marker.exists() else None
        # Gone before the log is: a process that ends in between leaves no word of a log that is no longer there.
        marker.unlink(missing_ok=True)
        try:
            load_tables(connection, files, replace=True)
        except Exception:
            if held is not None:
                marker.write_text(held)
            raise


def read_events(name: str, path: Path) -> pa.Table:
    """Return the rows of a Parquet or CSV file in the table's columns and types; optional columns may be missing.

    Times are ISO 8601, UTC where they have no zone, an epoch in seconds, ms, µs or ns, or digits as in 20260131 and
    20260131060000. An empty cell of a CSV file is no value. Rows are counted from 1; the first row of a CSV file is
    its header.

    Raises:
        DataError: the file cannot be read, is empty, has a column twice, lacks columns or values, or holds values of
            the wrong type; names the file, and for a value its column, its row and the value.
    """
    schema, table = SCHEMAS[name], read_rows(path, table=name)
    names = [column.strip().lower() for column in table.column_names]
    if twice := sorted(column for column, count in Counter(names).items() if count > 1 and column in schema.names):
        raise DataError(f"{path}: the column {', '.join(twice)} of {name.upper()} is there twice; keep one")
    table = table.rename_columns(names)
    missing = [column for column in schema.names if column not in names]
    if required := [column for column in missing if column not in OPTIONAL_COLUMNS]:
        raise DataError(f"{path}: the column {', '.join(required)} of {name.upper()} is missing; add it")
    if name != "clicks" and table.num_rows == 0:
        raise DataError(f"{path} holds no row of {name.upper()}")
    place = Place(path, name, first_row=1 if is_parquet(path) else 2)
    columns = [
        pa.nulls(table.num_rows, field.type) if field.name in missing else convert(table[field.name], field, place)
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


def _words(name: str, table: pa.Table, *, path: Path) -> Iterator[str]:
    for column in table.schema:
        if pa.types.is_string(column.type):
            are_words = pc.is_in(pc.utf8_lower(table[column.name]), value_set=pa.array(WORDS_FOR_NO_VALUE))
            if count := int(pc.sum(are_words).as_py() or 0):
                yield (
                    f"{path}: {count:,} rows of {name.upper()} have a word such as NULL in {column.name}, which is "
                    "taken for a value; leave the cell empty where there is none"
                )
