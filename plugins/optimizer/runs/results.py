"""What a run leaves in its row of the control plane, from what its steps staged."""

from collections.abc import Mapping
from typing import Any

from optimizer.control_plane.records import Run
from optimizer.core.landscape.features import Selection
from optimizer.core.records.config_snapshot import KeyMacro
from optimizer.runs import artifacts, staging
from optimizer.runs.handle import RunHandle, read_snapshot
from optimizer.runs.outputs import run_figures
from optimizer.runs.systems import Systems


def run_results(run: RunHandle, systems: Systems) -> dict[str, Any]:
    """Return the fields of RunFigures, from what the run's steps left in its staging prefix."""
    snapshot, stage = read_snapshot(run, systems), validated(run, systems)
    totals, figures = artifacts.TOTALS.read(stage), artifacts.BID_FIGURES.read(stage)
    selection, validation = artifacts.SELECTION.read(stage), artifacts.VALIDATION.read(stage)
    counts = ("total_segments", "segments_count", "segments_in_memcache", "domains_count", "npis_count")
    return {
        "total_bids": totals.usable_bids,
        "total_views": totals.joined_views,
        "total_clicks": totals.joined_clicks,
        **{key: getattr(figures, key) for key in (*counts, "bid_median", "bid_min", "bid_max")},
        "features_used": ",".join(selection.features),
        "validation_status": validation.status,
        "validation_warnings": len(validation.warnings),
        "error_message": "; ".join(validation.failures) or None,
        "features": _feature_rows(selection, snapshot.inputs.macros),
        **snapshot.inputs.key_template(selection.features),
        "metrics": run_figures(stage),
    }


def run_states(row: Run) -> dict[str, Any]:
    """Return what a task reports of the run: its status, its validation_status and the outcome in words."""
    return {"status": row.status, "validation_status": row.validation_status, "validation": row.outcome}


def validated(run: RunHandle, systems: Systems) -> staging.Staging:
    """Return the staging prefix, from which files can only be read as they were validated."""
    stage = run.staging(systems)
    return stage.pinned(artifacts.VALIDATION.read(stage).checksums)


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
