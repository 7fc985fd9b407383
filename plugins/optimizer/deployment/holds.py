"""Why a completed run does not go live: its state, its window, or warnings that hold it."""

import json
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Engine

from optimizer.artifacts.manifest import read_manifest, read_verified
from optimizer.control_plane import deployment_history
from optimizer.control_plane.records import Run
from optimizer.core.checks.outcome import CheckRecord, checks_of
from optimizer.core.config.settings import RunSettings
from optimizer.core.records import run_files
from optimizer.runs.handle import settings_of
from optimizer.runs.systems import Systems


def reason_to_hold(row: Run) -> str | None:
    """Return why the run does not go live, whatever its `promotion`, or None where it may."""
    if row.status != "completed":
        return f"run {row.run_id} is {row.status}; only a completed run can be promoted"
    if row.validation_status != "passed":
        return f"validation of run {row.run_id} failed: {row.error_message}"
    if row.started_at is None or row.data_end_dt is None:
        return f"run {row.run_id} has no start or no window, so the age of its data is not known"
    settings = settings_of(row)
    age = row.started_at - row.data_end_dt
    if age > timedelta(days=settings.max_data_age_days) and not settings.promote_old_window:
        return (
            f"the window of run {row.run_id} ended {row.data_end_dt:%Y-%m-%d}, {age.days} days before it started, more "
            f"than max_data_age_days={settings.max_data_age_days}; {by_hand(row)}, "
            "promote_old_window=true does so at once"
        )
    return None


def reason_of_warnings(row: Run, *, systems: Systems) -> str | None:
    """Return which warnings keep the run from going live automatically and what to do, or None where none does.

    Raises:
        ArtifactError: the run has warnings, and its metrics.json cannot be read.
    """
    if not row.validation_warnings:
        return None
    held = [check for check in _read_checks(row, systems) if check.verdict == "holds"]
    return say_held(row, held) if held else None


def say_held(row: Run, held: Sequence[CheckRecord]) -> str:
    """Return the reason of a run that these checks of its metrics.json hold."""
    warnings = ". ".join(f"{check.name}: {check.message}" for check in held)
    return (
        f"run {row.run_id} {row.outcome} and is not promoted automatically; what is live stays. {warnings}. "
        f"To deploy it anyway: {by_hand(row)}"
    )


def needs_person(row: Run, settings: RunSettings, *, engine: Engine) -> bool:
    """Return whether a person has to confirm the run: where its `promotion` says so, and on an entity's first run.

    Nothing is known of how a first run does live, so it never gets all traffic automatically. It may be tried next to
    the control; without one there is nothing to compare it with.
    """
    if settings.promotion == "approval":
        return True
    if settings.promotion == "none" or deployment_history.was_live(engine, row.entity_id):
        return False
    return settings.promotion == "auto" or settings.control_pct == 0


def by_hand(row: Run) -> str:
    """Return how a person deploys the run."""
    inputs = dict(row.config_snapshot or {}).get("inputs", {})
    return f"`optimizer deploy {inputs.get('entity_code', 'ENTITY')} {row.run_id}=100` gives it the traffic by hand"


def _read_checks(row: Run, systems: Systems) -> tuple[CheckRecord, ...]:
    output_uri = row.s3_output_path or ""
    manifest = read_manifest(systems.store, output_uri, checksum=row.manifest_sha256)
    content = read_verified(systems.store, output_uri=output_uri, manifest=manifest, name=run_files.METRICS)
    return checks_of(json.loads(content))
