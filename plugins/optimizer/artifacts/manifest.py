"""The manifest: every object of a run with its size and checksum, written last. A prefix without one is not a run."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from optimizer.artifacts.store import ObjectReader, ObjectStore
from optimizer.errors import ArtifactError

MANIFEST_NAME = "manifest.json"

KEY_SEPARATOR = "|"
"""Between the macros of a key."""


class ManifestObject(BaseModel):
    """One file of the run; `name` is relative to the manifest."""

    model_config = ConfigDict(frozen=True)

    name: str
    output_type: str
    byte_count: int
    sha256: str
    row_count: int | None = None


class BiddingRule(BaseModel):
    """What a bidder needs in addition to the files: how to build a key, and the bid on an unknown segment.

    auction_type: which auctions the bids are for; None in manifests of earlier releases.
    """

    model_config = ConfigDict(frozen=True)

    features: tuple[str, ...]
    macro_combination: str
    macro_format: str
    fallback_bid_cpm: float
    max_bid_cpm: float
    auction_type: Literal["first_price", "second_price"] | None = None


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
        still_wanted: raises where the run is not running anymore; asked before anything is replaced, and before the
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
    content = json.dumps(manifest.model_dump(mode="json"), indent=2).encode()
    store.check(store.put_bytes(output_uri + MANIFEST_NAME, content))
    return manifest


def read_manifest(store: ObjectReader, output_uri: str, *, checksum: str | None = None) -> Manifest:
    """Return the manifest of the run below the address.

    Args:
        checksum: the SHA-256 that opt_runs.manifest_sha256 has of it, in hexadecimal; None: it is not checked.

    Raises:
        ArtifactError: there is none, so the prefix is not a run; or it cannot be read, or is not the one of the run.
    """
    return parse_manifest(store.get_bytes(output_uri + MANIFEST_NAME), output_uri=output_uri, checksum=checksum)


def parse_manifest(content: bytes, *, output_uri: str, checksum: str | None = None) -> Manifest:
    """Return the manifest with this content, which lies below the address.

    Args:
        checksum: as in `read_manifest`.

    Raises:
        ArtifactError: it cannot be read, or is not the one of the run.
    """
    if checksum is not None and sha256(content).hexdigest() != checksum:
        raise ArtifactError(
            f"{output_uri}{MANIFEST_NAME} is not what the run wrote: its sha256 differs from opt_runs.manifest_sha256; "
            "restore the object, or run the entity again"
        )
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        raise ArtifactError(
            f"{output_uri}{MANIFEST_NAME} is not a manifest ({error.errors()[0]['msg']}); run the entity again"
        ) from error


def check_manifest(
    manifest: Manifest, *, run_id: str, entity_code: str, key: Mapping[str, str], output_uri: str
) -> None:
    """Pass where the manifest is the one of this run, and its key the one of the control plane.

    Args:
        key: {feature: macro} in the order of the key.
        output_uri: where the manifest lies, for messages.

    Raises:
        ArtifactError: it is of another run, or has another key.
    """
    if (manifest.run_id, manifest.entity_code) != (run_id, entity_code):
        raise ArtifactError(
            f"{output_uri} holds run {manifest.run_id} of {manifest.entity_code}, not {run_id} of {entity_code}; "
            "correct opt_runs.s3_output_path"
        )
    rule, template = manifest.bidding, KEY_SEPARATOR.join(key.values())
    if tuple(key) != rule.features or template != rule.macro_combination:
        raise ArtifactError(
            f"run {run_id}: its key is {rule.macro_combination} by its manifest and {template or 'nothing'} by "
            "opt_run_features and opt_feature_macros; restore the macro, or run the entity again"
        )


def read_verified(store: ObjectReader, *, output_uri: str, manifest: Manifest, name: str) -> bytes:
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


def stream_verified(store: ObjectStore, *, output_uri: str, listed: ManifestObject) -> Iterator[bytes]:
    """Return a file of the run in parts; the last part comes only if size and checksum are those of the manifest.

    Raises:
        ArtifactError: the object is missing, or at the end: it is not what was written.
    """
    return _checked(store.stream(output_uri + listed.name), listed, where=output_uri + listed.name)


def _checked(parts: Iterator[bytes], listed: ManifestObject, *, where: str) -> Iterator[bytes]:
    digest, length, held = sha256(), 0, b""
    for part in parts:
        if held:
            yield held
        held = part
        digest.update(part)
        length += len(part)
    if length != listed.byte_count or digest.hexdigest() != listed.sha256:
        raise ArtifactError(f"{where} is not what the run wrote: size or sha256 differ from its manifest")
    yield held


def _checksums(manifest: Manifest) -> dict[str, str]:
    return {item.name: item.sha256 for item in manifest.objects}


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
