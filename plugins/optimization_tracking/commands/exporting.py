"""`export`: all selected runs, iterations or samples as CSV or Parquet."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from uuid import UUID

import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as parquet
import typer
from pydantic import BaseModel

from optimization_tracking.client import TrackingClient, calls
from optimization_tracking.commands import list_options
from optimization_tracking.commands.formulas import json_without_formulas, without_formulas
from optimization_tracking.models.iterations import Iteration
from optimization_tracking.models.runs import Run
from optimization_tracking.models.samples import Sample
from optimizer.errors import ConfigError
from optimizer.presentation.formats import one_line

ROWS_A_PART, BYTES_A_PART = 5000, 16 * 1024 * 1024
"""A part of an export ends at this many rows or bytes, whichever comes first."""
MODELS: dict[str, type[BaseModel]] = {"runs": Run, "iterations": Iteration, "samples": Sample}
_TYPES = {
    UUID: pa.string(),
    str: pa.string(),
    datetime: pa.timestamp("us", tz="UTC"),
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
}

_OPTIONS = {"optimizer_type": "--type", "tags": "--tag"}
"""Filters whose option has another name."""

_AS_JSON = {b"content": b"application/json"}

Row: TypeAlias = dict[str, Any]
Writer: TypeAlias = parquet.ParquetWriter | arrow_csv.CSVWriter


def export(
    file: Annotated[Path, typer.Argument(help="Output file, .csv or .parquet.")],
    what: Annotated[Literal["runs", "iterations", "samples"], typer.Option(help="What to export.")] = "runs",
    run: Annotated[str | None, typer.Option(help="Only of this run: its id or name.")] = None,
    status: list_options.Statuses = None,
    optimizer_type: list_options.Types = None,
    tag: list_options.Tags = None,
    search: list_options.Search = None,
    config: list_options.Config = None,
    metadata: list_options.Metadata = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Leave CSV texts that a spreadsheet would run as a formula as they are.")
    ] = False,
) -> None:
    """Export to a file; JSON values become text, and nothing of the file is there before all of it is.

    In CSV, a text gets a ' in front of = + - @ at its beginning or after ; | tab or line break, so that no spreadsheet
    runs it as a formula.
    """
    chosen = list_options.filters(
        status=status, optimizer_type=optimizer_type, tags=tag, search=search, config=config, metadata=metadata
    )
    if run is not None and chosen:
        options = ", ".join(_OPTIONS.get(name, f"--{name}") for name in chosen)
        raise ConfigError(f"one run is exported with --run: leave out {options}, or --run to filter all runs")
    schema = schema_of(MODELS[what])
    with list_options.connect() as client, open_writer(file, schema) as writer:
        rows = 0
        is_guarded = file.suffix == ".csv" and not raw
        pages = _pages(client, what, run=run, chosen=chosen)
        for part in _joined(table_of(page, schema, is_guarded=is_guarded) for page in pages):
            writer.write_table(part)
            rows += part.num_rows
    typer.echo(f"{rows:,} {what} in {one_line(str(file))}")


def schema_of(model: type[BaseModel]) -> pa.Schema:
    """Return the columns of a model, by the API's names: a plain value as itself, any other as JSON text."""
    columns = []
    for name, info in model.model_fields.items():
        plain = next((kind for python, kind in _TYPES.items() if info.annotation in (python, python | None)), None)
        columns.append(pa.field(info.alias or name, plain or pa.string(), metadata=None if plain else _AS_JSON))
    return pa.schema(columns)


@contextmanager
def open_writer(file: Path, schema: pa.Schema) -> Iterator[Writer]:
    """Yield what writes tables; the file takes its name at the end of the block, and is none where that fails.

    Raises:
        ConfigError: its name ends in neither .csv nor .parquet, or it cannot be written.
    """
    writers = {".csv": arrow_csv.CSVWriter, ".parquet": parquet.ParquetWriter}
    if file.suffix not in writers:
        raise ConfigError(f"{file}: the name must end in .csv or .parquet")
    part = file.with_name(file.name + ".part")
    try:
        with part.open("wb") as sink, writers[file.suffix](sink, schema) as writer:
            yield writer
        part.replace(file)
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def table_of(rows: Sequence[Row], schema: pa.Schema, *, is_guarded: bool) -> pa.Table:
    """Return rows of the API's JSON as a table; `is_guarded`: without texts that a spreadsheet would run."""
    return pa.Table.from_arrays([_column(rows, field, is_guarded=is_guarded) for field in schema], schema=schema)


def _pages(
    client: TrackingClient, what: calls.Listed, *, run: str | None, chosen: dict[str, Any]
) -> Iterator[list[Row]]:
    if what == "runs":
        if run is None:
            yield from client.pages_of("runs", **chosen)
        else:
            yield [list_options.find_run(client, run).model_dump(mode="json")]
        return
    runs = [list_options.find_run(client, run)] if run is not None else client.iterate_runs(**chosen)
    for one in runs:
        yield from client.pages_of(what, one.id)


def _joined(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Join the pages' tables: a run may have a few rows only, and a page a few long ones."""
    part: list[pa.Table] = []
    for table in tables:
        part.append(table)
        is_full = sum(one.num_rows for one in part) >= ROWS_A_PART or sum(one.nbytes for one in part) >= BYTES_A_PART
        if is_full:
            yield pa.concat_tables(part)
            part = []
    if part:
        yield pa.concat_tables(part)


def _column(rows: Sequence[Row], field: pa.Field, *, is_guarded: bool) -> pa.Array:
    values = [row.get(field.name) for row in rows]
    if pa.types.is_timestamp(field.type):
        return pa.array(values, pa.string()).cast(field.type)
    guard = without_formulas
    if field.metadata == _AS_JSON:  # with one of the signs begin negative numbers only
        values = [None if value is None else json.dumps(value, ensure_ascii=False) for value in values]
        guard = json_without_formulas
    if is_guarded and pa.types.is_string(field.type):
        values = [None if value is None else guard(value) for value in values]
    return pa.array(values, field.type)
