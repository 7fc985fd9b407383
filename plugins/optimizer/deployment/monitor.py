"""How an entity's live runs do: measured in the warehouse, written to the control plane, and what follows from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pandas as pd

from optimizer.control_plane import canaries, deployments, entities, live_records
from optimizer.control_plane.alerts import record_incidents
from optimizer.control_plane.records import Deployment, EntityDefinition, LiveDay, LiveVerdict
from optimizer.core.config.settings import RunSettings
from optimizer.core.frames import rows_of
from optimizer.core.live.live_window import (
    MOST_OF_A_DAY,
    WHOLE_DAY,
    first_unsettled_day,
    live_days,
    mean_share,
    unbroken,
)
from optimizer.core.live.performance import (
    SUMS,
    Finding,
    ForecastFigures,
    Limits,
    against_control,
    against_forecast,
    forecast_of_bids,
)
from optimizer.deployment.live_actions import ALERT_KINDS, LiveRun, act
from optimizer.deployment.live_policy import POLICY_DAYS, policy_verdicts, savings_line, savings_of
from optimizer.deployment.verdict_records import verdict_records
from optimizer.errors import ArtifactError, RunStateError
from optimizer.runs.published_run import read_published
from optimizer.runs.systems import Systems
from optimizer.warehouse.extraction import Window
from optimizer.warehouse.live_totals import COLUMNS, read_live_totals

LONGEST_LOOK_DAYS = 30
"""This many days before today are looked at, at most."""


def monitor_entity(entity_code: str, *, systems: Systems, now: datetime) -> dict[str, Any]:
    """Measure the entity's live runs, write what was found, then do what follows; return it.

    Returns:
        entity_code, runs (one line each), actions (what was done), alerts (what a person should look at), and opened
        and closed: the messages of the alerts that are new, and of those that are over.

    Raises:
        ConfigError, WarehouseError, UnavailableError: the entity could not be looked at; nothing was changed.
    """
    engine, definition = systems.engine, entities.read_definition(systems.engine, entity_code)
    entity_id, settings = definition.entity.entity_id, entity_settings(definition)
    active, canary = deployments.read_active(engine, entity_code), canaries.read_open(engine, entity_code)
    measured = look_at(definition, active, settings=settings, systems=systems, now=now)
    live_records.replace_days(engine, entity_id, measured.days, now=now)
    verdicts = [verdict for run in measured.runs for verdict in verdicts_of(run)]
    daily = live_records.read_days(engine, entity_code, since=first_unsettled_day(now) - timedelta(days=POLICY_DAYS))
    control_id = definition.entity.control_run_id
    verdicts += policy_verdicts(daily, control_id=control_id, settings=settings)
    live_records.replace_verdicts(engine, entity_id, verdicts, measured_on=now.astimezone(UTC).date(), now=now)
    savings = [] if control_id is None else savings_of(live_records.read_days(engine, entity_code), control_id)
    live_records.replace_savings(engine, entity_id, savings, now=now)
    outcome = act(entity_code, measured.runs, canary=canary, settings=settings, systems=systems, now=now)
    changes = record_incidents(engine, entity_id, outcome.alerts, kinds=ALERT_KINDS, now=now)
    return {
        "entity_code": entity_code,
        "runs": [*(line for run in measured.runs for line in lines_of(run)), *map(savings_line, savings)],
        "actions": outcome.actions,
        "alerts": [incident.message for incident in outcome.alerts],
        "opened": [alert.message for alert in changes.opened],
        "closed": [alert.message for alert in changes.closed],
    }


def entity_settings(definition: EntityDefinition) -> RunSettings:
    """Return the entity's own settings: what a run without values of its own would have.

    Raises:
        ConfigError: a value cannot be used.
    """
    return RunSettings.model_validate(definition.merged_config().values)


@dataclass(frozen=True, slots=True)
class Measured:
    """The active runs, the largest share first, and the daily figures of every run that bid on these days."""

    runs: tuple[LiveRun, ...] = ()
    days: tuple[LiveDay, ...] = ()


def look_at(
    definition: EntityDefinition,
    active: Sequence[Deployment],
    *,
    settings: RunSettings,
    systems: Systems,
    now: datetime,
) -> Measured:
    """Return what is found of each active run; nothing is written."""
    if not active:
        return Measured()
    limits = Limits(settings.monitor_min_days, settings.live_tolerance)
    end_day = first_unsettled_day(now)
    history = deployments.read_history(systems.engine, definition.entity.entity_code, limit=1000)
    most, whole = (
        {
            row.run_id: live_days(
                _spans(history, row.run_id), end_day=end_day, days=LONGEST_LOOK_DAYS, least_share=share
            )
            for row in active
        }
        for share in (MOST_OF_A_DAY, WHOLE_DAY)
    )
    totals = _read_totals(definition, most, end_day=end_day, systems=systems)
    forecasts = {row.run_id: _read_forecast(row.run_id, systems) for row in active}
    found = []
    for row in active:
        run_id, (forecast, problem) = row.run_id, forecasts[row.run_id]
        control_id = _partner(row, active)
        own = _days_of(totals, run_id, most[run_id])
        control_findings: tuple[Finding, ...] = ()
        if control_id is not None:
            control_findings = against_control(
                _days_of(totals, run_id, whole[run_id]),
                _days_of(totals, control_id, whole[control_id]),
                forecast=forecast,
                control_forecast=forecasts[control_id][0],
                limits=limits,
            )
        found.append(
            LiveRun(
                deployment=row,
                live_days=len(most[run_id]),
                days=tuple(sorted(own["day"])),
                findings=against_forecast(own, forecast=forecast, limits=limits),
                control_id=control_id,
                is_beside_control=any(other.run_id == control_id and other.source == "control" for other in active),
                control_findings=control_findings,
                problem=problem,
            )
        )
    known = {run_id: forecast for run_id, (forecast, _) in forecasts.items()}
    return Measured(tuple(found), tuple(_daily_records(totals, history, forecasts=known)))


def _partner(row: Deployment, active: Sequence[Deployment]) -> str | None:
    """The run to compare with: the largest other share but the control's, which is small; else the control."""
    others = [other for other in active if other.run_id != row.run_id]
    return next((other.run_id for other in sorted(others, key=lambda other: other.source == "control")), None)


def verdicts_of(run: LiveRun) -> list[LiveVerdict]:
    """Return the rows of opt_live_verdicts, a figure each: against the forecast, and against the other run."""
    by_forecast = verdict_records(run.findings, run_id=run.run_id, days=run.days, compared_with="forecast")
    return by_forecast + verdict_records(
        run.control_findings, run_id=run.run_id, days=run.days, compared_with="split", control_id=run.control_id
    )


def lines_of(run: LiveRun) -> list[str]:
    """Return what was found, a sentence a figure, for the task's log."""
    head = f"run {run.run_id} ({run.deployment.traffic_pct} %)"
    lines = [f"{head}: {finding.figure} {finding.verdict}: {finding.reason}" for finding in run.findings]
    return lines + [
        f"{head} beside run {run.control_id}: {finding.figure} {finding.verdict}: {finding.reason}"
        for finding in run.control_findings
    ]


def _spans(history: Sequence[Deployment], run_id: str) -> list[tuple[datetime, datetime | None]]:
    """From when to when the run has been live, since it was last off."""
    return unbroken((row.deployed_at, row.deactivated_at) for row in history if row.run_id == run_id and _has_span(row))


def _has_span(row: Deployment) -> bool:
    """The SQL of others may take a row off without saying when: such a row tells no day."""
    return row.is_active or row.deactivated_at is not None


def _read_totals(
    definition: EntityDefinition, days: Mapping[str, set[date]], *, end_day: date, systems: Systems
) -> pd.DataFrame:
    """The totals from the first of the days on; the warehouse is not asked where there is no day to read."""
    every = set().union(*days.values())
    if not every:
        return pd.DataFrame(columns=list(COLUMNS))
    start, end = (datetime.combine(day, time(), UTC) for day in (min(every), end_day))
    window = Window(object_id=definition.entity.object_id, data_start_at=start, data_end_at=end)
    connection = systems.connect_warehouse()
    try:
        return without_unloaded_day(read_live_totals(connection, window=window))
    finally:
        connection.close()


def without_unloaded_day(totals: pd.DataFrame) -> pd.DataFrame:
    """Return the totals without their last day where nothing at all was won on it: its views are not loaded yet."""
    last = totals["day"] == totals["day"].max()
    return totals[~last] if len(totals) and totals.loc[last, "wins"].sum() == 0 else totals


def _daily_records(
    totals: pd.DataFrame, history: Sequence[Deployment], *, forecasts: Mapping[str, ForecastFigures]
) -> list[LiveDay]:
    """The rows of opt_live_daily, of the entity's runs alone: the log may hold bids of other systems' runs."""
    own = {row.run_id for row in history}
    records = []
    for day in rows_of(totals[totals["run_id"].isin(own)]):
        forecast = forecasts.get(day.run_id, ForecastFigures())
        spans = [
            (row.deployed_at, row.deactivated_at, row.traffic_pct)
            for row in history
            if row.run_id == day.run_id and _has_span(row)
        ]
        records.append(
            LiveDay(
                run_id=day.run_id,
                day=day.day,
                traffic_pct=mean_share(spans, day.day),
                **{name: getattr(day, name) for name in SUMS},
                forecast_win_rate=forecast.win_rate,
                forecast_cpm=forecast.cpm,
                forecast_ctr=forecast.ctr,
                forecast_margin=forecast.margin,
            )
        )
    return records


def _days_of(totals: pd.DataFrame, run_id: str, days: set[date]) -> pd.DataFrame:
    return totals[(totals["run_id"] == run_id) & totals["day"].isin(days)]


def _read_forecast(run_id: str, systems: Systems) -> tuple[ForecastFigures, str | None]:
    """What the run's published bids forecast, or nothing and why."""
    try:
        return forecast_of_bids(read_published(run_id, engine=systems.engine, store=systems.store).bids), None
    except (ArtifactError, RunStateError) as error:
        return ForecastFigures(), f"the forecast of run {run_id} cannot be read: {error}"
