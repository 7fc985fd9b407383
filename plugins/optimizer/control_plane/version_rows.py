"""The rows that say what this code is: the optimizer, its version, and every config key with type and bounds."""

from collections.abc import Mapping
from datetime import date

from sqlalchemy import Connection, Engine, Table, insert, select

from optimizer.control_plane import tables
from optimizer.control_plane.engine import transaction
from optimizer.core.settings import CONFIG_VERSION, config_catalogue


def load_version(engine: Engine) -> str:
    """Load this code's version with all of its keys, and return the version's code; rows that are there stay."""
    with transaction(engine) as connection:
        ensure_version(connection)
    return CONFIG_VERSION


def ensure_version(connection: Connection) -> tuple[int, int]:
    """Return opt_id and version_id of this code, whose rows are inserted where they are missing."""
    keys = config_catalogue()
    name = {"opt_name": "RTB Optimizer"}
    opt_id = ensure_row(connection, tables.optimizers, "opt_id", name, opt_code="rtb_optimizer")
    values = {
        "version_name": "Landscape optimizer",
        "release_date": date(2026, 2, 1),
        "supported_configs": [key.config_key for key in keys],
    }
    identity = {"opt_id": opt_id, "version_code": CONFIG_VERSION}
    version_id = ensure_row(connection, tables.versions, "version_id", values, **identity)
    for key in keys:
        columns = key.model_dump(exclude={"config_key"})
        columns["allowed_values"] = list(key.allowed_values) if key.allowed_values else None
        identity = {"version_id": version_id, "config_key": key.config_key}
        ensure_row(connection, tables.version_configs, "config_id", columns, **identity)
    return opt_id, version_id


def ensure_row(connection: Connection, table: Table, key: str, values: Mapping[str, object], **identity: object) -> int:
    """Return the key of the row with this identity, which is inserted with these values where it is missing."""
    same = [table.c[name] == value for name, value in identity.items()]
    found = connection.execute(select(table.c[key]).where(*same)).scalar_one_or_none()
    if found is not None:
        return found
    return connection.execute(insert(table).values(**identity, **values)).inserted_primary_key[0]
