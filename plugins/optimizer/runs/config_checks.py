"""What is checked before anything expensive: a run's merged config and its window."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from optimizer.control_plane.records import EntityDefinition, Run
from optimizer.core.config.merge import EffectiveConfig
from optimizer.core.config.settings import CONFIG_VERSION, RunSettings
from optimizer.core.live.canary_plan import read_plan
from optimizer.errors import ConfigError

WINDOW_KEYS = ("data_start_dt", "data_end_dt")


@dataclass(frozen=True, slots=True)
class CheckedRun:
    """A run that may start: its merged config, and its window [start_at, end_at)."""

    config: EffectiveConfig
    start_at: datetime
    end_at: datetime


def check_run(definition: EntityDefinition, run: Run, *, values: Mapping[str, Any], as_of: datetime) -> CheckedRun:
    """Return the run's config and window.

    Args:
        values: config values of this run alone, and optionally data_start_dt and data_end_dt (ISO dates, UTC).
        as_of: the moment the run speaks for; its window ends at the UTC midnight before.

    Raises:
        ConfigError: the merged config or the window is wrong, or the version is not this code's.
    """
    config = definition.merged_config({key: value for key, value in values.items() if key not in WINDOW_KEYS})
    check_settings(definition, config)
    start_at, end_at = window_of(config, definition.entity.entity_code, run=run, values=values, as_of=as_of)
    return CheckedRun(config, start_at, end_at)


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
    if canary_plan := config.values["canary_plan"]:
        try:
            read_plan(str(canary_plan))
        except ConfigError as error:
            raise ConfigError(f"entity {entity}: {error}") from None


def window_of(
    config: EffectiveConfig, entity_code: str, *, run: Run, values: Mapping[str, Any], as_of: datetime
) -> tuple[datetime, datetime]:
    """Return the window [start, end): whole UTC days before `as_of`, unless `values` or the run's row names its own.

    Raises:
        ConfigError: a date cannot be read, or the window is empty.
    """
    midnight = as_of.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    end = _parse_day(entity_code, "data_end_dt", values.get("data_end_dt")) or run.data_end_dt or midnight
    lookback = timedelta(days=int(config.values["lookback_days"] or 0))
    start = _parse_day(entity_code, "data_start_dt", values.get("data_start_dt")) or run.data_start_dt
    start = start or end - lookback
    if start >= end:
        raise ConfigError(
            f"entity {entity_code}: data_start_dt={start:%Y-%m-%d} is not before data_end_dt={end:%Y-%m-%d}; "
            "the window is half open, give an end at least one day later"
        )
    return start, end


def _parse_day(entity_code: str, key: str, text: Any) -> datetime | None:
    if text in (None, ""):
        return None
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        raise ConfigError(f"entity {entity_code}: {key}={text!r} is not a date; write it as 2026-01-31") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
