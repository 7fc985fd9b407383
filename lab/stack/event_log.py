"""The event log of the embedded warehouse: generated, or a team's own files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from lab.market.data_quality import Dirt
from lab.market.events import generate_events
from lab.market.presets import PRESETS
from lab.market.tables import BIDS_SCHEMA, CLICKS_SCHEMA, VIEWS_SCHEMA
from lab.market.world import World
from lab.stack.warehouse_loading import load_parquet
from optimizer.errors import DataError
from optimizer.sql_files import sql_folder

SEED = 20260203
LOG_DAYS = 60
LOG_BIDS = {"drugs_hcp": 1_000_000, "drugs_com": 250_000, "nativo_consumer": 250_000}

SCHEMAS = {"bids": BIDS_SCHEMA, "views": VIEWS_SCHEMA, "clicks": CLICKS_SCHEMA}
OPTIONAL_COLUMNS = frozenset(
    {
        "run_id",
        "browser_code",
        "device_type",
        "domain",
        "npi",
        "base_bid_cpm",
        "domain_multiplier",
        "npi_multiplier",
        "floor_cpm",
        "privacy",
        "is_test",
    }
)
NULLABLE_COLUMNS = OPTIONAL_COLUMNS | {"internal_adspace_id", "geo_region_name", "os_code"}


@dataclass(frozen=True, slots=True)
class OwnLog:
    """A team's own log: the rows of each table, the client and the day after its last."""

    tables: Mapping[str, pa.Table]
    object_id: int
    end_day: date


def create_tables(connection: Any) -> None:
    """Create the warehouse's event tables where they are missing."""
    statements = (sql_folder("snowflake") / "tables.sql").read_text().split(";\n")
    with connection.cursor() as cursor:
        for statement in filter(str.strip, statements):
            cursor.execute(statement)


def load_generated_log(connection: Any, *, end_day: date, bids: Mapping[str, int], marker: Path) -> bool:
    """Load a generated log of `LOG_DAYS` days before `end_day`; return False where that very log is there already.

    The marker file says which log the tables hold; it is written when all three tables are whole.
    """
    wanted = json.dumps({"end_day": end_day.isoformat(), "bids": dict(bids), "seed": SEED}, sort_keys=True)
    if marker.exists() and marker.read_text() == wanted:
        return False
    marker.unlink(missing_ok=True)
    with TemporaryDirectory(prefix="optimizer-log-") as folder:
        files: dict[str, list[Path]] = {name: [] for name in SCHEMAS}
        for code, count in bids.items():
            of_entity = write_generated_log(code, end_day=end_day, bids=count, folder=Path(folder) / code)
            for name, path in of_entity.items():
                files[name].append(path)
        for name, paths in files.items():
            load_parquet(connection, table=name.upper(), files=paths, replace=True)
    marker.write_text(wanted)
    return True


def write_generated_log(
    entity_code: str, *, end_day: date, bids: int, folder: Path, days: int = LOG_DAYS
) -> dict[str, Path]:
    """Write the generated log of the `days` before `end_day` to the folder; return the file of each table."""
    start_day = end_day - timedelta(days=days)
    world = World.create(SEED, settings=replace(PRESETS[entity_code], first_day=start_day))
    return generate_events(world, start_day=start_day, days=days, bids=bids, dirt=Dirt()).write_parquet(folder)


def read_own_log(files: Mapping[str, Path]) -> OwnLog:
    """Return a team's own bids, views and clicks.

    Args:
        files: {"bids": path, "views": path, "clicks": path}, Parquet or CSV in the warehouse's columns.
    Raises:
        DataError: names the file with every missing column, or says that the bids are of several clients.
    """
    tables = {name: read_events(name, path) for name, path in files.items()}
    clients = pc.unique(tables["bids"]["object_id"]).to_pylist()
    if len(clients) != 1:
        raise DataError(
            f"{files['bids']}: object_id holds {sorted(clients)[:5]}; give the bids of exactly one SSP client"
        )
    last = pc.max(tables["bids"]["bid_ts"]).as_py()
    return OwnLog(tables, object_id=clients[0], end_day=last.date() + timedelta(days=1))


def load_own_log(connection: Any, log: OwnLog, *, marker: Path) -> None:
    """Load a team's own log instead of what the tables held."""
    marker.unlink(missing_ok=True)
    with TemporaryDirectory(prefix="optimizer-log-") as folder:
        for name, table in log.tables.items():
            path = Path(folder) / f"{name}.parquet"
            pq.write_table(table, path)
            load_parquet(connection, table=name.upper(), files=[path], replace=True)


def read_events(name: str, path: Path) -> pa.Table:
    """Return the rows of a Parquet or CSV file in the table's columns and types; optional columns may be missing.

    Raises:
        DataError: the file cannot be read, is empty, lacks columns or values, or holds values of the wrong type.
    """
    schema = SCHEMAS[name]
    try:
        table = pq.read_table(path) if path.suffix == ".parquet" else _read_csv(path, schema)
        table = table.rename_columns([column.lower() for column in table.column_names])
        missing = [field.name for field in schema if field.name not in table.column_names]
        required = [column for column in missing if column not in OPTIONAL_COLUMNS]
        if required:
            raise DataError(f"{path}: the column {', '.join(required)} of {name.upper()} is missing; add it")
        columns = [
            pa.nulls(table.num_rows, field.type) if field.name in missing else table[field.name].cast(field.type)
            for field in schema
        ]
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as rows of {name.upper()}: {error}") from error
    if name != "clicks" and table.num_rows == 0:
        raise DataError(f"{path} holds no row of {name.upper()}")
    events = pa.table(columns, schema=schema)
    gaps = [column for column in schema.names if column not in NULLABLE_COLUMNS and events[column].null_count]
    if gaps:
        raise DataError(
            f"{path}: rows of {name.upper()} have no {', '.join(gaps)}; fill these in or leave the rows out"
        )
    return events


def _read_csv(path: Path, schema: pa.Schema) -> pa.Table:
    """The rows with the text columns as text: read as numbers, identifiers would lose their leading zeros."""
    with pa_csv.open_csv(path) as reader:
        names = reader.schema.names
    text = {field.name for field in schema if pa.types.is_string(field.type)}
    types = {name: pa.string() for name in names if name.lower() in text}
    return pa_csv.read_csv(path, convert_options=pa_csv.ConvertOptions(column_types=types))
