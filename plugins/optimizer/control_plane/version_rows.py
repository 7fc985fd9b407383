"""The rows that say what this code is: the optimizer, its version, and every config key with type and bounds."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from sqlalchemy import Connection, Engine, Table, delete, insert, select, update

from optimizer.control_plane import tables
from optimizer.control_plane.engine import transaction
from optimizer.core.config.merge import ConfigKey
from optimizer.core.config.settings import CONFIG_VERSION, config_catalogue


def load_version(engine: Engine) -> str:
    """Bring this code's version and its keys up to date with the code, and return the version's code."""
    with transaction(engine) as connection:
        ensure_version(connection)
    return CONFIG_VERSION


def ensure_version(connection: Connection) -> tuple[int, int]:
    """Return opt_id and version_id of this code, whose keys are made those of the code.

    Other versions and the entities' values stay. An entity's value of a key that is gone fails its next run, by name.
    """
    name = {"opt_name": "RTB Optimizer"}
    opt_id = ensure_row(connection, tables.optimizers, "opt_id", name, opt_code="rtb_optimizer")
    values = {"version_name": "Landscape optimizer", "release_date": date(2026, 2, 1)}
    identity = {"opt_id": opt_id, "version_code": CONFIG_VERSION}
    version_id = ensure_row(connection, tables.versions, "version_id", values, **identity)
    keys = {key.config_key: _columns(key) for key in config_catalogue()}
    _support_keys(connection, version_id, names=list(keys))
    _replace_keys(connection, version_id, keys=keys)
    return opt_id, version_id


def ensure_row(connection: Connection, table: Table, key: str, values: Mapping[str, object], **identity: object) -> int:
    """Return the key of the row with this identity, which is inserted with these values where it is missing."""
    same = [table.c[name] == value for name, value in identity.items()]
    found = connection.execute(select(table.c[key]).where(*same)).scalar_one_or_none()
    if found is not None:
        return int(found)
    made: Any = connection.execute(insert(table).values(**identity, **values)).inserted_primary_key
    return int(made[0])


def _columns(key: ConfigKey) -> dict[str, Any]:
    return key.model_dump() | {"allowed_values": list(key.allowed_values) if key.allowed_values else None}


def _support_keys(connection: Connection, version_id: int, *, names: list[str]) -> None:
    versions, of_version = tables.versions, tables.versions.c.version_id == version_id
    if connection.scalar(select(versions.c.supported_configs).where(of_version)) != names:
        connection.execute(update(versions).where(of_version).values(supported_configs=names))


def _replace_keys(connection: Connection, version_id: int, *, keys: Mapping[str, dict[str, Any]]) -> None:
    """Insert, update and delete what differs, and write nothing where nothing does."""
    table = tables.version_configs
    rows = connection.execute(select(table).where(table.c.version_id == version_id)).mappings()
    known = {row["config_key"]: row for row in rows}
    for name, row in known.items():
        of_row = table.c.config_id == row["config_id"]
        if name not in keys:
            connection.execute(delete(table).where(of_row))
        elif changed := {column: value for column, value in keys[name].items() if row[column] != value}:
            connection.execute(update(table).where(of_row).values(changed))
    missing = [{"version_id": version_id, **columns} for name, columns in keys.items() if name not in known]
    if missing:
        connection.execute(insert(table), missing)
