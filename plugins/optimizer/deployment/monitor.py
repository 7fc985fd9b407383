"""How an entity's live runs do: measured in the warehouse, written to the control plane, and what follows from it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Any
from zlib import crc32

import pandas as pd

from optimizer.control_plane import deployments, entities, registry
from optimizer.control_plane.records import Deployment, EntityDefinition
from optimizer.core.config.settings import RunSettings
from optimizer.core.live.live_window import MOST_OF_A_DAY, WHOLE_DAY, first_unsettled_day, live_days, unbroken
from optimizer.core.live.performance import (
    LIVE,
    VERDICT_NUMBERS,
    Finding,
    ForecastFigures,
    Limits,
    against_control,
    against_forecast,
    forecast_of_bids,
)
from optimizer.deployment.live_actions import LiveRun, act
from optimizer.errors import ArtifactError, RunStateError
from optimizer.runs.published_run import read_published
from optimizer.runs.systems import Systems
from optimizer.warehouse.extraction import Window
from optimizer.warehouse.live_totals import COLUMNS, read_live_totals

LONGEST_LOOK_DAYS = 30
"""This many days before today are looked at, at most."""


def monitor_entity(entity_code: str, *, systems: Systems, now: datetime) -> dict[str, Any]:
    """Measure the entity's active runs, write their `live` metrics, then do what follows; return what was found.

    Returns:
        entity_code, runs (one line each), actions (what was done) and alerts (what a person should look at).

    Raises:
        ConfigError, WarehouseError, UnavailableError: the entity could not be looked at; nothing was changed.
    """
    definition = entities.read_definition(systems.engine, entity_code)
    settings = entity_settings(definition)
    active = deployments.read_active(systems.engine, entity_code)
    found = look_at(definition, active, settings=settings, systems=systems, now=now)
    for run in found:
        registry.replace_metrics(systems.engine, run.run_id, section=LIVE, metrics=live_metrics(run))
    outcome = act(entity_code, found, settings=settings, systems=systems, now=now)
    return {
        "entity_code": entity_code,
        "runs": [line for run in found for line in lines_of(run)],
        "actions": outcome.actions,
        "alerts": outcome.alerts,
    }


def entity_settings(definition: EntityDefinition) -> RunSettings:
    """Return the entity's own settings: what a run without values of its own would have.

    Raises:
        ConfigError: a value cannot be used.
    """
    return RunSettings.model_validate(definition.merged_config().values)


def look_at(
    definition: EntityDefinition,
    active: Sequence[Deployment],
    *,
    settings: RunSettings,
    systems: Systems,
    now: datetime,
) -> list[LiveRun]:
    """Return what is found of each active run, the largest share first; nothing is written."""
    if not active:
        return []
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
        control_id = next((other.run_id for other in active if other.run_id != run_id), None)
        own, seed = _days_of(totals, run_id, most[run_id]), crc32(run_id.encode())
        control_findings: tuple[Finding, ...] = ()
        if control_id is not None:
            control_findings = against_control(
                _days_of(totals, run_id, whole[run_id]),
                _days_of(totals, control_id, whole[control_id]),
                forecast=forecast,
                control_forecast=forecasts[control_id][0],
                limits=limits,
                seed=seed,
            )
        found.append(
            LiveRun(
                deployment=row,
                live_days=len(most[run_id]),
                days=len(own),
                last_day=max(own["day"], default=None),
                sums={name: float(own[name].sum()) for name in ("bids", "wins", "clicks")},
                findings=against_forecast(own, forecast=forecast, limits=limits, seed=seed),
                control_id=control_id,
                control_findings=control_findings,
                problem=problem,
            )
        )
    return found


def live_metrics(run: LiveRun) -> dict[str, float | None]:
    """Return the rows of section `live`; verdicts are VERDICT_NUMBERS, last_day is yyyymmdd."""
    metrics: dict[str, float | None] = {
        "traffic_pct": float(run.deployment.traffic_pct),
        "days": float(run.days),
        "last_day": None if run.last_day is None else float(f"{run.last_day:%Y%m%d}"),
        **run.sums,
    }
    for finding in run.findings:
        name = finding.figure
        metrics |= {
            name: finding.live.value,
            f"{name}_low": finding.live.low,
            f"{name}_high": finding.live.high,
            f"{name}_forecast": finding.expected,
            f"{name}_verdict": VERDICT_NUMBERS[finding.verdict],
        }
    for finding in run.control_findings:
        name = finding.figure
        metrics |= {
            f"{name}_control": finding.control,
            f"{name}_difference": finding.difference.value,
            f"{name}_difference_low": finding.difference.low,
            f"{name}_difference_high": finding.difference.high,
            f"{name}_control_verdict": VERDICT_NUMBERS[finding.verdict],
        }
    return metrics


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


def _days_of(totals: pd.DataFrame, run_id: str, days: set[date]) -> pd.DataFrame:
    return totals[(totals["run_id"] == run_id) & totals["day"].isin(days)]


def _read_forecast(run_id: str, systems: Systems) -> tuple[ForecastFigures, str | None]:
    """What the run's published bids forecast, or nothing and why."""
    try:
        return forecast_of_bids(read_published(run_id, engine=systems.engine, store=systems.store).bids), None
    except (ArtifactError, RunStateError) as error:
        return ForecastFigures(), f"the forecast of run {run_id} cannot be read: {error}"
