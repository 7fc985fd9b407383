"""Read what there is to optimize: the entities with their versions, config keys, values and macros."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from sqlalchemy import Boolean, Connection, Engine, Integer, RowMapping, Select, Text, select, type_coerce

from optimizer.control_plane import object_ids, prefixes
from optimizer.control_plane.engine import reading
from optimizer.control_plane.prefixes import is_prefix
from optimizer.control_plane.records import BrokenEntity, Entity, EntityDefinition, FeatureMacro
from optimizer.control_plane.tables import entities, entity_configs, feature_macros, version_configs, versions
from optimizer.core.config.merge import ConfigKey
from optimizer.core.config.schedule import check_schedule
from optimizer.errors import ConfigError, UnknownEntity

_ENTITY_CODE = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_MAX_TAG = 100
# The columns that are used and no others: on SQLite a spoilt text in any column that is read fails the whole read.
_ENTITIES = select(*(entities.c[name] for name in Entity.model_fields))

AnyModel = TypeVar("AnyModel", bound=BaseModel)


def read_definitions(engine: Engine) -> tuple[list[EntityDefinition], list[BrokenEntity]]:
    """Return every entity of any status, sorted by code, those that cannot have a DAG apart from the others.

    An entity whose schedule alone is wrong is among them, and yet `read_definition` returns it: it can be corrected,
    and runs that are started by hand go on. Takes five queries whatever the number of entities.

    Raises:
        UnavailableError: the database is silent. No entities and no answer are not the same.
        ConfigError: it refuses the login, or its tables are missing.
    """
    with reading(engine) as connection:
        definitions, broken = _read(connection, _ENTITIES)
    wrong = {definition.entity.entity_code: _why_no_dag(definition) for definition in definitions}
    without_dag = [BrokenEntity(entity_code=code, reason=reason) for code, reason in wrong.items() if reason]
    with_dag = [definition for definition in definitions if not wrong[definition.entity.entity_code]]
    return with_dag, sorted([*broken, *without_dag], key=lambda row: row.entity_code)


def read_definition(engine: Engine, entity_code: str) -> EntityDefinition:
    """Return one active entity.

    Raises:
        ConfigError: the entity is unknown, inactive, or its rows cannot be used.
        UnavailableError: the database is silent.
    """
    with reading(engine) as connection:
        return select_definition(connection, entity_code)


def read_runnable(engine: Engine, entity_ids: Iterable[int]) -> dict[int, EntityDefinition | ConfigError]:
    """Return by entity_id the definition of each active entity, or what `read_definition` raises for it.

    An id of no entity is left out. Takes six queries whatever the number of entities.

    Raises:
        UnavailableError: the database is silent.
    """
    is_wanted = entities.c.entity_id.in_(sorted(entity_ids))
    with reading(engine) as connection:
        codes = connection.execute(select(entities.c.entity_id, entities.c.entity_code).where(is_wanted)).all()
        definitions, broken = _read(connection, _ENTITIES.where(is_wanted))
    found: dict[str, EntityDefinition | ConfigError] = {row.entity_code: _unusable(row) for row in broken}
    found |= {one.entity.entity_code: _inactive(one) or one for one in definitions}
    return {row.entity_id: found[row.entity_code] for row in codes}


def select_definition(connection: Connection, entity_code: str) -> EntityDefinition:
    """Return one active entity in a transaction; raises as `read_definition`."""
    definitions, broken = _read(connection, _ENTITIES.where(entities.c.entity_code == entity_code))
    if broken:
        raise _unusable(broken[0])
    if not definitions:
        raise UnknownEntity(unknown_entity(entity_code, known=list_codes(connection)))
    if error := _inactive(definitions[0]):
        raise error
    return definitions[0]


def _unusable(row: BrokenEntity) -> ConfigError:
    return ConfigError(f"entity {row.entity_code} cannot be used: {row.reason}")


def _inactive(definition: EntityDefinition) -> ConfigError | None:
    if definition.entity.status == "A":
        return None
    code = definition.entity.entity_code
    return ConfigError(f"entity {code} is inactive; set opt_entities.status to 'A' to run it")


def read_entity_id(engine: Engine, entity_code: str) -> int:
    """Return the id of an entity of any status, however broken its rows.

    Raises:
        ConfigError: there is none.
    """
    require_entity(engine, entity_code)
    with reading(engine) as connection:
        of_code = select(entities.c.entity_id).where(entities.c.entity_code == entity_code)
        return int(connection.execute(of_code).scalar_one())


def read_control_run_id(engine: Engine, entity_code: str) -> str | None:
    """Return the control of an entity of any status, None where it has none."""
    with reading(engine) as connection:
        of_code = select(entities.c.control_run_id).where(entities.c.entity_code == entity_code)
        return connection.execute(of_code).scalar_one_or_none()


def require_entity(engine: Engine, entity_code: str) -> None:
    """Pass where there is such an entity, of any status and however broken its rows.

    Raises:
        ConfigError: there is none; names those that there are.
    """
    with reading(engine) as connection:
        known = list_codes(connection)
    if entity_code not in known:
        raise UnknownEntity(unknown_entity(entity_code, known=known))


def list_codes(connection: Connection) -> list[str]:
    """Return the codes of all entities, of any status, in order."""
    return list(connection.scalars(select(entities.c.entity_code).order_by(entities.c.entity_code)))


def code_problem(entity_code: str) -> str | None:
    """Return why no entity can have this code, None where one can."""
    if _ENTITY_CODE.fullmatch(entity_code):
        return None
    return f"{entity_code!r} is not made of letters, digits, '_', '.' and '-' alone, 100 at most"


def unknown_entity(entity_code: str, *, known: Iterable[str]) -> str:
    """Return the message about an entity that is not there, with those that are."""
    return f"entity {entity_code!r} is not in opt_entities; known are {', '.join(known) or 'none'}"


class _Unusable(Exception):
    """Why an entity is invalid; leaves this module as a BrokenEntity."""


def _read(connection: Connection, wanted: Select[Any]) -> tuple[list[EntityDefinition], list[BrokenEntity]]:
    rows = connection.execute(_with_version(wanted)).mappings().all()
    values, conflicts = _read_values(connection, wanted), _read_conflicts(connection)
    shared = _Shared(_read_keys(connection, wanted), _read_macros(connection))
    definitions: list[EntityDefinition] = []
    broken: list[BrokenEntity] = []
    for row in sorted(rows, key=lambda row: row["entity_code"]):
        try:
            definition = _build(row, values=values[row["entity_id"]], shared=shared)
            if row["entity_id"] in conflicts:
                raise _Unusable(conflicts[row["entity_id"]])
            definitions.append(definition)
        except _Unusable as error:
            broken.append(BrokenEntity(entity_code=row["entity_code"], reason=str(error)))
    return definitions, broken


def _why_no_dag(definition: EntityDefinition) -> str | None:
    object_type = definition.entity.object_type
    if len(object_type) > _MAX_TAG:
        return f"opt_entities.object_type has {len(object_type)} characters, Airflow takes {_MAX_TAG}; shorten it"
    try:
        check_schedule(definition.schedule)
    except ConfigError as error:
        return f"{error}; `optimizer configure {definition.entity.entity_code} schedule=…` sets it"
    return None


def _with_version(wanted: Select[Any]) -> Select[Any]:
    """Add the entity's version; its JSON stays text, so that one bad text cannot fail the whole read."""
    return wanted.add_columns(
        versions.c.version_code,
        versions.c.status.label("version_status"),
        type_coerce(versions.c.supported_configs, Text).label("supported_configs"),
    ).outerjoin(versions, versions.c.version_id == entities.c.current_version_id)


def _read_keys(connection: Connection, wanted: Select[Any]) -> Mapping[int, list[RowMapping]]:
    columns = [
        type_coerce(column, Integer).label(column.name) if isinstance(column.type, Boolean) else column
        for column in version_configs.c
        if column.name != "allowed_values"
    ]
    allowed_values = type_coerce(version_configs.c.allowed_values, Text).label("allowed_values_text")
    in_use = version_configs.c.version_id.in_(wanted.with_only_columns(entities.c.current_version_id))
    statement = select(*columns, allowed_values).where(in_use).order_by(version_configs.c.config_key)
    return _group(connection.execute(statement).mappings(), by="version_id")


def _read_values(connection: Connection, wanted: Select[Any]) -> Mapping[int, list[RowMapping]]:
    of_wanted = entity_configs.c.entity_id.in_(wanted.with_only_columns(entities.c.entity_id))
    columns = (entity_configs.c.entity_id, entity_configs.c.config_key, entity_configs.c.config_value)
    statement = select(*columns).where(of_wanted).order_by(entity_configs.c.config_key)
    return _group(connection.execute(statement).mappings(), by="entity_id")


def _read_macros(connection: Connection) -> Mapping[int, list[RowMapping]]:
    active = select(feature_macros).where(feature_macros.c.status == "A")
    return _group(connection.execute(active.order_by(feature_macros.c.macro_id)).mappings(), by="opt_id")


def _read_conflicts(connection: Connection) -> Mapping[int, str]:
    """Return {entity_id: reason} of entities that claim what an earlier one has: its S3 prefix, or its object_id."""
    columns = [entities.c[name] for name in ("entity_id", "entity_code", "s3_base_path", "object_id", "status")]
    rows = connection.execute(select(*columns).order_by(entities.c.entity_id)).mappings().all()
    return {**object_ids.find_shared(rows), **prefixes.find_shared(rows)}


def _group(rows: Iterable[RowMapping], *, by: str) -> Mapping[int, list[RowMapping]]:
    groups: dict[int, list[RowMapping]] = defaultdict(list)
    for row in rows:
        groups[row[by]].append(row)
    return groups


class _Shared:
    """What many entities have in common: the keys of a version and the macros of an optimizer, parsed once each."""

    def __init__(self, keys: Mapping[int, list[RowMapping]], macros: Mapping[int, list[RowMapping]]) -> None:
        self.keys_of = cache(lambda version_id: tuple(map(_parse_key, keys[version_id])))
        self.macros_of = cache(lambda opt_id: _parse_macros(macros[opt_id]))


def _build(row: RowMapping, *, values: list[RowMapping], shared: _Shared) -> EntityDefinition:
    _check_columns(row)
    fields = {
        "entity": _validate(Entity, row, where=f"opt_entities row {row['entity_id']}"),
        "version_code": row["version_code"],
        "config_keys": shared.keys_of(row["current_version_id"]),
        "supported_keys": _parse_list("opt_versions.supported_configs", row["supported_configs"]),
        "entity_values": {value["config_key"]: value["config_value"] for value in values},
        "feature_macros": shared.macros_of(row["opt_id"]),
    }
    return _validate(EntityDefinition, fields, where="opt_entity_configs")


def _check_columns(row: RowMapping) -> None:
    version_id, path = row["current_version_id"], row["s3_base_path"]
    if (problem := code_problem(row["entity_code"])) is not None:
        raise _Unusable(f"opt_entities.entity_code={problem}; rename it")
    if version_id is None:
        raise _Unusable("opt_entities.current_version_id is NULL; set it to a version_id of opt_versions")
    if row["version_code"] is None:
        raise _Unusable(f"opt_entities.current_version_id={version_id} is not in opt_versions; set it to one that is")
    if row["version_status"] != "A":
        raise _Unusable(
            f"opt_entities.current_version_id={version_id} is version {row['version_code']}, which is inactive; "
            "set it to an active version"
        )
    if not is_prefix(path):
        raise _Unusable(f"opt_entities.s3_base_path={path!r} must be of the form s3://bucket/prefix/; correct it")


def _parse_key(row: RowMapping) -> ConfigKey:
    where = f"opt_version_configs row {row['config_id']}, {row['config_key']}"
    allowed_values = _parse_list(f"{where}: allowed_values", row["allowed_values_text"])
    fields = {**row, "description": row["description"] or "", "allowed_values": allowed_values}
    key = _validate(ConfigKey, fields, where=where)
    for column in ("min_value", "max_value"):
        _check_bound(getattr(key, column), data_type=key.data_type, column=f"{where}: {column}")
    return key


def _parse_macros(rows: Iterable[RowMapping]) -> tuple[FeatureMacro, ...]:
    """Return the macros, one a feature: a segment key has one place for each."""
    macros: dict[str, FeatureMacro] = {}
    for row in rows:
        macro = _validate(FeatureMacro, row, where=f"opt_feature_macros row {row['macro_id']}")
        first = macros.setdefault(macro.feature_name, macro)
        if first is not macro:
            raise _Unusable(
                f"opt_feature_macros has two active rows of feature {macro.feature_name}: macro_id {first.macro_id} "
                f"({first.macro_format}, {first.macro_template}) and macro_id {macro.macro_id} ({macro.macro_format}, "
                f"{macro.macro_template}); set the status of one to 'I'"
            )
    return tuple(macros.values())


def _validate(model: type[AnyModel], fields: RowMapping | Mapping[str, Any], *, where: str) -> AnyModel:
    try:
        return model.model_validate(dict(fields))
    except ValidationError as error:
        first = error.errors()[0]
        column, message = ".".join(map(str, first["loc"])), first["msg"]
        raise _Unusable(f"{where}: {column}={first['input']!r} cannot be used ({message}); correct it") from None


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
        raise _Unusable(f'{column}={items!r} is not a JSON list of texts; write one, e.g. ["a", "b"]')
    return tuple(items)
