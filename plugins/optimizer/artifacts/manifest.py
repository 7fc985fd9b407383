"""The manifest: every object of a run with its size and checksum, written last. A prefix without one is not a run."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from hashlib import file_digest, sha256
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from optimizer.artifacts.store import ObjectStore
from optimizer.errors import ArtifactError

MANIFEST_NAME = "manifest.json"


class ManifestObject(BaseModel):
    """One file of the run; `name` is relative to the manifest."""

    model_config = ConfigDict(frozen=True)

    name: str
    output_type: str
    byte_count: int
    sha256: str
    row_count: int | None = None


class BiddingRule(BaseModel):
    """What a bidder needs in addition to the files: how to build a key, and the bid on an unknown segment."""

    model_config = ConfigDict(frozen=True)

    features: tuple[str, ...]
    macro_combination: str
    macro_format: str
    fallback_bid_cpm: float
    max_bid_cpm: float


class Manifest(BaseModel):
    """The contents of manifest.json."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    run_code: str
    entity_code: str
    created_at: datetime
    bidding: BiddingRule
    objects: tuple[ManifestObject, ...]


def publish(
    store: ObjectStore,
    *,
    output_uri: str,
    files: Mapping[str, tuple[str, Path, int | None]],
    header: Mapping[str, object],
    still_wanted: Callable[[], object],
) -> Manifest:
    """Write the files below `output_uri`, then the manifest, and return it.

    Where the manifest lists these very files already nothing is written: a late copy of the task leaves the run alone.
    A manifest of other files is removed first, so that it never vouches for files that are being replaced.

    Args:
        files: {name: (output_type, local path, number of rows or None)}.
        header: the manifest's fields other than `objects`.
        still_wanted: raises where the run is not running any more; asked before anything is replaced, and before the
            manifest is written.
    """
    earlier = read_manifest(store, output_uri) if store.exists(output_uri + MANIFEST_NAME) else None
    if earlier is not None and _checksums(earlier) == {name: _checksum(path) for name, (_, path, _) in files.items()}:
        return earlier
    still_wanted()
    store.delete(output_uri + MANIFEST_NAME)
    objects = []
    for name, (output_type, path, rows) in files.items():
        stored = store.put_file(output_uri + name, path)
        objects.append(
            ManifestObject(
                name=name, output_type=output_type, byte_count=stored.byte_count, sha256=stored.sha256, row_count=rows
            )
        )
    manifest = Manifest.model_validate({**header, "objects": objects})
    still_wanted()
    store.put_bytes(output_uri + MANIFEST_NAME, json.dumps(manifest.model_dump(mode="json"), indent=2).encode())
    return manifest


def read_manifest(store: ObjectStore, output_uri: str) -> Manifest:
    """Return the manifest of the run below the address.

    Raises:
        ArtifactError: there is none, so the prefix is not a run; or it cannot be read.
    """
    content = store.get_bytes(output_uri + MANIFEST_NAME)
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        raise ArtifactError(
            f"{output_uri}{MANIFEST_NAME} is not a manifest ({error.errors()[0]['msg']}); run the entity again"
        ) from error


def read_verified(store: ObjectStore, *, output_uri: str, manifest: Manifest, name: str) -> bytes:
    """Return a file of the run, its size and checksum verified.

    Raises:
        ArtifactError: the manifest does not list it, or the object is not what was written.
    """
    listed = next((item for item in manifest.objects if item.name == name), None)
    if listed is None:
        raise ArtifactError(
            f"run {manifest.run_id} has no {name}; its manifest lists {[o.name for o in manifest.objects]}"
        )
    content = store.get_bytes(output_uri + name)
    if len(content) != listed.byte_count or sha256(content).hexdigest() != listed.sha256:
        raise ArtifactError(
            f"{output_uri}{name} is not what run {manifest.run_id} wrote: size or sha256 differ from its manifest"
        )
    return content


def _checksums(manifest: Manifest) -> dict[str, str]:
    return {item.name: item.sha256 for item in manifest.objects}


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
