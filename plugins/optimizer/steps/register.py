"""register: the run's results to the control plane, in one transaction that completes the run."""

from datetime import datetime
from typing import Any

from optimizer.artifacts.manifest import MANIFEST_NAME, Manifest, read_manifest
from optimizer.artifacts.store import split_uri
from optimizer.control_plane import registry
from optimizer.control_plane.registry import RunResults
from optimizer.runs.handle import RunHandle
from optimizer.runs.results import run_results, run_states
from optimizer.runs.staged_run import StagedRun
from optimizer.runs.systems import Systems


def register(run: RunHandle, *, systems: Systems, now: datetime) -> dict[str, Any]:
    """Write the run's results to the control plane in one transaction, which completes the run."""
    manifest = read_manifest(systems.store, run.output_uri)
    results = _results(run, systems, manifest)
    registered = registry.register_results(systems.engine, run.run_id, results=results, now=now)
    return run_states(registered)


def _results(run: RunHandle, systems: Systems, manifest: Manifest) -> RunResults:
    outputs = _output_rows(run, systems, manifest)
    return RunResults(**run_results(StagedRun.read(run, systems)), s3_output_path=run.output_uri, outputs=outputs)


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
