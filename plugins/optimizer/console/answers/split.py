"""A client's split: what is live and by whom, the run that is tried, the control, and the runs to choose from."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from pydantic import BaseModel

from optimizer.console.context import Context, Schedule
from optimizer.control_plane.canaries import plan_of
from optimizer.control_plane.deployable_runs import list_deployable
from optimizer.control_plane.entities import read_definition
from optimizer.control_plane.entity_states import EntityState, VerdictRow, read_entity_states
from optimizer.control_plane.promotions import scheduled_from
from optimizer.control_plane.records import Canary, Deployment, Run
from optimizer.control_plane.splits import WHOLE_PCT, percents_of, with_share
from optimizer.core.live.performance import DECISIVE
from optimizer.deployment.canary_state import canary_sentence
from optimizer.deployment.next_run import NextRun, next_run_effect
from optimizer.deployment.readiness import status_of
from optimizer.deployment.split_settings import split_settings

LISTED_RUNS = 10


class LiveRow(BaseModel):
    """A run that is live.

    role: main, canary or control. since: when its present share was deployed.
    source: manual, scheduled, canary, control or rollback.
    """

    deployment_id: int
    run_id: str
    role: str
    traffic_pct: int
    since: datetime
    deployed_by: str
    source: str
    comment: str
    is_pinned: bool


class CanaryStepView(BaseModel):
    """A step of a canary: its percent of the traffic, and for how many days at least; None: until it is decided."""

    traffic_pct: int
    days: int | None


class CanaryView(BaseModel):
    """The run that is being tried.

    step: counts from 1. next_pct: what it gets next; None: all the traffic but the control's.
    due_at: when its step is over at the earliest; None: once it is on target.
    missing: what it still needs before it moves on, one sentence each.
    """

    run_id: str
    status: str
    step: int
    steps: list[CanaryStepView]
    since: datetime
    next_pct: int | None
    due_at: datetime | None
    changed_by: str
    reason: str | None
    sentence: str
    missing: list[str]


class ControlView(BaseModel):
    """The control.

    run_id: None where the client has none. configured_pct: what it gets of a new split. live_pct: what it has now.
    is_declined: a user chose that the client has none. is_wanted: the config asks for one, and there is none.
    """

    run_id: str | None
    configured_pct: int
    live_pct: int
    is_declined: bool
    is_wanted: bool


class DeployableRun(BaseModel):
    """A run that may be deployed.

    live_pct: its present percent of the traffic. share_pct: of the traffic that is not the control's, percent.
    expected_win_rate, target_win_rate: as it left them; None for runs of earlier releases.
    """

    run_id: str
    role: str | None
    outcome: str | None
    trigger: str
    created_at: datetime
    data_end: datetime | None
    live_pct: int
    share_pct: int
    expected_win_rate: float | None
    target_win_rate: float | None


class SplitState(BaseModel):
    """What is live of a client, and what may be.

    seen: ids of the live deployments; a change sends them back, so that nothing newer is replaced.
    protected_until: until when scheduled runs leave the split alone; None: it is pinned, or no user set it.
    choices: runs that may be deployed, the newest first. total_choices: how many match the search.
    """

    live: list[LiveRow]
    seen: list[int]
    total_pct: int
    is_pinned: bool
    protected_until: datetime | None
    next_run: str
    canary: CanaryView | None
    control: ControlView
    choices: list[DeployableRun]
    total_choices: int


def read_split_state(asked: Context, entity_code: str, *, search: str = "", chosen: Collection[str] = ()) -> SplitState:
    """Return what is live and the newest runs that may be deployed; a fixed number of statements.

    Args:
        search: only runs whose run_id contains this text are listed, with those that are live.
        chosen: runs that are listed whatever the search is.

    Raises:
        ConfigError: the client is inactive, or its rows cannot be used.
    """
    engine = asked.systems.engine
    definition = read_definition(engine, entity_code)
    state, settings = read_entity_states(engine, [entity_code])[0], split_settings(definition)
    status = status_of(state, now=asked.now)
    roles = {share.run_id: share.role for share in status.live}
    found = list_deployable(engine, entity_code, search=search, limit=LISTED_RUNS, always={*roles, *chosen})
    free_from = scheduled_from(
        (row for row in state.active if row.source != "control"), days=settings.manual_split_days
    )
    is_open = free_from is None or status.is_pinned or free_from <= asked.now
    return SplitState(
        live=[_live_row(row, roles[row.run_id]) for row in state.active],
        seen=[row.deployment_id for row in state.active],
        total_pct=sum(row.traffic_pct for row in state.active),
        is_pinned=status.is_pinned,
        protected_until=None if is_open else free_from,
        next_run=next_run_effect(
            definition,
            state.active,
            next_run=next_run_of(asked, entity_code),
            canary_run_id=None if state.canary is None else state.canary.run_id,
            now=asked.now,
        ),
        canary=None if state.canary is None else _canary_view(state.canary, state.verdicts),
        control=_control_view(state, control_pct=settings.control_pct),
        choices=_choices(found.runs, state, roles=roles),
        total_choices=found.total,
    )


def next_run_of(asked: Context, entity_code: str) -> NextRun:
    """Return when the client's DAG runs next, as Airflow knows it."""
    schedule = asked.scheduler.schedules([entity_code]).get(entity_code, Schedule())
    return NextRun(schedule.next_run_at, schedule.is_paused)


def shares_beside_control(active: Mapping[str, int], control_run_id: str | None) -> dict[str, int]:
    """Return how the other runs share what the control leaves, percents that sum to 100."""
    if control_run_id is None or control_run_id not in active:
        return dict(active)
    if len(active) == 1:
        return {}
    others = with_share(active, run_id=control_run_id, pct=0)
    return {run_id: pct for run_id, pct in others.items() if run_id != control_run_id}


def _live_row(row: Deployment, role: str) -> LiveRow:
    return LiveRow(
        deployment_id=row.deployment_id,
        run_id=row.run_id,
        role=role,
        traffic_pct=row.traffic_pct,
        since=row.deployed_at,
        deployed_by=row.deployed_by,
        source=row.source,
        comment=row.comment,
        is_pinned=row.is_pinned and row.source != "control",
    )


def _canary_view(canary: Canary, verdicts: Collection[VerdictRow]) -> CanaryView:
    steps = plan_of(canary).steps
    present, following = steps[canary.step - 1], steps[canary.step] if canary.step < len(steps) else None
    due_at = None if present.days is None else canary.step_started_at + timedelta(days=present.days)
    return CanaryView(
        run_id=canary.run_id,
        status=canary.status,
        step=canary.step,
        steps=[CanaryStepView(traffic_pct=step.traffic_pct, days=step.days) for step in steps],
        since=canary.step_started_at,
        next_pct=None if following is None else following.traffic_pct,
        due_at=due_at,
        changed_by=canary.changed_by,
        reason=canary.reason,
        sentence=canary_sentence(canary),
        missing=_missing(canary, verdicts, due_at=due_at, is_last=following is None),
    )


def _missing(canary: Canary, verdicts: Collection[VerdictRow], *, due_at: datetime | None, is_last: bool) -> list[str]:
    """What a canary needs before its next step: the end of its days, a verdict, or a user who resumes it."""
    missing = [f"{canary.changed_by} paused it; resume it, or abort it"] if canary.status == "paused" else []
    if due_at is not None:
        missing.append(f"the days of its step end at {due_at:%Y-%m-%d %H:%M} UTC")
    if not is_last:
        return missing
    own = {
        found.figure: found for found in verdicts if found.run_id == canary.run_id and found.compared_with == "split"
    }
    if not own:
        return [*missing, "it was not measured yet: the DAG “monitor” compares it every morning"]
    return missing + [
        f"{own[figure].figure.replace('_', ' ')} is {own[figure].verdict}: {own[figure].reason or 'no reason is known'}"
        for figure in DECISIVE
        if figure in own and own[figure].verdict != "on target"
    ]


def _control_view(state: EntityState, *, control_pct: int) -> ControlView:
    has_none = state.control_run_id is None
    return ControlView(
        run_id=state.control_run_id,
        configured_pct=control_pct,
        live_pct=percents_of(state.active).get(state.control_run_id or "", 0),
        is_declined=has_none and state.is_control_declined,
        is_wanted=has_none and control_pct > 0 and bool(state.active) and not state.is_control_declined,
    )


def _choices(found: Collection[Run], state: EntityState, *, roles: Mapping[str, str]) -> list[DeployableRun]:
    active = percents_of(state.active)
    shares = shares_beside_control(active, state.control_run_id) if sum(active.values()) == WHOLE_PCT else {}
    choices = []
    for run in found:
        target = (run.readiness_figures or {}).get("target", {})
        is_control = run.run_id == state.control_run_id
        choices.append(
            DeployableRun(
                run_id=run.run_id,
                role="control" if is_control else roles.get(run.run_id),
                outcome=run.outcome,
                trigger=run.trigger_type,
                created_at=run.created_at,
                data_end=run.data_end_dt,
                live_pct=active.get(run.run_id, 0),
                share_pct=shares.get(run.run_id, 0),
                expected_win_rate=target.get("expected_win_rate"),
                target_win_rate=target.get("target_win_rate"),
            )
        )
    return choices
