"""Which runs the bidder serves: an entity's traffic, split over its completed runs and replaced as a whole."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, RowMapping, insert, select, update
from sqlalchemy.exc import IntegrityError

from optimizer.control_plane.engine import reading, transaction
from optimizer.control_plane.promotions import check_promotion
from optimizer.control_plane.records import Deployment, Run, read_rows
from optimizer.control_plane.splits import (
    CANARY_PREFIX,
    Split,
    canary_of,
    earlier_splits,
    group_splits,
    percents_of,
    with_canary,
)
from optimizer.control_plane.tables import deployments, entities, runs
from optimizer.errors import DeploymentError, PromotionRefused, SplitChanged, UnavailableError


@dataclass(frozen=True, slots=True)
class RollbackPlan:
    """What a rollback would do.

    split: {run_id: percent} to go back to.
    seen: ids of the deployments that are active now, for `deploy`.
    skipped: why nearer splits are passed over, one sentence each.
    """

    split: dict[str, int]
    seen: tuple[int, ...]
    skipped: tuple[str, ...]


def deploy(
    engine: Engine,
    *,
    entity_code: str,
    split: Mapping[str, int],
    deployed_by: str,
    now: datetime,
    automatic: bool = False,
    seen: Collection[int] | None = None,
) -> list[Deployment]:
    """Make `split` the entity's active one and return its deployments; the run with most traffic becomes active_run_id.

    A split that is active already is returned as it stands, so a retried task leaves no second row of history.

    Args:
        split: {run_id: percent of the entity's traffic}, whole percents above 0 that sum to 100.
        automatic: no person asked for it, so it must not undo what a newer run or a person did meanwhile.
        seen: ids of the active deployments on which the split was decided; None: whatever is active.

    Raises:
        DeploymentError: the entity or a run is unknown, a run has not completed or not passed its validation, or the
            percents are wrong; names all reasons together.
        PromotionRefused: an automatic deployment came too late.
        SplitChanged: other deployments are active than those that were seen.
        UnavailableError: the database is silent, or another user deployed at the same moment.
    """
    arriving = tuple(split) if automatic else ()
    return _change(
        engine,
        lambda connection, entity, active: split,
        entity_code=entity_code,
        deployed_by=deployed_by,
        now=now,
        arriving=arriving,
        seen=seen,
    )


def rollback(
    engine: Engine, *, entity_code: str, deployed_by: str, now: datetime, seen: Collection[int] | None = None
) -> list[Deployment]:
    """Go back to the split before the present one, as `earlier_splits` orders them, and return its deployments.

    A split that may not be deployed any more is passed over.

    Raises:
        DeploymentError: the entity is unknown, or there is no earlier split that may be deployed; says why.
        SplitChanged, UnavailableError: as `deploy`.
    """
    return _change(
        engine,
        lambda connection, entity, active: _plan_rollback(connection, entity, active).split,
        entity_code=entity_code,
        deployed_by=deployed_by,
        now=now,
        seen=seen,
    )


def plan_rollback(
    engine: Engine,
    entity_code: str,
    *,
    without: Collection[str] = (),
    problem_of: Callable[[Run], str | None] = lambda run: None,
) -> RollbackPlan:
    """Return what `rollback` would do now; raises as it.

    Args:
        without: runs that are to get nothing; splits with one of them are passed over.
        problem_of: says why a run may not be served, beyond what the control plane knows, or None.
    """
    with reading(engine) as connection:
        entity = _find_entity(connection, entity_code)
        active = _read_active(connection, entity["entity_id"])
        return _plan_rollback(connection, entity, active, without=without, problem_of=problem_of)


def start_canary(engine: Engine, *, entity_code: str, run_id: str, canary_pct: int, now: datetime) -> list[Deployment]:
    """Give the run `canary_pct` of the traffic beside the active runs, all of it where there are none; nobody asked.

    Raises:
        PromotionRefused: the run may not go live by itself, or another one is being tried already.
        DeploymentError, UnavailableError: as `deploy`.
    """

    def choose(connection: Connection, entity: RowMapping, active: list[Deployment]) -> dict[str, int]:
        canaries = (canary_of(deployment.deployed_by) for deployment in active)
        tried = {canary for canary in canaries if canary is not None and canary != run_id}
        if tried and len(active) > 1:
            raise PromotionRefused(
                f"entity {entity_code}: run {run_id} does not go live by itself: run {min(tried)} is being tried on a "
                "part of the traffic; wait for the monitor's verdict, or deploy by hand"
            )
        present = percents_of(active)
        return present if run_id in present else with_canary(present, run_id=run_id, canary_pct=canary_pct)

    deployed_by = CANARY_PREFIX + run_id
    return _change(engine, choose, entity_code=entity_code, deployed_by=deployed_by, now=now, arriving=(run_id,))


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


def read_splits(engine: Engine, entity_code: str, *, limit: int = 1000) -> list[Split]:
    """Return the splits that the entity's newest deployments make, the newest split first."""
    return group_splits(read_history(engine, entity_code, limit=limit))[::-1]


def _change(
    engine: Engine,
    choose: Callable[[Connection, RowMapping, list[Deployment]], Mapping[str, int]],
    *,
    entity_code: str,
    deployed_by: str,
    now: datetime,
    arriving: Collection[str] = (),
    seen: Collection[int] | None = None,
) -> list[Deployment]:
    """Replace the active split by what `choose` makes of it: one transaction, the entity's row locked.

    Args:
        arriving: runs that go live without a person's word.
    """
    try:
        with transaction(engine) as connection:
            entity = _find_entity(connection, entity_code, lock=True)
            active = _read_active(connection, entity["entity_id"])
            split = choose(connection, entity, active)
            _check_split(connection, entity, split=split)
            if percents_of(active) != dict(split):
                _check_seen(entity_code, active, seen=seen)
                for run_id in arriving:
                    check_promotion(connection, run_id, entity_code=entity_code, active=active)
                _replace(connection, entity["entity_id"], split=split, deployed_by=deployed_by, now=now)
            _point_entity(
                connection, entity["entity_id"], run_id=max(split, key=lambda run_id: (split[run_id], run_id))
            )
            return _read_active(connection, entity["entity_id"])
    except IntegrityError as error:
        raise UnavailableError(f"entity {entity_code}: its split was changed at this very moment; try again") from error


def _check_seen(entity_code: str, active: Iterable[Deployment], *, seen: Collection[int] | None) -> None:
    if seen is not None and {deployment.deployment_id for deployment in active} != set(seen):
        present = ", ".join(
            f"run {row.run_id} {row.traffic_pct} % by {row.deployed_by or 'an unknown user'}" for row in active
        )
        raise SplitChanged(
            f"entity {entity_code}: its split was changed meanwhile to {present or 'nothing'}; "
            "look at it and decide again"
        )


def _plan_rollback(
    connection: Connection,
    entity: RowMapping,
    active: list[Deployment],
    *,
    without: Collection[str] = (),
    problem_of: Callable[[Run], str | None] = lambda run: None,
) -> RollbackPlan:
    code, present = entity["entity_code"], percents_of(active)
    rows = connection.execute(select(deployments).where(deployments.c.entity_id == entity["entity_id"])).mappings()
    skipped: list[str] = []
    for split in earlier_splits(group_splits(read_rows(Deployment, rows)), present=present):
        unwanted = [f"run {run_id} is not to be served" for run_id in split.percents if run_id in without]
        problems = unwanted or _split_problems(connection, entity, split=split.percents, problem_of=problem_of)
        if not problems:
            return RollbackPlan(dict(split.percents), tuple(row.deployment_id for row in active), tuple(skipped))
        skipped.append(f"the split of {split.deployed_at:%Y-%m-%d %H:%M:%S} UTC is passed over: {'; '.join(problems)}")
    reasons = "".join(f"; {reason}" for reason in skipped)
    raise DeploymentError(
        f"entity {code}: there is no earlier split to go back to{reasons}; `optimizer deploy` sets one by hand"
    )


def _find_entity(connection: Connection, entity_code: str, *, lock: bool = False) -> RowMapping:
    """Return the entity's row; `lock` keeps it from every other deploy until the end of the transaction."""
    columns = (entities.c.entity_id, entities.c.entity_code)
    statement = select(*columns).where(entities.c.entity_code == entity_code)
    row = connection.execute(statement.with_for_update() if lock else statement).mappings().one_or_none()
    if row is None:
        raise DeploymentError(f"entity {entity_code!r} is not in opt_entities; correct the entity's code")
    return row


def _check_split(connection: Connection, entity: RowMapping, *, split: Mapping[str, int]) -> None:
    if problems := _split_problems(connection, entity, split=split):
        raise DeploymentError(f"entity {entity['entity_code']}: the split cannot be deployed: " + "; ".join(problems))


def _split_problems(
    connection: Connection,
    entity: RowMapping,
    *,
    split: Mapping[str, int],
    problem_of: Callable[[Run], str | None] = lambda run: None,
) -> list[str]:
    rows = connection.execute(select(runs).where(runs.c.run_id.in_(list(split)))).mappings()
    found = {run.run_id: run for run in read_rows(Run, rows)}
    problems = [*_percent_problems(split)]
    for run_id in split:
        problems += _run_problems(run_id, found.get(run_id), entity_id=entity["entity_id"])
    if not problems:
        problems = [problem for run_id in split if (problem := problem_of(found[run_id]))]
    return problems


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
