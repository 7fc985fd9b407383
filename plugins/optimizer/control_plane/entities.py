"""Read what there is to optimize: the entities with their versions, config keys, values and macros."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Engine, RowMapping, Select, Text, select, type_coerce

from optimizer.control_plane.engine import reading
from optimizer.control_plane.records import BrokenEntity, Entity, EntityDefinition, FeatureMacro, read_rows
from optimizer.control_plane.tables import entities, entity_configs, feature_macros, version_configs, versions
from optimizer.core.config import ConfigKey
from optimizer.errors import ConfigError

_ENTITY_CODE = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_S3_PREFIX = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^/\s]\S*")


def read_definitions(engine: Engine) -> tuple[list[EntityDefinition], list[BrokenEntity]]:
    """Return every entity of any status, sorted by code, those that cannot be used apart from the others.

    Takes four queries whatever the number of entities.

    Raises:
        UnavailableError: the database is silent. No entities and no answer are not the same.
        ConfigError: it refuses the login, or its tables are missing.
    """
    with reading(engine) as connection:
        return _read(connection, select(entities))


def read_definition(engine: Engine, entity_code: str) -> EntityDefinition:
    """Return one active entity.

    Raises:
        ConfigError: the entity is unknown, inactive, or its rows cannot be used.
        UnavailableError: the database is silent.
    """
    with reading(engine) as connection:
        definitions, broken = _read(connection, select(entities).where(entities.c.entity_code == entity_code))
        if broken:
            raise ConfigError(f"entity {entity_code} cannot be used: {broken[0].reason}")
        if not definitions:
            known = connection.scalars(select(entities.c.entity_code).order_by(entities.c.entity_code)).all()
            raise ConfigError(f"entity {entity_code!r} is not in opt_entities; known are {', '.join(known) or 'none'}")
    if definitions[0].entity.status != "A":
        raise ConfigError(f"entity {entity_code} is inactive; set opt_entities.status to 'A' to run it")
    return definitions[0]


class _Unusable(Exception):
    """Why an entity is set aside; leaves this module as a BrokenEntity."""


def _read(connection: Connection, wanted: Select) -> tuple[list[EntityDefinition], list[BrokenEntity]]:
    rows = connection.execute(_with_version(wanted)).mappings().all()
    keys, values = _read_keys(connection, wanted), _read_values(connection, wanted)
    macros = _read_macros(connection)
    definitions: list[EntityDefinition] = []
    broken: list[BrokenEntity] = []
    for row in sorted(rows, key=lambda row: row["entity_code"]):
        try:
            definitions.append(_build(row, keys=keys, values=values[row["entity_id"]], macros=macros[row["opt_id"]]))
        except _Unusable as error:
            broken.append(BrokenEntity(entity_code=row["entity_code"], reason=str(error)))
    return definitions, broken


def _with_version(wanted: Select) -> Select:
    """Add the entity's version; its JSON stays text, so that one bad text cannot fail the whole read."""
    return wanted.add_columns(
        versions.c.version_code,
        versions.c.status.label("version_status"),
        type_coerce(versions.c.supported_configs, Text).label("supported_configs"),
    ).outerjoin(versions, versions.c.version_id == entities.c.current_version_id)


def _read_keys(connection: Connection, wanted: Select) -> Mapping[int, list[RowMapping]]:
    columns = [column for column in version_configs.c if column.name != "allowed_values"]
    allowed_values = type_coerce(version_configs.c.allowed_values, Text).label("allowed_values_text")
    in_use = version_configs.c.version_id.in_(wanted.with_only_columns(entities.c.current_version_id))
    statement = select(*columns, allowed_values).where(in_use).order_by(version_configs.c.config_key)
    return _group(connection.execute(statement).mappings(), by="version_id")


def _read_values(connection: Connection, wanted: Select) -> Mapping[int, list[RowMapping]]:
    of_wanted = entity_configs.c.entity_id.in_(wanted.with_only_columns(entities.c.entity_id))
    statement = select(entity_configs).where(of_wanted).order_by(entity_configs.c.config_key)
    return _group(connection.execute(statement).mappings(), by="entity_id")


def _read_macros(connection: Connection) -> Mapping[int, list[RowMapping]]:
    active = select(feature_macros).where(feature_macros.c.status == "A")
    return _group(connection.execute(active.order_by(feature_macros.c.macro_id)).mappings(), by="opt_id")


def _group(rows: Iterable[RowMapping], *, by: str) -> Mapping[int, list[RowMapping]]:
    groups: dict[int, list[RowMapping]] = defaultdict(list)
    for row in rows:
        groups[row[by]].append(row)
    return groups


def _build(
    row: RowMapping, *, keys: Mapping[int, list[RowMapping]], values: list[RowMapping], macros: list[RowMapping]
) -> EntityDefinition:
    _check_columns(row)
    return EntityDefinition(
        entity=Entity.model_validate(dict(row)),
        version_code=row["version_code"],
        config_keys=tuple(_parse_key(key) for key in keys[row["current_version_id"]]),
        supported_keys=_parse_list("opt_versions.supported_configs", row["supported_configs"]),
        entity_values={value["config_key"]: value["config_value"] for value in values},
        feature_macros=tuple(read_rows(FeatureMacro, macros)),
    )


def _check_columns(row: RowMapping) -> None:
    version_id, path = row["current_version_id"], row["s3_base_path"]
    if not _ENTITY_CODE.fullmatch(row["entity_code"]):
        raise _Unusable(
            f"opt_entities.entity_code={row['entity_code']!r} is not made of letters, digits, '_', '.' and '-' "
            "alone, 100 at most; rename it"
        )
    if version_id is None:
        raise _Unusable("opt_entities.current_version_id is NULL; set it to a version_id of opt_versions")
    if row["version_code"] is None:
        raise _Unusable(f"opt_entities.current_version_id={version_id} is not in opt_versions; set it to one that is")
    if row["version_status"] != "A":
        raise _Unusable(
            f"opt_entities.current_version_id={version_id} is version {row['version_code']}, which is inactive; "
            "set it to an active version"
        )
    if not _S3_PREFIX.fullmatch(path):
        raise _Unusable(f"opt_entities.s3_base_path={path!r} is no s3://bucket/prefix/; correct it")


def _parse_key(row: RowMapping) -> ConfigKey:
    where = f"opt_version_configs row {row['config_id']}, {row['config_key']}"
    allowed_values = _parse_list(f"{where}: allowed_values", row["allowed_values_text"])
    fields = {**row, "description": row["description"] or "", "allowed_values": allowed_values}
    try:
        key = ConfigKey.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        column, message = ".".join(map(str, first["loc"])), first["msg"]
        raise _Unusable(f"{where}: {column}={first['input']!r} cannot be used ({message}); correct it") from None
    for column in ("min_value", "max_value"):
        _check_bound(getattr(key, column), data_type=key.data_type, column=f"{where}: {column}")
    return key


def _check_bound(bound: str | None, *, data_type: str, column: str) -> None:
    if bound is None or data_type not in ("int", "float"):
        return
    try:
        float(bound)
    except ValueError:
        raise _Unusable(f"{column}={bound!r} is not a number; correct it or set it to NULL") from None


def _parse_list(column: str, text: Any) -> tuple[str, ...] | None:
    """Return the column's JSON list of texts; SQL's NULL and JSON's null alike are None."""
    try:
        items = None if text is None else json.loads(text)
    except ValueError:
        items = text
    if items is None:
        return None
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise _Unusable(f'{column}={items!r} is no JSON list of texts; write one, e.g. ["a", "b"]')
    return tuple(items)
