"""Each entity's snapshot in the object store: written after every change of its split, and repaired where it is not."""

import logging
from collections.abc import Iterable
from datetime import datetime
from hashlib import sha256

from sqlalchemy import Engine

from optimizer.artifacts.manifest import MANIFEST_NAME, check_manifest, parse_manifest
from optimizer.artifacts.serving_snapshot import (
    ServingSnapshot,
    SnapshotRun,
    read_snapshot,
    snapshot_uri,
    write_snapshot,
)
from optimizer.artifacts.store import ObjectStore
from optimizer.control_plane import entities
from optimizer.control_plane.serving import DeployedRun, with_traffic
from optimizer.control_plane.serving_snapshots import (
    PlannedSnapshot,
    confirm_snapshot,
    plan_snapshot,
    read_written,
)
from optimizer.errors import AccessDenied, ArtifactError, OptimizerError, PermanentError, UnavailableError
from optimizer.names import PENDING_RUNS_DAG

ATTEMPTS = 5
"""How often a snapshot is written again because another writer was at it at the same time."""

log = logging.getLogger(__name__)

DOMAIN_FEATURE, NPI_FEATURE = "domain", "npi"


def update_snapshot(
    entity_code: str, *, engine: Engine, store: ObjectStore, now: datetime, again: bool = False
) -> int | None:
    """Write the entity's snapshot where it is not what is live; return its number, or None where nothing was written.

    Args:
        again: write it even where the last one says the same.

    Raises:
        DeploymentError, ArtifactError: what is live cannot be served; the snapshot stays as it is.
        UnavailableError: a system is silent, or other writers came in between each time.
    """
    planned = plan_snapshot(engine, entity_code, again=again)
    for _ in range(ATTEMPTS):
        if planned is None:
            return None
        uri = snapshot_uri(planned.s3_base_path)
        # Readers ignore a smaller number, even where tables were restored from a backup.
        if (present := _sequence_at(uri, store)) < planned.sequence:
            write_snapshot(store, uri, _snapshot(planned, store=store, now=now))
            if confirm_snapshot(engine, planned, now=now):
                return planned.sequence
        planned = plan_snapshot(engine, entity_code, again=True, after=present)
    raise UnavailableError(f"entity {entity_code}: others write its snapshot at the same time; try again")


def update_after_change(entity_code: str, *, engine: Engine, store: ObjectStore, now: datetime) -> str | None:
    """Write the snapshot after the split was changed; return why it could not be written, or None.

    The change of the split is kept even if the snapshot cannot be written.
    """
    try:
        update_snapshot(entity_code, engine=engine, store=store, now=now)
    except OptimizerError as error:
        return late_sentence(entity_code, str(error))
    return None


def update_late(entity_codes: Iterable[str], *, engine: Engine, store: ObjectStore, now: datetime) -> list[str]:
    """Write the snapshots of these entities; return the codes of those that were written.

    An entity that cannot be served is logged, and keeps its snapshot.

    Raises:
        AccessDenied, UnavailableError: a system denies access or is silent; the entities after it are not looked at.
    """
    written = []
    for entity_code in entity_codes:
        try:
            if update_snapshot(entity_code, engine=engine, store=store, now=now) is not None:
                written.append(entity_code)
        except AccessDenied:
            raise
        except PermanentError as error:
            log.warning("the snapshot of %s stays as it is: %s", entity_code, error)
    return written


def late_sentence(entity_code: str, why: str) -> str:
    """Return that the change is made and its snapshot is not written yet, and what happens next."""
    return (
        f"entity {entity_code}: the change is made, but the snapshot for bidders without a database is not written "
        f"yet ({why}); the DAG `{PENDING_RUNS_DAG}` writes it within a minute"
    )


def repair_object(entity_code: str, *, engine: Engine, store: ObjectStore, now: datetime) -> int | None:
    """Write the snapshot again where the object is not the one that was written last; return its number, or None.

    Raises:
        DeploymentError, ArtifactError, UnavailableError: as `update_snapshot`.
    """
    written = read_written(engine, entity_code)
    if written is None:
        return update_snapshot(entity_code, engine=engine, store=store, now=now)
    uri = snapshot_uri(entities.read_definition(engine, entity_code).entity.s3_base_path)
    is_there = _sequence_at(uri, store) == written.sequence
    return update_snapshot(entity_code, engine=engine, store=store, now=now, again=not is_there)


def _sequence_at(uri: str, store: ObjectStore) -> int:
    """The number of the snapshot at the address, 0 where there is none that can be read."""
    try:
        return read_snapshot(store, uri).sequence
    except AccessDenied:
        raise
    except ArtifactError:
        return 0


def _snapshot(planned: PlannedSnapshot, *, store: ObjectStore, now: datetime) -> ServingSnapshot:
    served, runs = planned.served, with_traffic(planned.served) if planned.is_active else []
    return ServingSnapshot(
        sequence=planned.sequence,
        entity_code=served.entity_code,
        written_at=now,
        is_active=planned.is_active,
        domain_macro=served.macros.get(DOMAIN_FEATURE),
        npi_macro=served.macros.get(NPI_FEATURE),
        runs=tuple(_run(run, entity_code=served.entity_code, store=store) for run in runs),
    )


def _run(run: DeployedRun, *, entity_code: str, store: ObjectStore) -> SnapshotRun:
    output_uri = run.s3_output_path or ""
    content = store.get_bytes(output_uri + MANIFEST_NAME)
    key = {part.feature_name: part.macro_template for part in run.key_parts}
    manifest = parse_manifest(content, output_uri=output_uri, checksum=run.manifest_sha256)
    check_manifest(manifest, run_id=run.run_id, entity_code=entity_code, key=key, output_uri=output_uri)
    return SnapshotRun(
        run_id=run.run_id,
        traffic_pct=run.traffic_pct,
        manifest_uri=output_uri + MANIFEST_NAME,
        manifest_sha256=sha256(content).hexdigest(),
        macros=tuple(key.values()),
    )
