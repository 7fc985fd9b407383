"""`export`: all selected runs, iterations or samples as CSV or Parquet."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from uuid import UUID

import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as parquet
import typer
from pydantic import BaseModel

from optimization_tracking.client import TrackingClient
from optimization_tracking.commands import list_options
from optimization_tracking.models.iterations import Iteration
from optimization_tracking.models.runs import Run
from optimization_tracking.models.samples import Sample
from optimizer.errors import ConfigError

ROWS_A_BATCH = 5000
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

_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""What a text begins with that a spreadsheet takes for a formula."""

_AS_JSON = {b"content": b"application/json"}

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

    In CSV, a text that begins with = + - @ or a tab gets a ' in front, so that no spreadsheet runs it as a formula.
    """
    chosen = list_options.filters(
        status=status, optimizer_type=optimizer_type, tags=tag, search=search, config=config, metadata=metadata
    )
    if run is not None and chosen:
        options = ", ".join(_OPTIONS.get(name, f"--{name}") for name in chosen)
        raise ConfigError(f"one run is exported with --run: leave out {options}, or --run to filter all runs")
    schema = schema_of(MODELS[what])
    with list_options.connect() as client, open_writer(file, schema) as writer:
        runs = [list_options.find_run(client, run)] if run is not None else client.iterate_runs(**chosen)
        rows = 0
        is_guarded = file.suffix == ".csv" and not raw
        for table in _tables(_rows(client, runs, what), schema, is_guarded=is_guarded):
            writer.write_table(table)
            rows += table.num_rows
    typer.echo(f"{rows:,} {what} in {file}")


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
        with writers[file.suffix](part, schema) as writer:
            yield writer
        part.replace(file)
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def _rows(client: TrackingClient, runs: Iterable[Run], what: str) -> Iterator[BaseModel]:
    for run in runs:
        if what == "runs":
            yield run
        else:
            yield from client.iterate_iterations(run.id) if what == "iterations" else client.iterate_samples(run.id)


def _tables(rows: Iterator[BaseModel], schema: pa.Schema, *, is_guarded: bool) -> Iterator[pa.Table]:
    while chunk := [_plain(row, schema, is_guarded=is_guarded) for row in islice(rows, ROWS_A_BATCH)]:
        yield pa.Table.from_pylist(chunk, schema=schema)


def _plain(row: BaseModel, schema: pa.Schema, *, is_guarded: bool) -> dict[str, Any]:
    values = {info.alias or name: getattr(row, name) for name, info in type(row).model_fields.items()}
    plain = {field.name: _value(values[field.name], is_json=field.metadata == _AS_JSON) for field in schema}
    return {name: _guarded(value) for name, value in plain.items()} if is_guarded else plain


def _guarded(value: Any) -> Any:
    """Return a text that spreadsheets show and never run."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULAS) else value


def _value(value: Any, *, is_json: bool) -> Any:
    if is_json and value is not None:
        return json.dumps(value, ensure_ascii=False)
    return str(value) if isinstance(value, UUID) else value
