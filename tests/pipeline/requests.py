"""A control plane with the documents' ids, and runs that a UI inserts there with the documents' own SQL."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from control_plane.statements import read_printed
from sqlalchemy import Engine, insert

from lab.stack.catalogue import load_catalogue
from optimizer.control_plane import tables
from optimizer.control_plane.engine import open_engine, transaction
from optimizer.control_plane.schema import migrate
from optimizer.core.config.settings import CONFIG_VERSION

PRINTED = read_printed("example_flow.sql")
RUN_ID = "20260203_150000"
VERSION_ID = 5

Execute = Callable[[str], None]


def prepare(engine: Engine) -> None:
    """Fill the database with this code's version under the documents' id, and drugs_hcp as entity 1."""
    migrate(engine)
    with transaction(engine) as connection:
        connection.execute(
            insert(tables.optimizers).values(opt_id=1, opt_code="rtb_optimizer", opt_name="RTB Optimizer")
        )
        version = {"version_code": CONFIG_VERSION, "version_name": "Landscape optimizer"}
        connection.execute(insert(tables.versions).values(version_id=VERSION_ID, opt_id=1, **version))
    load_catalogue(engine)


def insert_printed(execute: Execute, *, run_id: str = RUN_ID, entity_id: int = 1) -> str:
    """Insert a run and its values as the documents print it, under another id or entity if one is given."""
    insert_row(execute, run_id=run_id, entity_id=entity_id)
    execute(PRINTED["ui_inserts_run_configs"].replace(RUN_ID, run_id))
    return run_id


def insert_row(execute: Execute, *, run_id: str = RUN_ID, entity_id: int = 1) -> str:
    """Insert the row alone, as a UI does that writes the values in a transaction of their own."""
    execute(PRINTED["ui_inserts_run"].replace(RUN_ID, run_id).replace(", 1, 5,", f", {entity_id}, {VERSION_ID},"))
    return run_id


def set_value(execute: Execute, key: str, value: str, *, run_id: str = RUN_ID) -> None:
    """Insert one more value of the run."""
    names = "run_id, config_key, config_value, config_section"
    execute(f"INSERT INTO opt_run_configs ({names}) VALUES ('{run_id}', '{key}', '{value}', 'business')")


def copy_control_plane(engine: Engine, folder: Path) -> Engine:
    """Return an engine on a copy of the SQLite control plane: a migration takes longer than a test."""
    path = folder / "control_plane.db"
    with closing(sqlite3.connect(str(engine.url.database))) as database:
        database.execute("VACUUM INTO ?", (str(path),))
    return open_engine(f"sqlite:///{path}")
