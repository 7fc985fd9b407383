"""snapshot_config: find or make the run's row, merge and check its config, freeze it and start the run."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from optimizer.control_plane import entities, runs, transitions
from optimizer.control_plane.records import EntityDefinition, Run
from optimizer.control_plane.registry import CONTROL_TRIGGER
from optimizer.control_plane.schema import check_schema
from optimizer.core.config.form import FORM_STAMP, check_form
from optimizer.core.records.config_snapshot import ConfigSnapshot, KeyMacro, RunInputs
from optimizer.errors import PermanentError
from optimizer.runs.config_checks import CheckedRun, check_run
from optimizer.runs.handle import DRY_RUNS, RUNS, STAGING, RunHandle, folder_uri
from optimizer.runs.limits import LONGEST_RUN
from optimizer.runs.systems import Systems

RECENT_RUNS = 7
RECENT_RUNS_READ = 50
"""This many of the latest runs are looked through for the ones that a run's volume is compared with."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Who asked for a run, of what, and with which values.

    as_of: the moment the run speaks for; its window ends at the UTC midnight before.
    values: config values of this run alone, and optionally data_start_dt and data_end_dt (ISO dates, UTC) and the
        stamp of the form that they come from.
    run_id: a pending row that already exists, or None.
    """

    entity_code: str
    dag_id: str
    dag_run_id: str
    as_of: datetime
    triggered_by: str
    trigger_type: str
    values: Mapping[str, Any]
    run_id: str | None = None


def snapshot_config(request: RunRequest, *, systems: Systems, now: datetime) -> RunHandle:
    """Return the started run.

    Raises:
        ConfigError: the entity or its merged config is wrong; the run's row is failed with the same message.
        RunCancelled: a user cancelled the row; RunStateError: it was finished before. No finished run is revived.
    """
    check_schema(systems.engine)
    definition = entities.read_definition(systems.engine, request.entity_code)
    run = _find_run(request, definition, systems, now)
    transitions.fail_outlived(
        systems.engine,
        dag_id=request.dag_id,
        started_before=now - LONGEST_RUN,
        message="the run outlived its DAG run, which timed out or was ended by hand; start a new run",
        now=now,
    )
    if run.status not in ("pending", "running"):
        raise transitions.wrong_state(run, needed="pending")
    try:
        checked = _check(request, run, definition, systems)
        inputs = _inputs(definition, checked.start_at, checked.end_at, systems)
        snapshot = ConfigSnapshot.of(checked.config, inputs=inputs)
    except PermanentError as error:
        transitions.fail_run(systems.engine, run.run_id, message=str(error), now=now)
        raise
    started = transitions.start_run(
        systems.engine,
        run.run_id,
        config_snapshot=snapshot.to_json(),
        data_start_at=checked.start_at,
        data_end_at=checked.end_at,
        now=now,
        is_dry_run=snapshot.settings.dry_run,
    )
    base = definition.entity.s3_base_path
    return RunHandle(
        run_id=started.run_id,
        run_code=started.run_code,
        entity_code=request.entity_code,
        staging_uri=f"{folder_uri(base, STAGING)}{started.run_code}/",
        output_uri=f"{folder_uri(base, DRY_RUNS if started.is_dry_run else RUNS)}{started.run_code}/",
    )


def _check(request: RunRequest, run: Run, definition: EntityDefinition, systems: Systems) -> CheckedRun:
    """The config of the run with its own values, which are in its row or come from a trigger form."""
    form = {name: value for name, value in request.values.items() if name != FORM_STAMP}
    check_form(
        str(request.values[FORM_STAMP]) if FORM_STAMP in request.values else None,
        form,
        keys=definition.config_keys,
        entity_values=definition.entity_values,
        entity_code=request.entity_code,
    )
    values = {**runs.read_run_values(systems.engine, run.run_id), **form}
    return check_run(definition, run, values=values, as_of=request.as_of)


def _find_run(request: RunRequest, definition: EntityDefinition, systems: Systems, now: datetime) -> Run:
    if request.run_id is not None:
        return runs.adopt_run(
            systems.engine,
            request.run_id,
            entity_id=definition.entity.entity_id,
            dag_id=request.dag_id,
            dag_run_id=request.dag_run_id,
        )
    return runs.open_run(
        systems.engine,
        entity_id=definition.entity.entity_id,
        entity_code=request.entity_code,
        version_id=definition.entity.current_version_id,
        origin=runs.RunOrigin(request.dag_id, request.dag_run_id, request.triggered_by, request.trigger_type),
        now=now,
    )


def _inputs(definition: EntityDefinition, start_at: datetime, end_at: datetime, systems: Systems) -> RunInputs:
    entity = definition.entity
    return RunInputs(
        entity_code=entity.entity_code,
        object_id=entity.object_id,
        version_code=definition.version_code,
        active_run_id=entity.active_run_id,
        recent_bids_per_day=_recent_volumes(entity.entity_code, systems),
        data_start_dt=start_at,
        data_end_dt=end_at,
        feature_macros=tuple(KeyMacro.model_validate(macro.model_dump()) for macro in definition.feature_macros),
    )


def _recent_volumes(entity_code: str, systems: Systems) -> tuple[float, ...]:
    """Bids a day of the entity's latest runs that passed validation, the newest first."""
    found = runs.list_runs(systems.engine, entity_code=entity_code, limit=RECENT_RUNS_READ)
    completed = [
        run
        for run in found
        if run.status == "completed" and run.validation_status == "passed" and run.trigger_type != CONTROL_TRIGGER
    ]
    volumes = [
        run.total_bids / max(1.0, (run.data_end_dt - run.data_start_dt) / timedelta(days=1))
        for run in completed
        if run.total_bids and run.data_start_dt and run.data_end_dt
    ]
    return tuple(volumes[:RECENT_RUNS])
