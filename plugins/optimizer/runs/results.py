"""What a run leaves in its row of the control plane, from what its steps staged."""

from collections.abc import Mapping
from typing import Any

from optimizer.artifacts.manifest import Manifest
from optimizer.artifacts.store import ObjectStore
from optimizer.control_plane.records import Run
from optimizer.control_plane.registry import RunResults
from optimizer.core.landscape.features import Selection
from optimizer.core.records.config_snapshot import KeyMacro
from optimizer.runs.metrics import run_figures
from optimizer.runs.outputs import output_rows
from optimizer.runs.staged_run import StagedRun


def run_results(run: StagedRun) -> dict[str, Any]:
    """Return the fields of RunFigures, from what the run's steps left in its staging prefix."""
    counts = ("total_segments", "segments_count", "segments_in_memcache", "domains_count", "npis_count")
    features, validation = run.selection.features, run.validation
    return {
        "total_bids": run.log.usable_bids,
        "total_views": run.log.joined_views,
        "total_clicks": run.log.joined_clicks,
        **{key: getattr(run.bids, key) for key in (*counts, "bid_median", "bid_min", "bid_max")},
        "features_used": ",".join(features),
        "validation_status": validation.status,
        "validation_warnings": len(validation.warnings),
        "error_message": "; ".join(validation.failures) or None,
        "features": _feature_rows(run.selection, run.snapshot.inputs.macros),
        **run.snapshot.inputs.key_template(features),
        "metrics": run_figures(run),
    }


def published_results(run: StagedRun, manifest: Manifest, *, store: ObjectStore) -> RunResults:
    """Return the results of a run whose files are published, its objects included."""
    uri = run.handle.output_uri
    return RunResults(
        **run_results(run), s3_output_path=uri, outputs=output_rows(manifest, output_uri=uri, store=store)
    )


def run_states(row: Run) -> dict[str, Any]:
    """Return what a task reports of the run: its status, its validation_status and the outcome in words."""
    return {"status": row.status, "validation_status": row.validation_status, "validation": row.outcome}


def _feature_rows(selection: Selection, macros: Mapping[str, KeyMacro]) -> list[dict[str, Any]]:
    scores = {score.feature_name: score for score in selection.scores}
    return [
        {
            "feature_name": feature,
            "feature_order": order,
            "is_anchor": scores[feature].is_anchor,
            "signal_score": scores[feature].signal_score,
            "macro_id": macros[feature].macro_id,
        }
        for order, feature in enumerate(selection.features, start=1)
    ]
