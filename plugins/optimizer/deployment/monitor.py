"""How an entity's live runs do: measured in the warehouse, written to the control plane, and what follows from it."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Engine

from optimizer.control_plane import canaries, deployment_history, entities, live_records, runs
from optimizer.control_plane.alerts import Incident, list_alerted, record_incidents
from optimizer.control_plane.control_choices import is_declined
from optimizer.control_plane.live_rows import LiveSavings, LiveVerdict
from optimizer.control_plane.records import Canary, Deployment, EntityDefinition, Run
from optimizer.core.config.settings import RunSettings
from optimizer.core.live.click_views import arrival_sentence
from optimizer.core.live.live_window import first_unsettled_day
from optimizer.deployment.control_notice import control_notice
from optimizer.deployment.live_actions import ALERT_KINDS, LiveRun, LiveSituation, act
from optimizer.deployment.live_policy import POLICY_DAYS, policy_verdicts, savings_line, savings_of
from optimizer.deployment.measurement import LiveLog, Look, Measured, look_at, prepare_look, read_logs
from optimizer.deployment.serving_snapshots import repair_object
from optimizer.deployment.verdict_records import verdict_records
from optimizer.errors import OptimizerError, UnavailableError, WarehouseError
from optimizer.runs.systems import Systems

log = logging.getLogger(__name__)

Outcome = TypeVar("Outcome")

CONTROL_MISSING = "control_missing"
"""The incident of a live entity without the control that its config asks for. It makes no task red."""

KINDS = (*ALERT_KINDS, CONTROL_MISSING)
"""The kinds of incidents that a look at an entity opens and closes."""

_MAY_PASS = (UnavailableError, ConnectionError, TimeoutError)
"""A system was silent: the same call may succeed later."""


def list_watched(engine: Engine) -> list[str]:
    """Return the active entities with a live run or an open alert; the number of statements is fixed."""
    codes = [row.entity.entity_code for row in entities.read_definitions(engine)[0] if row.entity.status == "A"]
    watched = deployment_history.list_live(engine) | list_alerted(engine, kinds=KINDS)
    return [code for code in codes if code in watched]


def monitor_entity(entity_code: str, *, systems: Systems, now: datetime) -> dict[str, Any]:
    """Measure the entity's live runs, write what was found, then do what follows; return it.

    Returns:
        entity_code, runs (one line each), actions (what was done), alerts (what a person should look at), and opened
        and closed: the messages of the alerts that are new, and of those that are over.

    Raises:
        ConfigError, WarehouseError, UnavailableError: the entity could not be looked at; nothing was changed.
    """
    started = _start(entity_code, engine=systems.engine, now=now)
    (found,) = read_logs([started.look], systems=systems, now=now)
    return _finish(started, found, systems=systems, now=now)


@dataclass(frozen=True, slots=True)
class _Started:
    """An entity whose live runs are being looked at, as the control plane had it at the start."""

    look: Look
    canary: Canary | None


def _start(entity_code: str, *, engine: Engine, now: datetime) -> _Started:
    definition = entities.read_definition(engine, entity_code)
    settings = entity_settings(definition)
    active, canary = deployment_history.read_active(engine, entity_code), canaries.read_open(engine, entity_code)
    return _Started(prepare_look(definition, active, settings=settings, engine=engine, now=now), canary)


def _finish(started: _Started, found: LiveLog, *, systems: Systems, now: datetime) -> dict[str, Any]:
    """Judge, write and act by what the warehouse has; return the report."""
    engine, look, canary = systems.engine, started.look, started.canary
    definition, settings, active = look.definition, look.settings, look.active
    entity_code = definition.entity.entity_code
    measured = look_at(look, found, systems=systems, now=now)
    savings = _write(definition, measured, settings=settings, engine=engine, now=now)
    control = _read_control(definition, systems)
    situation = LiveSituation(measured.runs, canary, measured.split_problem, control)
    outcome = act(entity_code, situation, settings=settings, systems=systems, now=now)
    _repair_snapshot(entity_code, systems=systems, now=now)
    notices = _control_notices(definition, active, settings=settings, engine=engine)
    incidents = [*outcome.alerts, *notices]
    changes = record_incidents(engine, definition.entity.entity_id, incidents, kinds=KINDS, now=now)
    return {
        "entity_code": entity_code,
        "runs": [
            *(line for run in measured.runs for line in lines_of(run)),
            *_arrival_lines(measured),
            *map(savings_line, savings),
            *(incident.message for incident in notices),
        ],
        "actions": outcome.actions,
        "alerts": [incident.message for incident in outcome.alerts],
        "opened": [alert.message for alert in changes.opened],
        "closed": [alert.message for alert in changes.closed],
    }


def monitor_entities(
    entity_codes: Sequence[str],
    *,
    systems: Systems,
    now: datetime,
    after_each: Callable[[dict[str, Any]], object] = lambda report: None,
) -> list[dict[str, Any]]:
    """Look at each entity as `monitor_entity` does and return the reports; one that fails holds no other up.

    The warehouse is asked a few queries for all of them, which read its events once; where it refuses one, each entity
    is looked at by itself. An entity for which a system was silent is looked at once more after the others. The report
    of one that could not be looked at has an alert that says why, and nothing else.

    Args:
        after_each: called with each report.

    Raises:
        UnavailableError: the warehouse was silent, or another system for every one of the entities.
    """
    started = {code: _outcome(partial(_start, code, engine=systems.engine, now=now)) for code in entity_codes}
    ready = {code: one for code, one in started.items() if isinstance(one, _Started)}
    found: dict[str, dict[str, Any] | Exception] = {
        code: one for code, one in started.items() if isinstance(one, Exception)
    }
    try:
        logs = read_logs([one.look for one in ready.values()], systems=systems, now=now)
    except WarehouseError as error:
        log.warning("the warehouse is asked for each entity by itself: %s", error)
        found |= {code: _outcome(partial(monitor_entity, code, systems=systems, now=now)) for code in ready}
    else:
        for (code, one), own in zip(ready.items(), logs, strict=True):
            found[code] = _outcome(partial(_finish, one, own, systems=systems, now=now))
    for code in [code for code, one in found.items() if isinstance(one, _MAY_PASS)]:
        found[code] = _outcome(partial(monitor_entity, code, systems=systems, now=now))
    silent = [one for one in found.values() if isinstance(one, _MAY_PASS)]
    if silent and len(silent) == len(found):
        raise UnavailableError(f"none of {len(found)} entities could be looked at, first: {silent[0]}") from silent[0]
    reports = [
        one if isinstance(one, dict) else _failed_report(code, one)
        for code, one in ((code, found[code]) for code in entity_codes)
    ]
    for report in reports:
        after_each(report)
    return reports


def _outcome(ask: Callable[[], Outcome]) -> Outcome | Exception:
    """Return what `ask` returns or raises: even a mistake of our own must not hide what other entities showed."""
    try:
        return ask()
    except Exception as error:
        log.exception("an entity could not be looked at")
        return error


def _failed_report(entity_code: str, error: Exception) -> dict[str, Any]:
    alert = f"entity {entity_code}: its live runs could not be looked at: {type(error).__name__}: {error}"
    return {"entity_code": entity_code, "runs": [], "actions": [], "alerts": [alert], "opened": [], "closed": []}


def _write(
    definition: EntityDefinition, measured: Measured, *, settings: RunSettings, engine: Engine, now: datetime
) -> list[LiveSavings]:
    """Write the daily figures, the verdicts and what was saved; return the latter."""
    entity, end_day = definition.entity, first_unsettled_day(now)
    live_records.replace_days(engine, entity.entity_id, measured.days, now=now)
    verdicts = [verdict for run in measured.runs for verdict in verdicts_of(run)]
    daily = live_records.read_days(engine, entity.entity_code, since=end_day - timedelta(days=POLICY_DAYS))
    why = None if measured.split_problem is None else "the traffic is not split as deployed"
    verdicts += policy_verdicts(daily, control_id=entity.control_run_id, settings=settings, now=now, undecided_why=why)
    live_records.replace_verdicts(engine, entity.entity_id, verdicts, measured_on=now.astimezone(UTC).date(), now=now)
    savings: list[LiveSavings] = []
    if entity.control_run_id is not None:
        savings = savings_of(live_records.read_days(engine, entity.entity_code), entity.control_run_id)
    live_records.replace_savings(engine, entity.entity_id, savings, now=now)
    return savings


def _repair_snapshot(entity_code: str, *, systems: Systems, now: datetime) -> None:
    """Write the snapshot again where the object was removed or replaced; the task's log says so, or why it failed."""
    try:
        sequence = repair_object(entity_code, engine=systems.engine, store=systems.store, now=now)
    except OptimizerError as error:
        log.warning("entity %s: its snapshot was not checked: %s", entity_code, error)
    else:
        if sequence is not None:
            log.warning(
                "entity %s: its snapshot was not what is live; it was written as number %d", entity_code, sequence
            )


def _arrival_lines(measured: Measured) -> list[str]:
    """Which share of the clicks of the latest days has arrived; no line where all have."""
    sentence = arrival_sentence({day.day: day.click_maturity for day in measured.days})
    return [] if sentence is None else [sentence]


def _control_notices(
    definition: EntityDefinition, active: Sequence[Deployment], *, settings: RunSettings, engine: Engine
) -> list[Incident]:
    """The notice of a live entity without the control that its config asks for; none where nothing is missing."""
    entity = definition.entity
    notice = control_notice(
        entity.entity_code,
        active,
        control_run_id=entity.control_run_id,
        control_pct=settings.control_pct,
        is_declined=is_declined(engine, entity.entity_id),
    )
    return [] if notice is None else [Incident(CONTROL_MISSING, notice)]


def entity_settings(definition: EntityDefinition) -> RunSettings:
    """Return the entity's own settings: what a run without values of its own would have.

    Raises:
        ConfigError: a value cannot be used.
    """
    return RunSettings.model_validate(definition.merged_config().values)


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


def _read_control(definition: EntityDefinition, systems: Systems) -> Run | None:
    """The entity's control, if it has one."""
    run_id = definition.entity.control_run_id
    return None if run_id is None else runs.read_run(systems.engine, run_id)
