"""Runs that are tried in steps: at most one per entity is open, and every change is a person's or the monitor's."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, Engine, insert, select, update

from optimizer.control_plane.audit import AuditedChange, Author, write_audit
from optimizer.control_plane.engine import reading
from optimizer.control_plane.records import Canary, read_rows
from optimizer.control_plane.tables import canaries, entities
from optimizer.core.live.canary_plan import CanaryPlan, read_plan
from optimizer.errors import SplitChanged


def read_open(engine: Engine, entity_code: str) -> Canary | None:
    """Return the entity's open canary, running or paused, or None."""
    with reading(engine) as connection:
        entity_id = connection.scalar(select(entities.c.entity_id).where(entities.c.entity_code == entity_code))
        return find_open(connection, entity_id)


def read_last(engine: Engine, entity_code: str) -> Canary | None:
    """Return the entity's canary that was started last, open or ended, or None."""
    of_entity = select(canaries).join(entities, entities.c.entity_id == canaries.c.entity_id)
    newest = of_entity.where(entities.c.entity_code == entity_code).order_by(canaries.c.canary_id.desc()).limit(1)
    with reading(engine) as connection:
        found = read_rows(Canary, connection.execute(newest).mappings())
    return found[0] if found else None


def find_open(connection: Connection, entity_id: int | None) -> Canary | None:
    """Return the entity's open canary in a transaction, or None."""
    is_open = (canaries.c.entity_id == entity_id, canaries.c.ended_at.is_(None))
    found = read_rows(Canary, connection.execute(select(canaries).where(*is_open)).mappings())
    return found[0] if found else None


def plan_of(canary: Canary) -> CanaryPlan:
    """Return the steps of the canary."""
    return read_plan(canary.canary_plan)


def require_running(connection: Connection, seen: Canary, *, entity_code: str) -> None:
    """Pass where the canary is as it was seen, running at the same step.

    Raises:
        SplitChanged: it was paused, moved or ended meanwhile.
    """
    found = find_open(connection, seen.entity_id)
    if found is None or found.canary_id != seen.canary_id:
        raise SplitChanged(f"entity {entity_code}: the canary of run {seen.run_id} was ended meanwhile")
    if (found.status, found.step) != ("running", seen.step):
        raise SplitChanged(
            f"entity {entity_code}: the canary of run {seen.run_id} is {found.status} at step {found.step} by "
            f"{found.changed_by}, and was {seen.status} at step {seen.step} when it was looked at"
        )


def start(
    connection: Connection, entity_id: int, *, run_id: str, plan: CanaryPlan, author: Author, now: datetime
) -> None:
    """Open the canary at the first step of its plan."""
    connection.execute(
        insert(canaries).values(
            entity_id=entity_id,
            run_id=run_id,
            canary_plan=str(plan),
            changed_by=author.name,
            started_at=now,
            step_started_at=now,
        )
    )


def move(connection: Connection, canary: Canary, *, to_step: int, author: Author, now: datetime) -> None:
    """Set the step that the canary is at from now on."""
    values = {"step": to_step, "step_started_at": now, "changed_by": author.name, "reason": None}
    connection.execute(update(canaries).where(canaries.c.canary_id == canary.canary_id).values(**values))


def set_paused(connection: Connection, canary: Canary, *, is_paused: bool, author: Author, now: datetime) -> Canary:
    """Pause the open canary at its step or let it go on, and return it."""
    status: Literal["running", "paused"] = "paused" if is_paused else "running"
    if canary.status == status:
        return canary
    values = {"status": status, "changed_by": author.name, "reason": author.comment or None}
    connection.execute(update(canaries).where(canaries.c.canary_id == canary.canary_id).values(**values))
    write_audit(
        connection,
        author,
        AuditedChange(
            "pause_canary" if is_paused else "resume_canary",
            entity_id=canary.entity_id,
            run_id=canary.run_id,
            before={"status": canary.status, "step": canary.step},
            after={"status": status, "step": canary.step},
        ),
        now=now,
    )
    return canary.model_copy(update=values)


def end_open(
    connection: Connection, entity_id: int, *, split: Mapping[str, int], author: Author, now: datetime
) -> None:
    """End the open canary that a new split is not a step of: promoted where its run has the most, else taken back."""
    canary = find_open(connection, entity_id)
    if canary is None:
        return
    others = [share for run_id, share in split.items() if run_id != canary.run_id]
    is_promoted = split.get(canary.run_id, 0) > max(others, default=0)
    status = "promoted" if is_promoted else "aborted" if author.is_person else "rolled_back"
    values = {"status": status, "ended_at": now, "changed_by": author.name, "reason": author.comment or None}
    connection.execute(update(canaries).where(canaries.c.canary_id == canary.canary_id).values(**values))
