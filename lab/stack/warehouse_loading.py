"""Load Parquet files into a warehouse table through a stage: the one fast way that works locally and on Snowflake."""

import re
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from optimizer.errors import DataError, WarehouseError

_TABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*){0,2}")


def load_parquet(connection: Any, *, table: str, files: Iterable[Path], replace: bool = False) -> int:
    """Load the files' rows into one table and return how many there were; the rest as `load_tables`."""
    return load_tables(connection, {table: files}, replace=replace)[table]


def load_tables(connection: Any, files: Mapping[str, Iterable[Path]], *, replace: bool = False) -> dict[str, int]:
    """Load the files' rows by column name and return how many there were of each table.

    Either all rows of all tables arrive or none does. Calling it twice loads the rows twice; with `replace=True` the
    tables hold exactly these files afterwards, so the call can be repeated.

    Args:
        connection: of the Snowflake connector, outside a transaction.
        files: by existing table, `TABLE`, `SCHEMA.TABLE` or `DATABASE.SCHEMA.TABLE`, whose timestamps are
            TIMESTAMP_NTZ in UTC; the files' columns are named as the table's, in any case, and their timestamps
            carry no time zone.

    Raises:
        DataError: there are no files, or one is not Parquet or has a timestamp with a time zone.
        WarehouseError: a table name is not one, or the warehouse loaded another number of rows.
    """
    paths = {table: [Path(file).resolve() for file in given] for table, given in files.items()}
    for table, own in paths.items():
        if not _TABLE_NAME.fullmatch(table):
            raise WarehouseError(f"{table!r} is not a table name; write TABLE, SCHEMA.TABLE or DATABASE.SCHEMA.TABLE")
        if not own:
            raise DataError(f"no files to load into {table}")
    rows = {table: sum(map(_count_rows, own)) for table, own in paths.items()}
    with connection.cursor() as cursor:
        stages = {table: _stage(cursor, own) for table, own in paths.items()}
        cursor.execute("BEGIN")
        try:
            for table, stage in stages.items():
                _copy(cursor, stage, table, rows[table], replace)
            cursor.execute("COMMIT")
        except BaseException:
            cursor.execute("ROLLBACK")
            raise
    return rows


def _stage(cursor: Any, paths: Iterable[Path]) -> str:
    """A new stage has no memory of files loaded before; it ends with the session, its files with the COPY."""
    stage = f"load_{secrets.token_hex(8)}"
    cursor.execute(f"CREATE TEMPORARY STAGE {stage}")
    for number, path in enumerate(paths):
        cursor.execute(f"PUT 'file://{path}' @{stage}/{number} AUTO_COMPRESS=FALSE")
    return stage


def _copy(cursor: Any, stage: str, table: str, expected_rows: int, replace: bool) -> None:
    if replace:
        cursor.execute(f"DELETE FROM {table}")  # noqa: S608 - checked name
    before = _count(cursor, table)
    cursor.execute(
        f"COPY INTO {table} FROM @{stage} FILE_FORMAT = (TYPE = PARQUET) "
        "MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE PURGE = TRUE"
    )
    loaded_rows = _count(cursor, table) - before
    if loaded_rows != expected_rows:
        raise WarehouseError(f"table {table}: {loaded_rows} of {expected_rows} rows arrived; nothing was kept")


def _count(cursor: Any, table: str) -> int:
    return int(cursor.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])  # noqa: S608 - checked name


def _count_rows(path: Path) -> int:
    """Return a file's rows, having checked what would be loaded wrongly without a word."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}") from error
    zoned = [field.name for field in schema if pa.types.is_timestamp(field.type) and field.type.tz]
    if zoned:
        raise DataError(f"{path}: {', '.join(zoned)} carry a time zone; write UTC timestamps without one")
    return rows
