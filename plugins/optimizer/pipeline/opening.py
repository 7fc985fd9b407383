"""snapshot_config: find or make the run's row, merge and check its config, freeze it and start the run."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from optimizer.control_plane import entities, runs, transitions
from optimizer.control_plane.records import EntityDefinition, Run
from optimizer.control_plane.schema import check_schema
from optimizer.core.config import EffectiveConfig, build_snapshot, merge_config
from optimizer.core.settings import CONFIG_VERSION, RunSettings
from optimizer.errors import ConfigError, PermanentError
from optimizer.pipeline.run import RunHandle
from optimizer.pipeline.systems import Systems

LONGEST_RUN = timedelta(hours=6)
"""The time-out of a DAG run: no run of an entity lives longer."""

RECENT_RUNS = 7
RECENT_RUNS_READ = 50
"""So many of the latest runs are looked through for the ones that a run's volume is compared with."""

WINDOW_KEYS = ("data_start_dt", "data_end_dt")


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Who asked for a run, of what, and with which values.

    as_of: the moment the run speaks for; its window ends at the UTC midnight before.
    values: config values of this run alone, and optionally data_start_dt and data_end_dt (ISO dates, UTC).
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
        RunStateError: the row was finished before; a finished run is never revived.
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
    try:
        config = _merge(definition, request, systems, run)
        check_settings(definition, config)
        start_at, end_at = window_of(config, request=request, run=run)
        snapshot = build_snapshot(config, inputs=_inputs(definition, start_at, end_at, systems))
    except PermanentError as error:
        transitions.fail_run(systems.engine, run.run_id, message=str(error), now=now)
        raise
    started = transitions.start_run(
        systems.engine, run.run_id, config_snapshot=snapshot, data_start_at=start_at, data_end_at=end_at, now=now
    )
    base = definition.entity.s3_base_path.rstrip("/")
    return RunHandle(
        run_id=started.run_id,
        run_code=started.run_code,
        entity_code=request.entity_code,
        staging_uri=f"{base}/staging/{started.run_code}/",
        output_uri=f"{base}/runs/{started.run_code}/",
    )


def check_settings(definition: EntityDefinition, config: EffectiveConfig) -> None:
    """Pass where the version's keys are those that this code reads, with values that it can use.

    Raises:
        ConfigError: names every key that is missing, unknown to the code or out of the code's own bounds.
    """
    entity, version = definition.entity.entity_code, definition.version_code
    if version != CONFIG_VERSION:
        raise ConfigError(
            f"entity {entity}: its version {version} is not {CONFIG_VERSION}, which this code implements; "
            "set opt_entities.current_version_id, or run the code of that version"
        )
    missing = sorted(set(RunSettings.model_fields) - set(config.values))
    problems = [f"{name} has no row in opt_version_configs" for name in missing]
    try:
        RunSettings.model_validate(config.values)
    except ValidationError as error:
        problems += [f"{problem['loc'][0]}={problem['input']!r}: {problem['msg']}" for problem in error.errors()]
    if problems:
        raise ConfigError(
            f"entity {entity}: version {version} does not fit this code: {'; '.join(problems)}; run `optimizer migrate`"
        )


def window_of(config: EffectiveConfig, *, request: RunRequest, run: Run) -> tuple[datetime, datetime]:
    """Return the window [start, end): whole UTC days before `as_of`, unless the request or the run's row names its own.

    Raises:
        ConfigError: a date cannot be read, or the window is empty.
    """
    given = {key: request.values.get(key) for key in WINDOW_KEYS}
    midnight = request.as_of.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    end = _parse_day(request.entity_code, "data_end_dt", given["data_end_dt"]) or run.data_end_dt or midnight
    lookback = timedelta(days=int(config.values["lookback_days"] or 0))
    start = _parse_day(request.entity_code, "data_start_dt", given["data_start_dt"]) or run.data_start_dt
    start = start or end - lookback
    if start >= end:
        raise ConfigError(
            f"entity {request.entity_code}: data_start_dt={start:%Y-%m-%d} is not before data_end_dt={end:%Y-%m-%d}; "
            "the window is half open, give an end at least one day later"
        )
    return start, end


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
        dag_id=request.dag_id,
        dag_run_id=request.dag_run_id,
        triggered_by=request.triggered_by,
        trigger_type=request.trigger_type,
        now=now,
    )


def _merge(definition: EntityDefinition, request: RunRequest, systems: Systems, run: Run) -> EffectiveConfig:
    given = {key: value for key, value in request.values.items() if key not in WINDOW_KEYS}
    return merge_config(
        definition.config_keys,
        entity_code=request.entity_code,
        entity_values=definition.entity_values,
        run_values={**runs.read_run_values(systems.engine, run.run_id), **given},
        supported_keys=definition.supported_keys,
    )


def _inputs(definition: EntityDefinition, start_at: datetime, end_at: datetime, systems: Systems) -> dict[str, Any]:
    entity = definition.entity
    recent = _recent_volumes(entity.entity_code, systems)
    return {
        "entity_code": entity.entity_code,
        "object_id": entity.object_id,
        "version_code": definition.version_code,
        "active_run_id": entity.active_run_id,
        "recent_bids_per_day": recent,
        "data_start_dt": start_at.isoformat(),
        "data_end_dt": end_at.isoformat(),
        "feature_macros": [macro.model_dump() for macro in definition.feature_macros],
    }


def _recent_volumes(entity_code: str, systems: Systems) -> list[float]:
    """Bids a day of the entity's latest runs that passed validation, the newest first."""
    found = runs.list_runs(systems.engine, entity_code=entity_code, limit=RECENT_RUNS_READ)
    good = [run for run in found if run.validation_status == "passed" and run.total_bids and run.data_start_dt]
    day = timedelta(days=1)
    return [run.total_bids / max(1.0, (run.data_end_dt - run.data_start_dt) / day) for run in good][:RECENT_RUNS]


def _parse_day(entity_code: str, key: str, text: Any) -> datetime | None:
    if text in (None, ""):
        return None
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        raise ConfigError(f"entity {entity_code}: {key}={text!r} is no date; write it as 2026-01-31") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
