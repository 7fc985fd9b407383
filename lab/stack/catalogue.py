"""The control-plane rows of the embedded stack in addition to the version's: macros and three entities."""

from collections.abc import Mapping

from sqlalchemy import Connection, Engine, select

from lab.market.presets import PRESETS
from optimizer.control_plane import tables
from optimizer.control_plane.engine import reading, transaction
from optimizer.control_plane.entities import code_problem
from optimizer.control_plane.version_rows import ensure_row, ensure_version
from optimizer.errors import ConfigError

BUCKET = "tn-optimizer-data"
MAX_OBJECT_ID = 2**31 - 1
"""opt_entities holds no larger one."""

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
    """Load the version with all keys, the macros and the three entities; macros and entities that are there stay."""
    with transaction(engine) as connection:
        opt_id, version_id = ensure_version(connection)
        for feature, template in MACROS.items():
            identity = {"opt_id": opt_id, "feature_name": feature, "macro_format": "adx"}
            ensure_row(connection, tables.feature_macros, "macro_id", {"macro_template": template}, **identity)
        for code, preset in PRESETS.items():
            _ensure_entity(connection, opt_id, version_id, code, preset.object_id)


def ensure_entity(engine: Engine, entity_code: str, *, object_id: int) -> None:
    """Add the entity with the version's defaults unless it is there."""
    with transaction(engine) as connection:
        opt_id, version_id = ensure_version(connection)
        _ensure_entity(connection, opt_id, version_id, entity_code, object_id)


def ensure_values(engine: Engine, entity_code: str, values: Mapping[str, str]) -> None:
    """Set config values of the entity where it has none of its own."""
    with transaction(engine) as connection:
        is_entity = tables.entities.c.entity_code == entity_code
        _set_values(connection, connection.scalar(select(tables.entities.c.entity_id).where(is_entity)), values)


def check_entity(engine: Engine, entity_code: str, *, object_id: int) -> None:
    """Pass where the entity is new or has this object_id, and no other entity has it.

    Raises:
        ConfigError: it is there with another one, the object_id is another entity's, whose log would be replaced, or
            opt_entities cannot hold the code or the object_id.
    """
    if (problem := code_problem(entity_code)) is not None:
        raise ConfigError(f"the entity {problem}; name another entity with --entity")
    if not 0 <= object_id <= MAX_OBJECT_ID:
        raise ConfigError(f"object_id {object_id} of the bids is not between 0 and {MAX_OBJECT_ID:,}; correct it")
    entities = tables.entities
    with reading(engine) as connection:
        known = connection.scalar(select(entities.c.object_id).where(entities.c.entity_code == entity_code))
        is_other = (entities.c.object_id == object_id, entities.c.entity_code != entity_code, entities.c.status == "A")
        owner = connection.scalar(select(entities.c.entity_code).where(*is_other))
    if owner is not None:
        raise ConfigError(
            f"object_id {object_id} of the bids is that of entity {owner}, whose log this one would replace; run it as "
            f"--entity {owner}, or give the bids another object_id"
        )
    if known is not None and known != object_id:
        raise ConfigError(
            f"entity {entity_code} has object_id {known}, the bids have {object_id}; name another entity with --entity"
        )


def _ensure_entity(connection: Connection, opt_id: int, version_id: int, code: str, object_id: int) -> None:
    values = {
        "opt_id": opt_id,
        "entity_name": ENTITY_NAMES.get(code, code),
        "object_id": object_id,
        "object_type": "ssp",
        "current_version_id": version_id,
        "s3_base_path": f"s3://{BUCKET}/optimizer/{code}/",
    }
    entity_id = ensure_row(connection, tables.entities, "entity_id", values, entity_code=code)
    _set_values(connection, entity_id, ENTITY_VALUES.get(code, {}))


def _set_values(connection: Connection, entity_id: int | None, values: Mapping[str, str]) -> None:
    for key, value in values.items():
        identity = {"entity_id": entity_id, "config_key": key}
        ensure_row(connection, tables.entity_configs, "id", {"config_value": value, "updated_by": "demo"}, **identity)
