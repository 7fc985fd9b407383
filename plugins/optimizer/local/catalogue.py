"""The control-plane rows of the embedded stack: one optimizer, its version, the macros and three entities."""

from collections.abc import Mapping
from datetime import date

from sqlalchemy import Connection, Engine, Table, insert, select

from optimizer.control_plane import tables
from optimizer.control_plane.engine import transaction
from optimizer.core.settings import CONFIG_VERSION, config_catalogue
from optimizer.errors import ConfigError
from optimizer.simulation.presets import PRESETS

BUCKET = "tn-optimizer-data"

MACROS = {
    "internal_adspace_id": "[ADX_PLACEMENT_ID]",
    "geo_region_name": "[ADX_GEO_STATE]",
    "os_code": "[ADX_USER_OS]",
    "browser_code": "[ADX_USER_BROWSER]",
    "device_type": "[ADX_DEVICE_TYPE]",
    "domain": "[ADX_DOMAIN]",
}

ENTITY_NAMES = {
    "drugs_hcp": "Drugs.com, health care professionals",
    "drugs_com": "Drugs.com, consumers",
    "nativo_consumer": "Nativo, consumers",
}

ENTITY_VALUES: Mapping[str, Mapping[str, str]] = {
    "drugs_hcp": {"npi_enabled": "true", "domain_enabled": "true", "floor_available": "false", "max_bid_cpm": "60"},
    "drugs_com": {"domain_enabled": "true", "target_win_rate": "0.25"},
    "nativo_consumer": {"floor_available": "true", "domain_enabled": "true"},
}


def load_catalogue(engine: Engine) -> None:
    """Load the optimizer, its version with all keys, the macros and the three entities; rows that are there stay."""
    with transaction(engine) as connection:
        opt_id = _ensure(connection, tables.optimizers, "opt_id", opt_code="rtb_optimizer", opt_name="RTB Optimizer")
        version_id = _ensure_version(connection, opt_id)
        for feature, template in MACROS.items():
            _ensure(
                connection,
                tables.feature_macros,
                "macro_id",
                _values={"macro_template": template},
                opt_id=opt_id,
                feature_name=feature,
                macro_format="adx",
            )
        for code, preset in PRESETS.items():
            _ensure_entity(connection, opt_id, version_id, code, preset.object_id)


def ensure_entity(engine: Engine, entity_code: str, *, object_id: int) -> None:
    """Add the entity with the version's defaults unless it is there.

    Raises:
        ConfigError: it is there with another object_id.
    """
    with transaction(engine) as connection:
        row = connection.execute(
            select(tables.entities.c.object_id).where(tables.entities.c.entity_code == entity_code)
        ).one_or_none()
        if row is not None and row.object_id != object_id:
            raise ConfigError(
                f"entity {entity_code} has object_id {row.object_id}, the bids have {object_id}; name another --entity"
            )
        opt_id = connection.execute(select(tables.optimizers.c.opt_id)).scalar_one()
        version_id = connection.execute(select(tables.versions.c.version_id)).scalar_one()
        _ensure_entity(connection, opt_id, version_id, entity_code, object_id)


def _ensure_version(connection: Connection, opt_id: int) -> int:
    keys = config_catalogue()
    version_id = _ensure(
        connection,
        tables.versions,
        "version_id",
        _values={
            "version_name": "Landscape optimizer",
            "release_date": date(2026, 2, 1),
            "supported_configs": [key.config_key for key in keys],
        },
        opt_id=opt_id,
        version_code=CONFIG_VERSION,
    )
    for key in keys:
        values = key.model_dump(exclude={"config_key"})
        values["allowed_values"] = list(key.allowed_values) if key.allowed_values else None
        _ensure(
            connection,
            tables.version_configs,
            "config_id",
            _values=values,
            version_id=version_id,
            config_key=key.config_key,
        )
    return version_id


def _ensure_entity(connection: Connection, opt_id: int, version_id: int, code: str, object_id: int) -> None:
    entity_id = _ensure(
        connection,
        tables.entities,
        "entity_id",
        _values={
            "opt_id": opt_id,
            "entity_name": ENTITY_NAMES.get(code, code),
            "object_id": object_id,
            "object_type": "ssp",
            "current_version_id": version_id,
            "s3_base_path": f"s3://{BUCKET}/optimizer/{code}/",
        },
        entity_code=code,
    )
    for key, value in ENTITY_VALUES.get(code, {}).items():
        _ensure(
            connection,
            tables.entity_configs,
            "id",
            _values={"config_value": value, "updated_by": "demo"},
            entity_id=entity_id,
            config_key=key,
        )


def _ensure(
    connection: Connection, table: Table, key: str, *, _values: Mapping[str, object] | None = None, **identity: object
) -> int:
    """The key of the row with this identity, which is inserted where it is missing."""
    same = [table.c[name] == value for name, value in identity.items()]
    found = connection.execute(select(table.c[key]).where(*same)).scalar_one_or_none()
    if found is not None:
        return found
    return connection.execute(insert(table).values(**identity, **(_values or {}))).inserted_primary_key[0]
