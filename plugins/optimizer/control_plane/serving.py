"""What the bidder reads: per entity the runs with traffic, where their objects lie and how their keys are built.

The statements are those of the documents' stage 4, and touch only the tables that `optimizer_bidder` may read.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Engine, RowMapping, Select, select

from optimizer.control_plane.engine import reading
from optimizer.control_plane.records import ColumnName, Record, RunStatus, ValidationStatus
from optimizer.control_plane.tables import deployments, entities, feature_macros, run_features, runs
from optimizer.errors import DeploymentError, UnknownEntity


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
    manifest_sha256: str | None
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
        return read_entities(connection, rows)


def read_served_at(engine: Engine, entity_code: str, *, at: datetime) -> ServedEntity:
    """Return the entity, whatever its status, with the runs that were live at a time; macros are today's.

    Raises:
        UnknownEntity: there is no such entity.
        ConfigError: the tables are missing.
        UnavailableError: the database is silent.
    """
    columns = (entities.c.entity_id, entities.c.opt_id, entities.c.entity_code)
    began, ended = deployments.c.deployed_at <= at, deployments.c.deactivated_at > at
    with reading(engine) as connection:
        wanted = select(*columns).where(entities.c.entity_code == entity_code)
        row = connection.execute(wanted).mappings().one_or_none()
        if row is None:
            raise UnknownEntity(f"entity {entity_code!r} is not in opt_entities; correct the entity's code")
        return read_entity(connection, row, was_live=began & (deployments.c.is_active.is_(True) | ended))


def check_served(entity: ServedEntity) -> None:
    """Pass where the entity's active deployments can be served.

    Raises:
        DeploymentError: the percents do not sum to 100, or a run may not be served; names all reasons together.
    """
    problems = [problem for run in entity.runs for problem in _run_problems(run)]
    total = sum(run.traffic_pct for run in entity.runs)
    if total != 100:
        problems.append(f"the active percents sum to {total} instead of 100")
    if problems:
        raise DeploymentError(f"entity {entity.entity_code} cannot be served: {'; '.join(problems)}; deploy it again")


def with_traffic(entity: ServedEntity) -> list[DeployedRun]:
    """Return the entity's runs but those with 0 percent."""
    return [run for run in entity.runs if run.traffic_pct > 0]


def read_entity(
    connection: Connection, entity: RowMapping, *, was_live: ColumnElement[bool] | None = None
) -> ServedEntity:
    """Return what is live of the entity.

    Args:
        entity: entity_id, opt_id and entity_code.
        was_live: which of its deployments count; None: the active ones.
    """
    return read_entities(connection, [entity], was_live=was_live)[0]


def read_entities(
    connection: Connection, wanted: Sequence[RowMapping], *, was_live: ColumnElement[bool] | None = None
) -> list[ServedEntity]:
    """Return what is live of each entity, in three statements however many there are; arguments as of `read_entity`."""
    is_live = deployments.c.is_active.is_(True) if was_live is None else was_live
    of_wanted = deployments.c.entity_id.in_([entity["entity_id"] for entity in wanted]) & is_live
    macros, live = _read_macros(connection), _read_runs(connection, of_wanted)
    return [
        ServedEntity(
            entity_code=entity["entity_code"],
            runs=tuple(live.get(entity["entity_id"], ())),
            macros=macros.get(entity["opt_id"], {}),
        )
        for entity in wanted
    ]


def _run_problems(run: DeployedRun) -> list[str]:
    if run.status != "completed" or run.validation_status != "passed":
        return [f"run {run.run_id} is {run.status}, its validation {run.validation_status}"]
    if not run.s3_output_path:
        return [f"run {run.run_id} has no s3_output_path"]
    return []


def _read_macros(connection: Connection) -> dict[int, dict[str, str]]:
    """{opt_id: {feature: macro}} of the active macros."""
    columns = (feature_macros.c.opt_id, feature_macros.c.feature_name, feature_macros.c.macro_template)
    found: dict[int, dict[str, str]] = defaultdict(dict)
    for row in connection.execute(select(*columns).where(feature_macros.c.status == "A")):
        found[row.opt_id][row.feature_name.lower()] = row.macro_template
    return found


def _read_runs(connection: Connection, wanted: ColumnElement[bool]) -> dict[int, list[DeployedRun]]:
    """{entity_id: its runs, sorted by run_id} of the wanted deployments."""
    of_deployment = (deployments.c.entity_id, deployments.c.run_id, deployments.c.traffic_pct)
    of_run = (runs.c.status, runs.c.validation_status, runs.c.s3_output_path, runs.c.manifest_sha256)
    deployed = select(*of_deployment, *of_run).join(runs, runs.c.run_id == deployments.c.run_id).where(wanted)
    rows = connection.execute(deployed.order_by(deployments.c.run_id)).mappings().all()
    key_parts = _read_key_parts(connection, select(deployments.c.run_id).where(wanted)) if rows else {}
    found: dict[int, list[DeployedRun]] = defaultdict(list)
    for row in rows:
        run = DeployedRun.model_validate({**row, "key_parts": key_parts.get(row["run_id"], ())})
        found[row["entity_id"]].append(run)
    return found


def _read_key_parts(connection: Connection, run_ids: Select[tuple[str]]) -> dict[str, list[KeyPart]]:
    """{run_id: its key parts in order}."""
    columns = (run_features.c.run_id, run_features.c.feature_name, run_features.c.feature_order)
    joined = select(*columns, feature_macros.c.macro_template).join(
        feature_macros, feature_macros.c.macro_id == run_features.c.macro_id
    )
    in_order = joined.where(run_features.c.run_id.in_(run_ids)).order_by(run_features.c.feature_order)
    found: dict[str, list[KeyPart]] = defaultdict(list)
    for row in connection.execute(in_order).mappings():
        found[row["run_id"]].append(KeyPart.model_validate(dict(row)))
    return found
