"""Each entity's readiness and what is live of it, from the control plane alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from typing import Any, Protocol, TypeVar

from sqlalchemy import Engine

from optimizer.control_plane.canaries import plan_of
from optimizer.control_plane.entities import require_entity
from optimizer.control_plane.entity_outlines import EntityOutline
from optimizer.control_plane.entity_states import EntityState, VerdictRow, read_entity_states
from optimizer.control_plane.records import Deployment, EndedRunRow, ReadinessFigures, Source
from optimizer.core.config.settings import RunSettings
from optimizer.core.live.readiness import (
    EndedRun,
    LearningState,
    LiveFinding,
    Readiness,
    ReadinessFacts,
    Word,
    assess_readiness,
)
from optimizer.core.pricing.target_reach import read_reach
from optimizer.deployment.control_notice import control_notice
from optimizer.runs.handle import settings_of

SAVED_PERIOD = "since_start"


@dataclass(frozen=True, slots=True)
class LiveShare:
    """A live run. role: `control`, `canary`, or `main` for every other."""

    run_id: str
    traffic_pct: int
    role: str


@dataclass(frozen=True, slots=True)
class EntityStatus:
    """An entity at a glance.

    live: its live runs, the largest share first.
    target_win_rate, forecast_win_rate: of the newest run that can be live; None where it left none.
    live_win_rate, live_cpm: measured of the live run with the largest share; None where not measured yet.
    saved: against the control since the start, currency units; None without a control.
    canary_step: such as `2 of 3 (20 %), paused`; None where no run is tried.
    control_notice: that it is live without the control that the newest run's config asks for, and what to do; or None.
    """

    entity_code: str
    readiness: Readiness
    live: tuple[LiveShare, ...]
    target_win_rate: float | None
    forecast_win_rate: float | None
    live_win_rate: float | None
    live_cpm: float | None
    saved: float | None
    canary_step: str | None
    is_pinned: bool
    open_alerts: int
    control_notice: str | None


def read_statuses(engine: Engine, *, now: datetime, entity_code: str | None = None) -> list[EntityStatus]:
    """Return the status of every active entity, or of the one; the number of statements does not depend on how many.

    Raises:
        ConfigError: the named entity is unknown.
    """
    if entity_code is None:
        return [status_of(state, now=now) for state in read_entity_states(engine)]
    require_entity(engine, entity_code)
    return [status_of(state, now=now) for state in read_entity_states(engine, [entity_code])]


def word_of(outline: EntityOutline, *, now: datetime) -> Word:
    """Return the word that `status_of` gives the same entity, from the few columns that decide it."""
    good, failed_run_id = outline.good, outline.failed_run_id
    main = _main_run(outline.active, outline.control_run_id)
    is_below = main is not None and main.is_below_forecast
    ended = None if good is None else EndedRun(good.run_id, good.ended_at, good.data_end_dt)
    facts = _facts(
        ended if failed_run_id is None else EndedRun(failed_run_id, now, problem="see its status"),
        ended,
        figures=None if good is None else good.readiness_figures,
        settings=_settings_with(None if good is None else good.max_data_age_days),
        findings=[LiveFinding("figure", "below target", None, None)] if is_below else [],
    )
    return assess_readiness(facts, now=now).word


def facts_of(state: EntityState) -> ReadinessFacts:
    """Return what the entity's readiness follows from."""
    newest, good = state.newest, state.good
    return _facts(
        None if newest is None else _ended(newest),
        None if good is None else _ended(good),
        figures=None if good is None else good.readiness_figures,
        settings=RunSettings() if good is None else settings_of(good),
        findings=[
            LiveFinding(found.figure, found.verdict, found.reason, found.first_day)
            for found in _main_verdicts(state).values()
        ],
    )


def _facts(
    newest: EndedRun | None,
    good: EndedRun | None,
    *,
    figures: ReadinessFigures | None,
    settings: RunSettings,
    findings: Sequence[LiveFinding],
) -> ReadinessFacts:
    if good is None:
        return ReadinessFacts(newest=newest)
    known = figures or {}
    return ReadinessFacts(
        newest=newest,
        good=good,
        settings=settings,
        learning=_learning(known.get("identification", {})),
        reach=read_reach(known.get("target", {})),
        findings=findings,
    )


@cache
def _settings_with(max_data_age_days: int | None) -> RunSettings:
    return RunSettings() if max_data_age_days is None else RunSettings(max_data_age_days=max_data_age_days)


def status_of(state: EntityState, *, now: datetime) -> EntityStatus:
    """Return the entity's status at a glance."""
    facts, measured = facts_of(state), _main_verdicts(state)
    live = {figure: found.live for figure, found in measured.items()}
    return EntityStatus(
        entity_code=state.entity_code,
        readiness=assess_readiness(facts, now=now),
        live=tuple(LiveShare(row.run_id, row.traffic_pct, _role(row, state)) for row in state.active),
        target_win_rate=None if facts.reach is None else facts.reach.target_win_rate,
        forecast_win_rate=None if facts.reach is None else facts.reach.expected_win_rate,
        live_win_rate=live.get("win_rate"),
        live_cpm=live.get("cpm"),
        saved=next((row.saved for row in state.savings if row.period == SAVED_PERIOD), None),
        canary_step=_canary_step(state),
        is_pinned=any(row.is_pinned for row in state.active if _role(row, state) != "control"),
        open_alerts=len(state.alerts),
        control_notice=control_notice(
            state.entity_code,
            state.active,
            control_run_id=state.control_run_id,
            control_pct=facts.settings.control_pct,
            is_declined=state.is_control_declined,
        ),
    )


def _main_verdicts(state: EntityState) -> dict[str, VerdictRow]:
    """{figure: verdict against the forecast} of the live run with the largest share, the control's aside."""
    if (main := _main_run(state.active, state.control_run_id)) is None:
        return {}
    return {
        found.figure: found
        for found in state.verdicts
        if found.run_id == main.run_id and found.compared_with == "forecast"
    }


class _Live(Protocol):
    """A live run; the attributes are those of `Deployment`."""

    @property
    def run_id(self) -> str: ...

    @property
    def source(self) -> Source: ...


AnyLive = TypeVar("AnyLive", bound=_Live)


def _main_run(active: Sequence[AnyLive], control_run_id: str | None) -> AnyLive | None:
    """The live run with the largest share, the control aside."""
    return next((row for row in active if not _is_control(row, active, control_run_id)), None)


def _is_control(row: _Live, active: Sequence[_Live], control_run_id: str | None) -> bool:
    return row.source == "control" or (row.run_id == control_run_id and len(active) > 1)


def _role(row: Deployment, state: EntityState) -> str:
    if _is_control(row, state.active, state.control_run_id):
        return "control"
    return "canary" if state.canary is not None and row.run_id == state.canary.run_id else "main"


def _canary_step(state: EntityState) -> str | None:
    if (canary := state.canary) is None:
        return None
    steps = plan_of(canary).steps
    paused = ", paused" if canary.status == "paused" else ""
    return f"{canary.step} of {len(steps)} ({steps[canary.step - 1].traffic_pct} %){paused}"


def _ended(run: EndedRunRow) -> EndedRun:
    return EndedRun(
        run_id=run.run_id,
        ended_at=run.completed_at or run.created_at,
        window_end=run.data_end_dt,
        problem=_problem(run),
    )


def _problem(run: EndedRunRow) -> str | None:
    if run.status == "failed":
        return run.error_message or "it left no message"
    if run.validation_status != "passed":
        return f"validation {run.validation_status or 'did not end'}: {run.error_message or 'it left no message'}"
    return None


def _learning(figures: Mapping[str, Any]) -> LearningState | None:
    if not figures.get("is_learning"):
        return None
    since = figures.get("learning_since")
    day = None if since is None else date.fromisoformat(f"{since:.0f}")
    return LearningState(day, figures.get("learning_days_left"))
