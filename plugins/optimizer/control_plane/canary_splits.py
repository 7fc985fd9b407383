"""Try a run on part of an entity's traffic: start it, move it to its next step, pause it."""

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import Connection, Engine, RowMapping

from optimizer.control_plane import canaries
from optimizer.control_plane.audit import Author, system
from optimizer.control_plane.deployment_history import select_active
from optimizer.control_plane.engine import transaction
from optimizer.control_plane.promotions import Promotion
from optimizer.control_plane.records import Canary, Deployment
from optimizer.control_plane.rollbacks import choose_rollback
from optimizer.control_plane.split_changes import SplitChange, change_split, find_entity
from optimizer.control_plane.splits import percents_of, with_share
from optimizer.core.live.canary_plan import CanaryPlan
from optimizer.errors import DeploymentError, PromotionRefused, SplitChanged


def start_canary(
    engine: Engine, promotion: Promotion, *, entity_code: str, canary_plan: CanaryPlan, now: datetime
) -> list[Deployment]:
    """Give the run the first share of the plan, and the rest to the active runs in their proportions, automatically.

    The control keeps its share. Where nothing is live the rest goes to the control, or where there is none all traffic
    goes to the run.

    Raises:
        PromotionRefused: the run may not go live automatically, or another one is being tried already.
        DeploymentError, UnavailableError: as `deploy`.
    """
    run_id = promotion.run_id

    def choose(connection: Connection, entity: RowMapping, active: list[Deployment]) -> dict[str, int]:
        tried = canaries.find_open(connection, entity["entity_id"])
        if tried is not None and tried.run_id != run_id and tried.run_id in percents_of(active):
            raise PromotionRefused(
                f"entity {entity_code}: run {run_id} does not go live automatically: run {tried.run_id} is being tried "
                "on part of the traffic; wait for the monitor's verdict, or deploy by hand"
            )
        present, control = percents_of(active), entity["control_run_id"]
        if run_id in present:
            return present
        if not present and control is not None:
            present = {control: 100}
        return with_share(present, run_id=run_id, pct=canary_plan.steps[0].traffic_pct, fixed=control)

    def begin(connection: Connection, entity: RowMapping) -> None:
        active = percents_of(select_active(connection, entity["entity_id"]))
        if len(active) == 1:
            return
        canaries.end_open(connection, entity["entity_id"], split=active, author=author, now=now)
        canaries.start(connection, entity["entity_id"], run_id=run_id, plan=canary_plan, author=author, now=now)

    author = system("canary")
    change = SplitChange(
        choose, author, "canary", "start_canary", canary_run_id=run_id, promotion=promotion, then=begin
    )
    return change_split(engine, change, entity_code=entity_code, now=now)


def move_canary(
    engine: Engine,
    canary: Canary,
    *,
    entity_code: str,
    to_step: int | None,
    now: datetime,
    seen: Collection[int],
    control_pct: int = 0,
) -> list[Deployment]:
    """Take the running canary to a step of its plan; None: all traffic but the control's. Return the deployments.

    The control keeps its share. Beside an entity's first run it has what the run does not get, and `control_pct` in the
    end.

    Args:
        control_pct: percents of the control, where it is alone beside the canary.

    Raises:
        SplitChanged: a person paused, ended or moved it, or changed the split, since it was looked at.
        DeploymentError, UnavailableError: as `deploy`.
    """
    author, run_id = system("monitor"), canary.run_id

    def choose(connection: Connection, entity: RowMapping, active: list[Deployment]) -> Mapping[str, int]:
        canaries.require_running(connection, canary, entity_code=entity_code)
        present, control = percents_of(active), entity["control_run_id"]
        pct = None if to_step is None else canaries.plan_of(canary).steps[to_step - 1].traffic_pct
        if present.keys() == {run_id, control}:
            least = min(control_pct, present[control])
            own = 100 - least if pct is None else min(pct, 100 - least)
            return {run_id: own, control: 100 - own} if own < 100 else {run_id: 100}
        if pct is None:
            kept = {control: present[control]} if control in present else {}
            return {run_id: 100 - sum(kept.values()), **kept}
        return with_share(present, run_id=run_id, pct=pct, fixed=control)

    def record(connection: Connection, entity: RowMapping) -> None:
        if to_step is not None:
            canaries.move(connection, canary, to_step=to_step, author=author, now=now)

    change = (
        SplitChange(choose, author, "scheduled", "promote_canary", seen=seen)
        if to_step is None
        else SplitChange(choose, author, "canary", "move_canary", canary_run_id=run_id, seen=seen, then=record)
    )
    return change_split(engine, change, entity_code=entity_code, now=now)


def abort_canary(engine: Engine, *, entity_code: str, run_id: str, author: Author, now: datetime) -> list[Deployment]:
    """Take the run that is tried off, whatever happened since the person looked; return the deployments.

    The way back is chosen in the transaction that deploys it, so a step or a promotion at the same time does not refuse
    the abort. Where there is no earlier split, as beside an entity's first run, the control gets all traffic. Where the
    run has no traffic anymore, nothing changes.

    Raises:
        DeploymentError: the entity is unknown, or there is neither an earlier split without the run that may be
            deployed nor a control.
        UnavailableError: as `deploy`.
    """

    def choose(connection: Connection, entity: RowMapping, active: list[Deployment]) -> Mapping[str, int]:
        if active and run_id not in percents_of(active):
            return percents_of(active)
        return choose_rollback(connection, entity, active, without=[run_id], or_control=True).split

    change = SplitChange(choose, author, "manual", "abort_canary")
    return change_split(engine, change, entity_code=entity_code, now=now)


def pause_canary(
    engine: Engine,
    *,
    entity_code: str,
    author: Author,
    now: datetime,
    is_paused: bool = True,
    run_id: str | None = None,
) -> Canary:
    """Pause the entity's canary at its step, or resume it; return it.

    The monitor does not override a pause that a person set.

    Args:
        run_id: the run that was being tried when this was decided; None: whichever is.

    Raises:
        DeploymentError: the entity is unknown, or has no open canary.
        SplitChanged: that run is not being tried anymore.
    """
    with transaction(engine) as connection:
        entity = find_entity(connection, entity_code, lock=True)
        canary = canaries.find_open(connection, entity["entity_id"])
        if run_id is not None and (canary is None or canary.run_id != run_id):
            present = "no run is" if canary is None else f"run {canary.run_id} is"
            raise SplitChanged(
                f"entity {entity_code}: the canary of run {run_id} was ended meanwhile, {present} being tried; look at "
                "the split and decide again"
            )
        if canary is None:
            raise DeploymentError(
                f"entity {entity_code}: no run is being tried; `optimizer deployments {entity_code}` shows what is live"
            )
        return canaries.set_paused(connection, canary, is_paused=is_paused, author=author, now=now)
