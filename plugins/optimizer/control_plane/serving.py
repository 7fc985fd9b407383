"""What the bidder reads: per entity the runs with traffic, where their objects lie and how their keys are built.

The statements are those of the documents' stage 4, and touch only the tables that `optimizer_bidder` may read.
"""

from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, select

from optimizer.control_plane.engine import reading
from optimizer.control_plane.records import ColumnName, Record, RunStatus, ValidationStatus, read_rows
from optimizer.control_plane.tables import deployments, entities, feature_macros, run_features, runs


class KeyPart(Record):
    """One place of a run's segment key: the feature and the macro that stands for it in a bid request."""

    feature_name: ColumnName
    feature_order: int
    macro_template: str


class DeployedRun(Record):
    """A run with its share of the entity's traffic, in percent, and its key parts in order."""

    run_id: str
    traffic_pct: int
    status: RunStatus
    validation_status: ValidationStatus | None
    s3_output_path: str | None
    key_parts: tuple[KeyPart, ...]


class ServedEntity(Record):
    """An active entity with its deployed runs, and the macro of every feature that has an active one."""

    entity_code: str
    runs: tuple[DeployedRun, ...]
    macros: dict[str, str]


def read_served(engine: Engine, entity_codes: Collection[str] = ()) -> list[ServedEntity]:
    """Return the active entities by code, all or those named, as of one moment; runs sorted by run_id.

    Raises:
        UnavailableError: the database is silent.
        ConfigError: it refuses the login or the statement, or its tables are missing.
    """
    wanted = select(entities.c.entity_id, entities.c.opt_id, entities.c.entity_code).where(entities.c.status == "A")
    if entity_codes:
        wanted = wanted.where(entities.c.entity_code.in_(entity_codes))
    with reading(engine) as connection:
        rows = connection.execute(wanted.order_by(entities.c.entity_code)).mappings().all()
        return [_read_entity(connection, row) for row in rows]


def _read_entity(connection: Connection, entity: RowMapping) -> ServedEntity:
    macros = select(feature_macros.c.feature_name, feature_macros.c.macro_template)
    active = macros.where(feature_macros.c.opt_id == entity["opt_id"], feature_macros.c.status == "A")
    return ServedEntity(
        entity_code=entity["entity_code"],
        runs=tuple(_read_runs(connection, entity["entity_id"])),
        macros={row.feature_name.lower(): row.macro_template for row in connection.execute(active)},
    )


def _read_runs(connection: Connection, entity_id: int) -> Iterable[DeployedRun]:
    of_deployment = (deployments.c.run_id, deployments.c.traffic_pct)
    of_run = (runs.c.status, runs.c.validation_status, runs.c.s3_output_path)
    deployed = select(*of_deployment, *of_run).join(runs, runs.c.run_id == deployments.c.run_id)
    active = deployed.where(deployments.c.entity_id == entity_id, deployments.c.is_active.is_(True))
    for row in connection.execute(active.order_by(deployments.c.run_id)).mappings().all():
        yield DeployedRun.model_validate({**row, "key_parts": _read_key_parts(connection, row["run_id"])})


def _read_key_parts(connection: Connection, run_id: str) -> list[dict[str, Any]]:
    columns = (run_features.c.feature_name, run_features.c.feature_order, feature_macros.c.macro_template)
    joined = select(*columns).join(feature_macros, feature_macros.c.macro_id == run_features.c.macro_id)
    in_order = joined.where(run_features.c.run_id == run_id).order_by(run_features.c.feature_order)
    return [part.model_dump() for part in read_rows(KeyPart, connection.execute(in_order).mappings())]
