"""register: the run's results to the control plane, in one transaction that completes the run."""

from datetime import datetime
from typing import Any

from optimizer.artifacts.manifest import Manifest, read_manifest
from optimizer.control_plane import registry
from optimizer.control_plane.registry import RunResults
from optimizer.runs.handle import RunHandle
from optimizer.runs.outputs import output_rows
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
    outputs = output_rows(manifest, output_uri=run.output_uri, store=systems.store)
    return RunResults(**run_results(StagedRun.read(run, systems)), s3_output_path=run.output_uri, outputs=outputs)
