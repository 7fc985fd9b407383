"""upload: the run's files to its output prefix, the manifest last. A dry run ends here."""

from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from optimizer.artifacts.manifest import Manifest, publish
from optimizer.control_plane import registry, runs
from optimizer.core.checks.outcome import outcome_text
from optimizer.deployment.live_comparison import read_live_comparison
from optimizer.runs.handle import RunHandle
from optimizer.runs.outputs import write_outputs
from optimizer.runs.results import published_results, run_states
from optimizer.runs.staged_run import StagedRun
from optimizer.runs.systems import Systems


def upload(run: RunHandle, *, systems: Systems, now: datetime) -> dict[str, Any]:
    """Write the run's files to its output prefix, the manifest last; return their number.

    A dry run ends here: its row is cancelled, with its results and what its validation said, and cannot be deployed.

    Raises:
        ArtifactError: a staged file is not what was validated.
    """
    staged = StagedRun.read(run, systems)
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
        live = read_live_comparison(staged, systems=systems)
        files = write_outputs(Path(folder), staged, started_at=started_at, live=live)
        manifest = publish(
            systems.store,
            output_uri=run.output_uri,
            files={name: (file.output_type, file.path, file.row_count) for name, file in files.items()},
            header=header,
            still_wanted=systems.still_wanted,
        )
    if staged.settings.dry_run:
        return _end_dry_run(staged, manifest, systems, now=now)
    return {"objects": len(manifest.objects) + 1, "output_uri": run.output_uri}


def _bidding_rule(run: StagedRun) -> dict[str, Any]:
    features = run.selection.features
    return {
        "features": features,
        **run.snapshot.inputs.key_template(features),
        "fallback_bid_cpm": run.bids.fallback_bid_cpm,
        "max_bid_cpm": run.settings.max_bid_cpm,
        "auction_type": run.settings.auction_type,
    }


def _end_dry_run(run: StagedRun, manifest: Manifest, systems: Systems, *, now: datetime) -> dict[str, Any]:
    results = published_results(run, manifest, store=systems.store)
    noted = f": {results.error_message}" if results.error_message else ""
    outcome = outcome_text(results.validation_status, results.validation_warnings)
    message = f"dry run: validation {outcome}{noted}; it cannot be deployed"
    results = results.model_copy(update={"error_message": message})
    row = registry.register_dry_run(systems.engine, run.handle.run_id, figures=results, now=now)
    return run_states(row)
