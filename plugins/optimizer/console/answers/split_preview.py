"""What a change of the split would do, before it is made: figures, served bids, files, and what comes after."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Literal

from pydantic import BaseModel

from optimizer.console.answers.split import next_run_of
from optimizer.console.answers.split_effect import (
    FigureChange,
    FileCheck,
    ServedPreview,
    compare_bids,
    read_figures,
    read_found,
)
from optimizer.console.context import Context
from optimizer.control_plane import rollbacks
from optimizer.control_plane.canaries import read_open
from optimizer.control_plane.entities import read_definition
from optimizer.control_plane.records import Canary, Deployment
from optimizer.control_plane.rollbacks import RollbackPlan
from optimizer.control_plane.split_plans import SplitPlan, plan_split
from optimizer.control_plane.splits import percents_of
from optimizer.deployment.next_run import next_run_effect
from optimizer.deployment.served_files import file_problem
from optimizer.deployment.split_settings import split_settings
from optimizer.errors import UnavailableError

Kind = Literal["deploy", "rollback", "abort"]


class ShareChange(BaseModel):
    """A run's percent of the traffic before and after. role: main, canary or control, after the change."""

    run_id: str
    role: str
    before_pct: int
    after_pct: int


class SplitPreview(BaseModel):
    """What a change of the split would do.

    split: {run_id: percent} that would be live, the control's share included.
    seen: ids of the deployments that are live now; send them with the change.
    problems: why it cannot be made. skipped: earlier splits that a rollback passes over, and why.
    notes: what the figures leave out, or why there are none.
    served: None where it is not known; served_note says why.
    canary: what happens to the run that is being tried; None where there is none.
    can_deploy: it can be made. needs_unchecked: only without a check of the files, which could not be read.
    """

    kind: Kind
    shares: list[ShareChange]
    split: dict[str, int]
    seen: list[int]
    is_pinned: bool
    is_unchanged: bool
    problems: list[str]
    skipped: list[str]
    files: list[FileCheck]
    figures: list[FigureChange]
    notes: list[str]
    served: ServedPreview | None
    served_note: str | None
    canary: str | None
    next_run: str
    can_deploy: bool
    needs_unchecked: bool


def preview_deploy(
    asked: Context,
    entity_code: str,
    split: Mapping[str, int],
    *,
    is_pinned: bool,
    no_control: bool,
    unread: Collection[str] = (),
) -> SplitPreview:
    """Return what a deployment of the split would do.

    Args:
        split: {run_id: percent} as the user gave it.
        no_control: the control gets nothing that the split does not give it.
        unread: what of the user's form is not a percent, one sentence each.

    Raises:
        ConfigError: the client is inactive, or its rows cannot be used.
    """
    settings = split_settings(read_definition(asked.systems.engine, entity_code))
    plan = plan_split(asked.systems.engine, entity_code, split, control_pct=0 if no_control else settings.control_pct)
    change = _PlannedChange(
        "deploy", plan, is_pinned=is_pinned, problems=(*unread, *(plan.problems if not unread else ()))
    )
    return _preview(asked, entity_code, change)


def preview_return(asked: Context, entity_code: str, *, without: str | None = None) -> SplitPreview:
    """Return what a rollback would do, or an abort of the canary of the run `without`.

    Raises:
        DeploymentError: there is no earlier split to go back to; says why.
        ConfigError: the client is inactive, or its rows cannot be used.
    """
    read_definition(asked.systems.engine, entity_code)
    found, _ = plan_return(asked, entity_code, without=without)
    plan = plan_split(asked.systems.engine, entity_code, found.split, control_pct=0)
    kind: Kind = "rollback" if without is None else "abort"
    return _preview(asked, entity_code, _PlannedChange(kind, plan, problems=plan.problems, skipped=found.skipped))


def plan_return(asked: Context, entity_code: str, *, without: str | None = None) -> tuple[RollbackPlan, bool]:
    """Return the way back, and whether the files of its runs were checked: not where the object store is silent."""
    engine, aside = asked.systems.engine, () if without is None else (without,)
    try:
        problem_of = partial(file_problem, store=asked.systems.store)
        return rollbacks.plan_rollback(engine, entity_code, without=aside, problem_of=problem_of), True
    except UnavailableError:
        return rollbacks.plan_rollback(engine, entity_code, without=aside), False


@dataclass(frozen=True, slots=True)
class _PlannedChange:
    """A change that is planned."""

    kind: Kind
    plan: SplitPlan
    is_pinned: bool = False
    problems: Collection[str] = ()
    skipped: Collection[str] = ()


def _preview(asked: Context, entity_code: str, change: _PlannedChange) -> SplitPreview:
    plan = change.plan
    before, tried = percents_of(plan.active), read_open(asked.systems.engine, entity_code)
    after = {} if change.problems else plan.split
    found = read_found(asked, {**before, **after}, served=after, rows=plan.runs)
    figures, notes = read_figures(asked, entity_code, (before, after), found)
    served, served_note = compare_bids(before, after, found)
    checks = [found.files[run_id] for run_id in after]
    is_sound = not change.problems and all(check.is_loadable is not False for check in checks)
    return SplitPreview(
        kind=change.kind,
        shares=_share_changes(before, after, plan.control_run_id),
        split=dict(plan.split),
        seen=[row.deployment_id for row in plan.active],
        is_pinned=change.is_pinned,
        is_unchanged=before == after,
        problems=list(change.problems),
        skipped=list(change.skipped),
        files=checks,
        figures=figures,
        notes=notes,
        served=served,
        served_note=served_note,
        canary=_canary_end(tried, before, after),
        next_run=_next_run(asked, entity_code, change, tried),
        can_deploy=is_sound,
        needs_unchecked=is_sound and any(check.is_loadable is None for check in checks),
    )


def _share_changes(before: Mapping[str, int], after: Mapping[str, int], control: str | None) -> list[ShareChange]:
    ids = sorted({*before, *after}, key=lambda run_id: (-after.get(run_id, 0), -before.get(run_id, 0), run_id))
    return [
        ShareChange(
            run_id=run_id,
            role="control" if run_id == control else "main",
            before_pct=before.get(run_id, 0),
            after_pct=after.get(run_id, 0),
        )
        for run_id in ids
    ]


def _canary_end(tried: Canary | None, before: Mapping[str, int], after: Mapping[str, int]) -> str | None:
    """What a new split does to the canary, as `canaries.end_open` does it."""
    if tried is None or not after or before == after:
        return None
    others = [pct for run_id, pct in after.items() if run_id != tried.run_id]
    how = "as promoted" if after.get(tried.run_id, 0) > max(others, default=0) else "as aborted"
    return f"It ends the canary of run {tried.run_id} {how}: the monitor does not move it anymore."


def _next_run(asked: Context, entity_code: str, change: _PlannedChange, tried: Canary | None) -> str:
    before = percents_of(change.plan.active)
    is_kept = before == change.plan.split
    live = change.plan.active if is_kept else [_row(change, run_id, asked.now) for run_id in change.plan.split]
    if is_kept and change.is_pinned:
        live = [row.model_copy(update={"is_pinned": True}) for row in live]
    return next_run_effect(
        read_definition(asked.systems.engine, entity_code),
        live,
        next_run=next_run_of(asked, entity_code),
        canary_run_id=tried.run_id if tried is not None and is_kept else None,
        now=asked.now,
    )


def _row(change: _PlannedChange, run_id: str, now: datetime) -> Deployment:
    """The row that the change would write of a run; only what decides about scheduled runs counts."""
    values: dict[str, Any] = {
        "deployment_id": 0,
        "entity_id": 0,
        "run_id": run_id,
        "traffic_pct": change.plan.split[run_id],
        "is_active": True,
        "deployed_by": "",
        "deployed_at": now,
        "deactivated_at": None,
        "source": "control" if run_id == change.plan.control_run_id else "manual",
        "is_pinned": change.is_pinned,
    }
    return Deployment.model_validate(values)
