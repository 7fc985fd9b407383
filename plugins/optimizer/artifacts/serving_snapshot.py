"""The snapshot: what of an entity is live, in one object, so that a bidder in any language needs no database.

docs/bidder-format.md specifies it for readers. It is replaced as a whole, after the manifests that it names.
"""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, ValidationError

from optimizer.artifacts.store import ObjectReader, ObjectWriter
from optimizer.errors import ArtifactError

SNAPSHOT_NAME = "snapshot.json"
FORMAT = 1
"""Rises where a reader of the format before would price wrongly."""


class SnapshotRun(BaseModel):
    """A live run: its share of the traffic, its manifest, and the macros of its key in order."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    traffic_pct: int
    manifest_uri: str
    manifest_sha256: str
    macros: tuple[str, ...]


class ServingSnapshot(BaseModel):
    """The contents of snapshot.json.

    Attributes:
        sequence: rises with every snapshot of the entity; numbers may be left out.
        is_active: false where bidding for the entity is stopped; then there are no runs.
        domain_macro, npi_macro: where a request carries domain and NPI that it does not name; None: nowhere.
        runs: in the order of their run_id.
    """

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    sequence: int
    entity_code: str
    written_at: datetime
    is_active: bool
    domain_macro: str | None
    npi_macro: str | None
    runs: tuple[SnapshotRun, ...]


def snapshot_uri(s3_base_path: str) -> str:
    """Return the address of the snapshot of the entity with this prefix."""
    return f"{s3_base_path.rstrip('/')}/{SNAPSHOT_NAME}"


def write_snapshot(store: ObjectWriter, uri: str, snapshot: ServingSnapshot) -> None:
    """Replace the object at the address; readers find the old one or the new one, never a part.

    Raises:
        AccessDenied, UnavailableError: the store denies the write, or does not answer.
    """
    store.put_bytes(uri, snapshot.model_dump_json(indent=2).encode())


def read_snapshot(store: ObjectReader, uri: str) -> ServingSnapshot:
    """Return the snapshot at the address.

    Raises:
        ArtifactError: there is none, or it cannot be read.
        UnavailableError: the store does not answer.
    """
    try:
        return ServingSnapshot.model_validate_json(store.get_bytes(uri))
    except ValidationError as error:
        raise ArtifactError(f"{uri} is not a snapshot ({error.errors()[0]['msg']}); deploy the entity again") from error
