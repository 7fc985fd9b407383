"""Which runs the bidder serves: an entity's traffic, split over its completed runs and replaced as a whole."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from sqlalchemy import Connection, Engine, RowMapping, insert, select, update
from sqlalchemy.exc import IntegrityError

from optimizer.control_plane.engine import reading, transaction
from optimizer.control_plane.promotions import check_promotion
from optimizer.control_plane.records import Deployment, Run, read_rows
from optimizer.control_plane.tables import deployments, entities, runs
from optimizer.errors import DeploymentError, UnavailableError


def deploy(
    engine: Engine,
    *,
    entity_code: str,
    split: Mapping[str, int],
    deployed_by: str,
    now: datetime,
    automatic: bool = False,
) -> list[Deployment]:
    """Make `split` the entity's active one and return its deployments; the run with most traffic becomes active_run_id.

    A split that is active already is returned as it stands, so a retried task leaves no second row of history.

    Args:
        split: {run_id: percent of the entity's traffic}, whole percents above 0 that sum to 100.
        automatic: no person asked for it, so it must not undo what a newer run or a person did meanwhile.

    Raises:
        DeploymentError: the entity or a run is unknown, a run has not completed or not passed its validation, or the
            percents are wrong; names all reasons together.
        PromotionRefused: an automatic deployment came too late.
        UnavailableError: the database is silent, or somebody else deployed at the same moment.
    """
    try:
        with transaction(engine) as connection:
            entity = _lock_entity(connection, entity_code)
            _check_split(connection, entity, split=split)
            active = _read_active(connection, entity["entity_id"])
            if {deployment.run_id: deployment.traffic_pct for deployment in active} != dict(split):
                for run_id in split if automatic else ():
                    check_promotion(connection, run_id, entity_code=entity_code, active=active)
                _replace(connection, entity["entity_id"], split=split, deployed_by=deployed_by, now=now)
            _point_entity(
                connection, entity["entity_id"], run_id=max(split, key=lambda run_id: (split[run_id], run_id))
            )
            return _read_active(connection, entity["entity_id"])
    except IntegrityError as error:
        raise UnavailableError(f"entity {entity_code}: its split was changed at this very moment; try again") from error


def read_active(engine: Engine, entity_code: str) -> list[Deployment]:
    """Return the entity's active deployments, the largest share first; none where nothing is deployed."""
    with reading(engine) as connection:
        entity_id = connection.scalar(select(entities.c.entity_id).where(entities.c.entity_code == entity_code))
        return _read_active(connection, entity_id)


def read_history(engine: Engine, entity_code: str, *, limit: int = 100) -> list[Deployment]:
    """Return the entity's deployments of all times, the newest first."""
    of_entity = select(deployments).join(entities, entities.c.entity_id == deployments.c.entity_id)
    newest_first = of_entity.where(entities.c.entity_code == entity_code).order_by(deployments.c.deployment_id.desc())
    with reading(engine) as connection:
        return read_rows(Deployment, connection.execute(newest_first.limit(limit)).mappings())


def _lock_entity(connection: Connection, entity_code: str) -> RowMapping:
    """Return the entity's row, kept from every other deploy until the end of the transaction."""
    columns = (entities.c.entity_id, entities.c.entity_code)
    statement = select(*columns).where(entities.c.entity_code == entity_code).with_for_update()
    row = connection.execute(statement).mappings().one_or_none()
    if row is None:
        raise DeploymentError(f"entity {entity_code!r} is not in opt_entities; correct the entity's code")
    return row


def _check_split(connection: Connection, entity: RowMapping, *, split: Mapping[str, int]) -> None:
    rows = connection.execute(select(runs).where(runs.c.run_id.in_(list(split)))).mappings()
    found = {run.run_id: run for run in read_rows(Run, rows)}
    problems = [*_percent_problems(split)]
    for run_id in split:
        problems += _run_problems(run_id, found.get(run_id), entity_id=entity["entity_id"])
    if problems:
        raise DeploymentError(f"entity {entity['entity_code']}: the split cannot be deployed: " + "; ".join(problems))


def _percent_problems(split: Mapping[str, int]) -> Iterable[str]:
    wrong = [run_id for run_id, percent in split.items() if type(percent) is not int or percent <= 0]
    for run_id in wrong:
        yield f"run {run_id} has {split[run_id]!r} percent; give it a whole number above 0, or leave it out"
    if not split:
        yield "it names no run; give at least one run and its percent"
    elif not wrong and sum(split.values()) != 100:
        yield f"the percents sum to {sum(split.values())}; make them sum to 100"


def _run_problems(run_id: str, run: Run | None, *, entity_id: int) -> list[str]:
    if run is None:
        return [f"run {run_id} is not in opt_runs; choose a completed run"]
    if run.entity_id != entity_id:
        return [f"run {run_id} is a run of another entity; choose one of this entity's"]
    if run.status != "completed":
        return [f"run {run_id} is {run.status}; choose a completed run"]
    if run.validation_status != "passed":
        return [f"run {run_id} has validation_status {run.validation_status}; choose a run whose validation passed"]
    return []


def _replace(
    connection: Connection, entity_id: int, *, split: Mapping[str, int], deployed_by: str, now: datetime
) -> None:
    is_old = (deployments.c.entity_id == entity_id, deployments.c.is_active.is_(True))
    connection.execute(update(deployments).where(*is_old).values(is_active=False, deactivated_at=now))
    shared = {"entity_id": entity_id, "is_active": True, "deployed_by": deployed_by, "deployed_at": now}
    rows = [{"run_id": run_id, "traffic_pct": percent, **shared} for run_id, percent in split.items()]
    connection.execute(insert(deployments), rows)


def _point_entity(connection: Connection, entity_id: int, *, run_id: str) -> None:
    connection.execute(update(entities).where(entities.c.entity_id == entity_id).values(active_run_id=run_id))


def _read_active(connection: Connection, entity_id: int | None) -> list[Deployment]:
    is_active = (deployments.c.entity_id == entity_id, deployments.c.is_active.is_(True))
    by_share = (deployments.c.traffic_pct.desc(), deployments.c.run_id)
    rows = connection.execute(select(deployments).where(*is_active).order_by(*by_share)).mappings()
    return read_rows(Deployment, rows)
