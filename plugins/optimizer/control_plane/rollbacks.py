"""Go back to an earlier split: the nearest one that the entity may still serve."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, RowMapping, select

from optimizer.control_plane.audit import Author
from optimizer.control_plane.deployment_history import select_active
from optimizer.control_plane.engine import reading
from optimizer.control_plane.records import Deployment, Run, read_rows
from optimizer.control_plane.split_changes import SplitChange, change_split, find_entity
from optimizer.control_plane.split_rules import split_problems
from optimizer.control_plane.splits import earlier_splits, group_splits, percents_of
from optimizer.control_plane.tables import deployments
from optimizer.errors import DeploymentError


@dataclass(frozen=True, slots=True)
class RollbackPlan:
    """What a rollback would do.

    split: {run_id: percent} to go back to.
    seen: ids of the deployments that are active now, for `SplitTerms`.
    skipped: why nearer splits are passed over, one sentence each.
    """

    split: dict[str, int]
    seen: tuple[int, ...]
    skipped: tuple[str, ...]


def rollback(
    engine: Engine, *, entity_code: str, author: Author, now: datetime, seen: Collection[int] | None = None
) -> list[Deployment]:
    """Go back to the split before the present one, as `earlier_splits` orders them, and return its deployments.

    A split that may not be deployed anymore is passed over.

    Raises:
        DeploymentError: the entity is unknown, or there is no earlier split that may be deployed; says why.
        SplitChanged, UnavailableError: as `deploy`.
    """

    def choose(connection: Connection, entity: RowMapping, active: list[Deployment]) -> Mapping[str, int]:
        return choose_rollback(connection, entity, active).split

    change = SplitChange(choose, author, "manual" if author.is_person else "rollback", "rollback", seen=seen)
    return change_split(engine, change, entity_code=entity_code, now=now)


def plan_rollback(
    engine: Engine,
    entity_code: str,
    *,
    without: Collection[str] = (),
    problem_of: Callable[[Run], str | None] = lambda run: None,
    or_control: bool = False,
) -> RollbackPlan:
    """Return what `rollback` would do now; raises as it.

    Args:
        without: runs that are to get nothing; splits with one of them are passed over.
        problem_of: says why a run may not be served, beyond what the control plane knows, or None.
        or_control: where there is no earlier split, all traffic goes to the entity's control, if it has one.
    """
    with reading(engine) as connection:
        entity = find_entity(connection, entity_code)
        active = select_active(connection, entity["entity_id"])
        return choose_rollback(
            connection, entity, active, without=without, problem_of=problem_of, or_control=or_control
        )


def restore_split(
    engine: Engine,
    *,
    entity_code: str,
    split: Mapping[str, int],
    author: Author,
    now: datetime,
    seen: Collection[int] | None = None,
) -> list[Deployment]:
    """Deploy a split that `plan_rollback` found, marked as a rollback; return the active deployments.

    Args:
        split: as in `deploy`; seen: as in `SplitTerms`.

    Raises:
        DeploymentError, SplitChanged, UnavailableError: as `deploy`.
    """

    def choose(connection: Connection, entity: RowMapping, active: list[Deployment]) -> Mapping[str, int]:
        return split

    change = SplitChange(choose, author, "rollback", "rollback", seen=seen)
    return change_split(engine, change, entity_code=entity_code, now=now)


def choose_rollback(
    connection: Connection,
    entity: RowMapping,
    active: list[Deployment],
    *,
    without: Collection[str] = (),
    problem_of: Callable[[Run], str | None] = lambda run: None,
    or_control: bool = False,
) -> RollbackPlan:
    """Return the way back, in the caller's transaction; arguments and errors as of `plan_rollback`."""
    code, control = entity["entity_code"], entity["control_run_id"]
    rows = connection.execute(select(deployments).where(deployments.c.entity_id == entity["entity_id"])).mappings()
    earlier = earlier_splits(group_splits(read_rows(Deployment, rows)), present=percents_of(active))
    ways: list[tuple[str, dict[str, int]]] = [
        (f"the split of {split.deployed_at:%Y-%m-%d %H:%M:%S} UTC", dict(split.percents)) for split in earlier
    ]
    if or_control and control is not None:
        ways.append(("the control", {control: 100}))
    skipped: list[str] = []
    for name, split in ways:
        unwanted = [f"run {run_id} is not to be served" for run_id in split if run_id in without]
        problems = unwanted or split_problems(connection, entity, split=split, problem_of=problem_of)
        if not problems:
            return RollbackPlan(split, tuple(row.deployment_id for row in active), tuple(skipped))
        skipped.append(f"{name} is passed over: {'; '.join(problems)}")
    reasons = "".join(f"; {reason}" for reason in skipped)
    raise DeploymentError(
        f"entity {code}: there is no earlier split to go back to{reasons}; deploy one with `optimizer deploy {code} "
        "RUN=100`"
    )
