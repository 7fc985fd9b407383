"""What a deployment would do, before it is done: the split with the control in it, and what forbids it."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Engine, select

from optimizer.control_plane.deployment_history import select_active
from optimizer.control_plane.engine import reading
from optimizer.control_plane.records import Deployment, Run, read_rows
from optimizer.control_plane.split_changes import find_entity, with_control
from optimizer.control_plane.split_rules import split_problems
from optimizer.control_plane.tables import runs


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """What `deploy` would do now.

    split: {run_id: percent} that would be live, the control's share included.
    active: what is live now.
    runs: the runs of both splits that exist, by run_id.
    problems: why the split cannot be deployed; empty where it can.
    """

    split: dict[str, int]
    active: tuple[Deployment, ...]
    control_run_id: str | None
    runs: dict[str, Run]
    problems: tuple[str, ...]


def plan_split(engine: Engine, entity_code: str, split: Mapping[str, int], *, control_pct: int) -> SplitPlan:
    """Return what `deploy` with the same arguments would do now; nothing is written.

    Raises:
        DeploymentError: the entity is unknown.
        UnavailableError: the database is silent.
    """
    with reading(engine) as connection:
        entity = find_entity(connection, entity_code)
        active = select_active(connection, entity["entity_id"])
        whole = dict(with_control(split, entity["control_run_id"], control_pct))
        wanted = {*whole, *(row.run_id for row in active)}
        of_entity = (runs.c.entity_id == entity["entity_id"], runs.c.run_id.in_(sorted(wanted)))
        rows = read_rows(Run, connection.execute(select(runs).where(*of_entity)).mappings())
        problems = split_problems(connection, entity, split=whole)
    return SplitPlan(whole, tuple(active), entity["control_run_id"], {run.run_id: run for run in rows}, tuple(problems))
