"""The warehouse contract: which tables and columns must be there."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from optimizer.errors import WarehouseError
from optimizer.warehouse.failures import warehouse_errors
from optimizer.warehouse.queries import render_query

REQUIRED_COLUMNS = {
    "BIDS": (
        "bid_id",
        "bid_ts",
        "object_id",
        "run_id",
        "domain",
        "npi",
        "bid_cpm",
        "base_bid_cpm",
        "domain_multiplier",
        "npi_multiplier",
        "floor_cpm",
    ),
    "VIEWS": ("bid_id", "view_ts", "cost_cpm", "revenue"),
    "CLICKS": ("bid_id", "click_ts", "revenue"),
}
OPTIONAL_COLUMNS = frozenset({"privacy", "is_test"})
"""Columns of BIDS that logs from before there were any lack: such a log has no restricted prices and no tests."""

_TIME_TYPES = ("TIMESTAMP_NTZ", "TIMESTAMP_LTZ", "DATE")
"""Sessions are in UTC, and so are the days of a TIMESTAMP_LTZ; a TIMESTAMP_TZ has the day of its own zone."""

_NUMBERS = frozenset(
    {
        *("object_id", "bid_cpm", "base_bid_cpm", "domain_multiplier", "npi_multiplier", "floor_cpm"),
        *("cost_cpm", "revenue"),
    }
)
_NO_NUMBERS = frozenset({"TEXT", "VARCHAR", "VARIANT", "OBJECT", "ARRAY", "BINARY", "BOOLEAN", "DATE"})

NEVER_FEATURES = (frozenset(REQUIRED_COLUMNS["BIDS"]) | OPTIONAL_COLUMNS) - {"domain"}
"""Columns of BIDS that say who, when or how much; none of them can describe a kind of impression."""


def check_contract(connection: Any, *, features: Sequence[str]) -> tuple[str, ...]:
    """Return the candidate features: those of `features` that are columns of BIDS.

    Raises:
        WarehouseError: names every missing table and column together, or every one of a type that cannot be read, or
            says that no candidate is left.
    """
    columns = _read_columns(connection)
    missing = [f"table {table}" for table in REQUIRED_COLUMNS if table not in columns]
    missing += [
        f"column {table}.{column}"
        for table, required in REQUIRED_COLUMNS.items()
        if table in columns
        for column in required
        if column not in columns[table]
    ]
    if missing:
        raise WarehouseError(
            f"the warehouse lacks {', '.join(missing)}; create them (include/sql/snowflake/tables.sql) or grant SELECT"
        )
    if wrong := [problem for table in REQUIRED_COLUMNS for problem in _wrong_types(table, columns[table])]:
        raise WarehouseError(f"the warehouse has columns that cannot be read as they are: {'; '.join(wrong)}")
    candidates = tuple(
        name for name in features if name.lower() in columns["BIDS"] and name.lower() not in NEVER_FEATURES
    )
    if not candidates:
        raise WarehouseError(
            f"none of the features {', '.join(features) or '(none)'} is a column of BIDS; see opt_feature_macros"
        )
    return candidates


def _wrong_types(table: str, columns: Mapping[str, str]) -> Iterator[str]:
    for name in REQUIRED_COLUMNS[table]:
        data_type = columns[name]
        if name.endswith("_ts") and data_type not in _TIME_TYPES:
            yield (
                f"{table}.{name} is {data_type}, whose days are not UTC's; give the optimizer a view with "
                f"CONVERT_TIMEZONE('UTC', {name})::TIMESTAMP_NTZ"
            )
        if name in _NUMBERS and data_type in _NO_NUMBERS:
            yield f"{table}.{name} is {data_type} and not a number; give the optimizer a view with {name}::FLOAT"


def render_for(connection: Any, name: str, **options: Any) -> str:
    """Return a query as the BIDS of this connection can answer it: without the optional columns that it lacks.

    Args:
        options: those of `render_query`.

    Raises:
        WarehouseError, UnavailableError: the warehouse refuses the question for its columns, or does not answer.
    """
    present = OPTIONAL_COLUMNS & set(_read_columns(connection).get("BIDS", ()))
    return render_query(name, bids_columns=present, **options)


def _read_columns(connection: Any) -> dict[str, dict[str, str]]:
    """The types of the columns by name, by table."""
    columns: dict[str, dict[str, str]] = defaultdict(dict)
    with warehouse_errors("reading the columns of BIDS, VIEWS and CLICKS"), connection.cursor() as cursor:
        for table, column, data_type in cursor.execute(render_query("table_columns")).fetchall():
            columns[table.upper()][column.lower()] = data_type.upper()
    return dict(columns)
