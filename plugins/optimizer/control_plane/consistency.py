"""Rows that may not fit together: what `optimizer doctor` looks at. Nothing here changes anything."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Engine, Select, func, select

from optimizer.control_plane.engine import reading
from optimizer.control_plane.records import CompletedRun, Run, read_rows, status_words
from optimizer.control_plane.tables import deployments, entities, runs, version_configs, versions

_OF_ENTITY = runs.c.entity_id == entities.c.entity_id
_ACTIVE = deployments.c.is_active.is_(True)


def list_open(engine: Engine, *, limit: int) -> list[Run]:
    """Return the pending and running runs, the oldest first."""
    is_open = runs.c.status.in_(status_words("pending", "running"))
    rows = _read(engine, select(runs).where(is_open).order_by(runs.c.created_at, runs.c.run_id).limit(limit))
    return read_rows(Run, rows)


def list_completed(engine: Engine, *, limit: int) -> list[CompletedRun]:
    """Return every deployed run and the newest completed ones whose files are kept, the newest first."""
    is_completed = runs.c.status.in_(status_words("completed"))
    columns = (runs.c.run_id, runs.c.s3_output_path, runs.c.created_at)
    kept = select(*columns).where(is_completed, runs.c.outputs_removed_at.is_(None))
    newest = kept.order_by(runs.c.created_at.desc()).limit(limit)
    of_deployment = deployments.c.run_id == runs.c.run_id
    deployed = select(*columns).join_from(deployments, runs, of_deployment).where(_ACTIVE, is_completed)
    with reading(engine) as connection:
        rows = {*map(tuple, connection.execute(newest)), *map(tuple, connection.execute(deployed))}
    by_id = sorted(rows, key=lambda row: str(row[0]))
    newest_first = sorted(by_id, key=lambda row: row[2], reverse=True)
    return [CompletedRun(run_id=run_id, s3_output_path=path) for run_id, path, _ in newest_first]


def list_run_codes(engine: Engine) -> dict[str, set[str]]:
    """Return {entity_code: the run_codes of its runs of any status}, of every entity."""
    rows = _read(engine, select(entities.c.entity_code, runs.c.run_code).outerjoin_from(entities, runs, _OF_ENTITY))
    found: dict[str, set[str]] = {}
    for row in rows:
        of_entity = found.setdefault(row["entity_code"], set())
        if row["run_code"] is not None:
            of_entity.add(row["run_code"])
    return found


def wrong_totals(engine: Engine) -> dict[str, int]:
    """Return {entity_code: sum of its active traffic_pct} where that is not 100; no deployment at all is right."""
    total = func.sum(deployments.c.traffic_pct)
    statement = select(entities.c.entity_code, total.label("total")).join_from(deployments, entities).where(_ACTIVE)
    rows = _read(engine, statement.group_by(entities.c.entity_code).order_by(entities.c.entity_code))
    return {row["entity_code"]: int(row["total"]) for row in rows if int(row["total"]) != 100}


def list_undeployable(engine: Engine) -> list[Any]:
    """Return entity_code, run_id, status and validation_status of active deployments whose run may not be deployed."""
    columns = (entities.c.entity_code, runs.c.run_id, runs.c.status, runs.c.validation_status)
    statement = select(*columns).select_from(deployments).where(_ACTIVE).order_by(*columns[:2])
    statement = statement.join(entities, entities.c.entity_id == deployments.c.entity_id)
    rows = _read(engine, statement.join(runs, runs.c.run_id == deployments.c.run_id))
    good = status_words("completed")
    return [row for row in rows if row["status"] not in good or row["validation_status"] != "passed"]


def keys_without_default(engine: Engine) -> list[Any]:
    """Return version_code and config_key of every required key of an active version that has no default."""
    columns = (versions.c.version_code, version_configs.c.config_key)
    wanted = (
        versions.c.status == "A",
        version_configs.c.is_required.is_(True),
        version_configs.c.default_value.is_(None),
    )
    return list(_read(engine, select(*columns).join_from(version_configs, versions).where(*wanted).order_by(*columns)))


def _read(engine: Engine, statement: Select[Any]) -> Iterable[Any]:
    with reading(engine) as connection:
        return connection.execute(statement).mappings().all()
