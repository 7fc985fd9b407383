"""upload, register and promote: from staged results to a live run."""

import logging
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from optimizer.artifacts.manifest import MANIFEST_NAME, Manifest, publish, read_manifest
from optimizer.artifacts.store import split_uri
from optimizer.control_plane import deployments, registry, runs, transitions
from optimizer.control_plane.records import Run
from optimizer.control_plane.registry import RunFigures, RunResults
from optimizer.control_plane.splits import WHOLE_PCT, percents_of
from optimizer.core.keys import SEPARATOR
from optimizer.core.validation import outcome_text
from optimizer.errors import PromotionRefused
from optimizer.pipeline import staging
from optimizer.pipeline.holding import by_hand, reason_of_warnings, reason_to_hold
from optimizer.pipeline.outputs import run_figures, write_outputs
from optimizer.pipeline.run import RunHandle, read_settings, read_snapshot
from optimizer.pipeline.systems import Systems

log = logging.getLogger(__name__)

AUTOMATIC = ("auto", "canary")
"""Values of `promotion` with which a run goes live without a person."""


def upload(run: RunHandle, *, systems: Systems, now: datetime) -> dict[str, Any]:
    """Write the run's files to its output prefix, the manifest last; return their number.

    A dry run ends here instead: its row is cancelled, with its figures and what its validation said.

    Raises:
        ArtifactError: a staged file is not what was validated.
    """
    snapshot, stage = read_snapshot(run, systems), _validated(run, systems)
    settings = read_settings(snapshot)
    if settings.dry_run:
        return _end_dry_run(run, systems, now=now)
    figures = stage.get_json(staging.BID_FIGURES)
    features = stage.get_json(staging.SELECTION)["features"]
    bidding = {
        "features": features,
        **_key_template(features, snapshot),
        "fallback_bid_cpm": figures["fallback_bid_cpm"],
        "max_bid_cpm": settings.max_bid_cpm,
    }
    with TemporaryDirectory(prefix="optimizer-") as folder:
        started_at = runs.read_run(systems.engine, run.run_id).started_at
        files = write_outputs(
            Path(folder), run=run, stage=stage, snapshot=snapshot, settings=settings, started_at=started_at
        )
        header = {
            "run_id": run.run_id,
            "run_code": run.run_code,
            "entity_code": run.entity_code,
            "created_at": started_at,
            "bidding": bidding,
        }
        manifest = publish(
            systems.store,
            output_uri=run.output_uri,
            files={name: (file.output_type, file.path, file.row_count) for name, file in files.items()},
            header=header,
            still_wanted=lambda: transitions.require_running(systems.engine, run.run_id, now=now),
        )
    return {"objects": len(manifest.objects) + 1, "output_uri": run.output_uri}


def register(run: RunHandle, *, systems: Systems, now: datetime) -> dict[str, Any]:
    """Write the run's results to the control plane in one transaction, which completes the run."""
    manifest = read_manifest(systems.store, run.output_uri)
    results = _results(run, systems, manifest)
    registered = registry.register_results(systems.engine, run.run_id, results=results, now=now)
    return _states(registered)


def promote(
    run: RunHandle, *, systems: Systems, deployed_by: str, now: datetime, approved_by: str | None = None
) -> dict[str, Any]:
    """Deploy the run as its `promotion` says; return whether, and on which share of the traffic, or why not.

    Args:
        deployed_by: who deploys where no person does.
        approved_by: the person who confirmed the run, or None. A person's word is checked again as everything else is:
            somebody may have deployed another run while the question stood.
    """
    row = runs.read_run(systems.engine, run.run_id)
    settings = read_settings(dict(row.config_snapshot or {}))
    if reason := reason_to_hold(row):
        return {"is_promoted": False, "reason": reason}
    if settings.promotion in AUTOMATIC and (reason := reason_of_warnings(row, systems=systems)):
        log.warning("%s", reason)
        return {"is_promoted": False, "reason": reason}
    if settings.promotion == "none" or (settings.promotion == "approval" and approved_by is None):
        return {"is_promoted": False, "reason": f"promotion={settings.promotion}: {by_hand(row)}"}
    try:
        if settings.promotion == "canary":
            active = deployments.start_canary(
                systems.engine,
                entity_code=run.entity_code,
                run_id=run.run_id,
                canary_pct=settings.canary_traffic_pct,
                now=now,
            )
        else:
            active = deployments.deploy(
                systems.engine,
                entity_code=run.entity_code,
                split={run.run_id: WHOLE_PCT},
                deployed_by=deployed_by if approved_by is None else f"{approved_by} (approved in Airflow)",
                now=now,
                automatic=True,
            )
    except PromotionRefused as refused:
        return {"is_promoted": False, "reason": str(refused)}
    said = "" if approved_by is None else f", approved by {approved_by}"
    return {"is_promoted": True, "reason": f"promotion={settings.promotion}{said}", "split": percents_of(active)}


def _end_dry_run(run: RunHandle, systems: Systems, *, now: datetime) -> dict[str, Any]:
    figures = RunFigures.model_validate(_figures(run, systems))
    noted = f": {figures.error_message}" if figures.error_message else ""
    outcome = outcome_text(figures.validation_status, figures.validation_warnings)
    message = f"dry run: validation {outcome}{noted}; nothing was uploaded or deployed"
    figures = figures.model_copy(update={"error_message": message})
    row = registry.register_dry_run(systems.engine, run.run_id, figures=figures, now=now)
    return _states(row)


def _states(row: Run) -> dict[str, Any]:
    return {"status": row.status, "validation_status": row.validation_status, "validation": row.outcome}


def _validated(run: RunHandle, systems: Systems) -> staging.Staging:
    """The staging prefix, from which files can only be read as they were validated."""
    stage = run.staging(systems)
    return stage.pinned(stage.get_json(staging.VALIDATION)["checksums"])


def _results(run: RunHandle, systems: Systems, manifest: Manifest) -> RunResults:
    outputs = _output_rows(run, systems, manifest)
    return RunResults(**_figures(run, systems), s3_output_path=run.output_uri, outputs=outputs)


def _figures(run: RunHandle, systems: Systems) -> dict[str, Any]:
    """The fields of RunFigures, from what the run's steps left in its staging prefix."""
    snapshot, stage = read_snapshot(run, systems), _validated(run, systems)
    totals, figures = stage.get_json(staging.TOTALS), stage.get_json(staging.BID_FIGURES)
    selection, validation = stage.get_json(staging.SELECTION), stage.get_json(staging.VALIDATION)
    counts = ("total_segments", "segments_count", "segments_in_memcache", "domains_count", "npis_count")
    return {
        "total_bids": totals["usable_bids"],
        "total_views": totals["joined_views"],
        "total_clicks": totals["joined_clicks"],
        **{key: figures[key] for key in (*counts, "bid_median", "bid_min", "bid_max")},
        "features_used": ",".join(selection["features"]),
        "validation_status": "passed" if validation["is_passed"] else "failed",
        "validation_warnings": len(validation["warnings"]),
        "error_message": "; ".join(validation["failures"]) or None,
        "features": _feature_rows(selection, snapshot),
        **_key_template(selection["features"], snapshot),
        "metrics": run_figures(stage),
    }


def _feature_rows(selection: dict[str, Any], snapshot: dict[str, Any]) -> list[dict[str, Any]]:
    macros = {macro["feature_name"]: macro["macro_id"] for macro in snapshot["inputs"]["feature_macros"]}
    scores = {score["feature_name"]: score for score in selection["scores"]}
    return [
        {
            "feature_name": feature,
            "feature_order": order,
            "is_anchor": scores[feature]["is_anchor"],
            "signal_score": scores[feature]["signal_score"],
            "macro_id": macros[feature],
        }
        for order, feature in enumerate(selection["features"], start=1)
    ]


def _output_rows(run: RunHandle, systems: Systems, manifest: Manifest) -> list[dict[str, Any]]:
    bucket, prefix = split_uri(run.output_uri)
    rows = [
        {
            "output_type": item.output_type,
            "s3_bucket": bucket,
            "s3_key": prefix + item.name,
            "row_count": item.row_count,
            "byte_count": item.byte_count,
            "sha256": item.sha256,
        }
        for item in manifest.objects
    ]
    stored = systems.store.describe(run.output_uri + MANIFEST_NAME)
    rows.append(
        {
            "output_type": "manifest",
            "s3_bucket": stored.bucket,
            "s3_key": stored.key,
            "row_count": len(manifest.objects),
            "byte_count": stored.byte_count,
            "sha256": stored.sha256,
        }
    )
    return rows


def _key_template(features: list[str], snapshot: dict[str, Any]) -> dict[str, str]:
    macros = {macro["feature_name"]: macro for macro in snapshot["inputs"]["feature_macros"]}
    return {
        "macro_combination": SEPARATOR.join(macros[feature]["macro_template"] for feature in features),
        "macro_format": macros[features[0]]["macro_format"],
    }
