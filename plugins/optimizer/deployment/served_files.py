"""Whether the bidder could load what a run published: looked at before a run gets traffic.

The control plane alone does not know. A split with a run whose files are gone would stand there, and the bidder, which
cannot load it, would go on with what it had.
"""

from collections.abc import Iterable

from sqlalchemy import Engine

from optimizer.artifacts.manifest import read_manifest, read_verified
from optimizer.artifacts.store import ObjectStore
from optimizer.control_plane import runs
from optimizer.control_plane.records import Run
from optimizer.errors import ArtifactError, DeploymentError, RunStateError

SERVED_TYPES = frozenset({"memcache", "domain_multipliers", "npi_multipliers"})
"""Types of the objects that the bidder loads."""


def file_problem(run: Run, *, store: ObjectStore) -> str | None:
    """Return why the bidder could not load the run's files, or None where they are what the run wrote.

    Raises:
        UnavailableError: the object store is silent.
    """
    if not run.s3_output_path:
        return f"run {run.run_id} names no outputs"
    try:
        manifest = read_manifest(store, run.s3_output_path, checksum=run.manifest_sha256)
        for item in manifest.objects:
            if item.output_type in SERVED_TYPES:
                read_verified(store, output_uri=run.s3_output_path, manifest=manifest, name=item.name)
    except ArtifactError as error:
        return f"the files of run {run.run_id} cannot be served: {error}"
    return None


def require_files(run_ids: Iterable[str], *, entity_code: str, engine: Engine, store: ObjectStore) -> None:
    """Pass where the bidder can load the files of all runs; a run that is not there is left to the deployment.

    Raises:
        DeploymentError: names each run that it cannot load, and why.
        UnavailableError: a system is silent.
    """
    problems = [problem for run in _find_runs(run_ids, engine) if (problem := file_problem(run, store=store))]
    if problems:
        raise DeploymentError(
            f"entity {entity_code}: the split cannot be deployed: {'; '.join(problems)}; "
            "restore the objects, or choose another run"
        )


def _find_runs(run_ids: Iterable[str], engine: Engine) -> Iterable[Run]:
    for run_id in run_ids:
        try:
            run = runs.read_run(engine, run_id)
        except RunStateError:  # `deploy` says it together with all else that is wrong with the split
            continue
        if run.status == "completed" and run.validation_status == "passed":
            yield run
