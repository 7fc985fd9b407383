"""upload: the run's files to its output prefix, the manifest last. A dry run ends here instead."""

from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from optimizer.artifacts.manifest import publish
from optimizer.control_plane import registry, runs, transitions
from optimizer.control_plane.registry import RunFigures
from optimizer.core.checks.outcome import outcome_text
from optimizer.runs.handle import RunHandle
from optimizer.runs.outputs import write_outputs
from optimizer.runs.results import run_results, run_states
from optimizer.runs.staged_run import StagedRun
from optimizer.runs.systems import Systems


def upload(run: RunHandle, *, systems: Systems, now: datetime) -> dict[str, Any]:
    """Write the run's files to its output prefix, the manifest last; return their number.

    A dry run ends here instead: its row is cancelled, with its figures and what its validation said.

    Raises:
        ArtifactError: a staged file is not what was validated.
    """
    staged = StagedRun.read(run, systems)
    if staged.settings.dry_run:
        return _end_dry_run(staged, systems, now=now)
    row = runs.read_run(systems.engine, run.run_id)
    started_at = row.started_at or row.created_at
    header = {
        "run_id": run.run_id,
        "run_code": run.run_code,
        "entity_code": run.entity_code,
        "created_at": started_at,
        "bidding": _bidding_rule(staged),
    }
    with TemporaryDirectory(prefix="optimizer-") as folder:
        files = write_outputs(Path(folder), staged, started_at=started_at)
        manifest = publish(
            systems.store,
            output_uri=run.output_uri,
            files={name: (file.output_type, file.path, file.row_count) for name, file in files.items()},
            header=header,
            still_wanted=lambda: transitions.require_running(systems.engine, run.run_id, now=now),
        )
    return {"objects": len(manifest.objects) + 1, "output_uri": run.output_uri}


def _bidding_rule(run: StagedRun) -> dict[str, Any]:
    features = run.selection.features
    return {
        "features": features,
        **run.snapshot.inputs.key_template(features),
        "fallback_bid_cpm": run.bids.fallback_bid_cpm,
        "max_bid_cpm": run.settings.max_bid_cpm,
    }


def _end_dry_run(run: StagedRun, systems: Systems, *, now: datetime) -> dict[str, Any]:
    figures = RunFigures.model_validate(run_results(run))
    noted = f": {figures.error_message}" if figures.error_message else ""
    outcome = outcome_text(figures.validation_status, figures.validation_warnings)
    message = f"dry run: validation {outcome}{noted}; nothing was uploaded or deployed"
    figures = figures.model_copy(update={"error_message": message})
    row = registry.register_dry_run(systems.engine, run.handle.run_id, figures=figures, now=now)
    return run_states(row)
