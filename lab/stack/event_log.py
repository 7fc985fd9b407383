"""The generated event log of the embedded warehouse."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lab.market.data_quality import Dirt
from lab.market.events import generate_events
from lab.market.presets import PRESETS
from lab.market.world import World
from lab.stack.warehouse_loading import load_tables
from optimizer.sql_files import sql_folder

SEED = 20260203
LOG_DAYS = 60
LOG_BIDS = {"drugs_hcp": 1_000_000, "drugs_com": 250_000, "nativo_consumer": 250_000}

TABLES = ("bids", "views", "clicks")


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
        files: dict[str, list[Path]] = {name: [] for name in TABLES}
        for code, count in bids.items():
            of_entity = write_generated_log(code, end_day=end_day, bids=count, folder=Path(folder) / code)
            for name, path in of_entity.items():
                files[name].append(path)
        load_tables(connection, {name.upper(): paths for name, paths in files.items()}, replace=True)
    marker.write_text(wanted)
    return True


def write_generated_log(
    entity_code: str, *, end_day: date, bids: int, folder: Path, days: int = LOG_DAYS
) -> dict[str, Path]:
    """Write the generated log of the `days` before `end_day` to the folder; return the file of each table."""
    start_day = end_day - timedelta(days=days)
    world = World.create(SEED, settings=replace(PRESETS[entity_code], first_day=start_day))
    return generate_events(world, start_day=start_day, days=days, bids=bids, dirt=Dirt()).write_parquet(folder)
