"""What the object store has of the entities that the control plane does not know, as after a restore from a backup."""

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine

from optimizer.artifacts.serving_snapshot import read_snapshot, snapshot_uri
from optimizer.artifacts.store import ObjectStore
from optimizer.control_plane import consistency, entities, serving_snapshots
from optimizer.control_plane.records import Entity
from optimizer.errors import AccessDenied, ArtifactError, UnavailableError
from optimizer.lifecycle.findings import DoctorFinding
from optimizer.names import MONITOR_DAG
from optimizer.runs.handle import RUNS, folder_uri

LOOKUPS_AT_ONCE = 10
"""As many connections as the object store's client keeps."""


def compare_objects(engine: Engine, *, store: ObjectStore) -> list[DoctorFinding]:
    """Return each entity's runs that have objects and no row, and its snapshot where it is not the one written last.

    Takes two requests for each entity, and one more for each further 1,000 runs. Changes nothing.

    Raises:
        ConfigError: the control plane cannot be read at all; UnavailableError: it is silent.
    """
    good, _ = entities.read_definitions(engine)
    known = consistency.list_run_codes(engine)
    written, late = serving_snapshots.list_written(engine), set(serving_snapshots.list_late(engine))
    with ThreadPoolExecutor(LOOKUPS_AT_ONCE) as pool:
        asked = []
        for entity in (definition.entity for definition in good):
            code = entity.entity_code
            asked.append(pool.submit(_unknown_runs, entity, store, known=known.get(code, set())))
            if code not in late:  # else it is being written, or a finding already
                asked.append(pool.submit(_foreign_snapshot, entity, store, written=written.get(code)))
        try:
            return [finding for answer in asked if (finding := answer.result()) is not None]
        except (AccessDenied, UnavailableError) as error:
            pool.shutdown(wait=False, cancel_futures=True)
            todo = "let it answer this login, and ask again: runs without a row and snapshots were not looked up"
            return [DoctorFinding("object store", str(error), todo)]


def _unknown_runs(entity: Entity, store: ObjectStore, *, known: set[str]) -> DoctorFinding | None:
    uri = folder_uri(entity.s3_base_path, RUNS)
    try:
        unknown = [run_code for run_code in store.list_folders(uri) if run_code not in known]
    except AccessDenied:
        raise
    except ArtifactError as error:
        todo = "create the bucket, or correct s3_base_path of the entity"
        return DoctorFinding(f"entity {entity.entity_code}", f"its objects cannot be listed: {error}", todo)
    if not unknown:
        return None
    number = f"{len(unknown)} run{'s' if len(unknown) > 1 else ''}"
    problem = f"{number} below {uri} without a row in opt_runs, the last by name: {unknown[-1]}"
    todo = "if a backup was restored, they are newer: start a new run of the entity. Bidders do not read them"
    return DoctorFinding(f"entity {entity.entity_code}", problem, todo)


def _foreign_snapshot(entity: Entity, store: ObjectStore, *, written: int | None) -> DoctorFinding | None:
    """Args: written: the number of the last snapshot by the control plane; None: it wrote none."""
    try:
        found = read_snapshot(store, snapshot_uri(entity.s3_base_path)).sequence
    except AccessDenied:
        raise
    except ArtifactError as error:
        if written is None:
            return None
        problem = f"its snapshot cannot be read: {error}"
    else:
        if found == written:
            return None
        own = "none" if written is None else f"number {written}"
        problem = (
            f"its snapshot in the object store is number {found}, and the control plane wrote {own}: bidders that read "
            "it may serve another split"
        )
    todo = f"trigger the DAG `{MONITOR_DAG}`, which writes it again; an entity without a live run needs a deployment"
    return DoctorFinding(f"entity {entity.entity_code}", problem, todo)
