"""register: the run's results to the control plane, in one transaction that completes the run."""

from datetime import datetime
from typing import Any

from optimizer.artifacts.manifest import read_manifest
from optimizer.control_plane import registry
from optimizer.runs.handle import RunHandle
from optimizer.runs.results import published_results, run_states
from optimizer.runs.staged_run import StagedRun
from optimizer.runs.systems import Systems


def register(run: RunHandle, *, systems: Systems, now: datetime) -> dict[str, Any]:
    """Write the run's results to the control plane in one transaction, which completes the run."""
    manifest = read_manifest(systems.store, run.output_uri)
    results = published_results(StagedRun.read(run, systems), manifest, store=systems.store)
    registered = registry.register_results(systems.engine, run.run_id, results=results, now=now)
    return run_states(registered)
