import json
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from optimizer.artifacts.manifest import (
    MANIFEST_NAME,
    Manifest,
    publish,
    read_manifest,
    read_verified,
    stream_verified,
)
from optimizer.artifacts.store import ObjectStore
from optimizer.errors import ArtifactError, RunStateError

HEADER = {
    "run_id": "20260203_150000",
    "run_code": "20260203_150000",
    "entity_code": "drugs_hcp",
    "created_at": datetime(2026, 2, 3, 15, tzinfo=UTC),
    "bidding": {
        "features": ["geo_region_name", "os_code"],
        "macro_combination": "[ADX_GEO_STATE]|[ADX_USER_OS]",
        "macro_format": "adx",
        "fallback_bid_cpm": 12.5,
        "max_bid_cpm": 30.0,
    },
}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, tuple[str, Path, int | None]]:
    (tmp_path / "memcache.csv").write_bytes(b"segment_key,bid\nOhio|ios,1.25\n")
    (tmp_path / "metrics.json").write_bytes(b"{}")
    return {
        "memcache.csv": ("memcache", tmp_path / "memcache.csv", 1),
        "metrics.json": ("metrics", tmp_path / "metrics.json", None),
    }


def write(store: ObjectStore, prefix: str, files: Any, *, still_wanted: Any = lambda: None) -> Manifest:
    return publish(store, output_uri=prefix, files=files, header=HEADER, still_wanted=still_wanted)


def test_the_manifest_lists_every_file_with_size_checksum_and_rows(store: ObjectStore, prefix: str, files: Any):
    manifest = write(store, prefix, files)
    assert manifest == read_manifest(store, prefix)
    listed = {item.name: (item.byte_count, item.sha256, item.row_count) for item in manifest.objects}
    assert listed == {
        name: (path.stat().st_size, sha256(path.read_bytes()).hexdigest(), rows)
        for name, (_, path, rows) in files.items()
    }
    assert json.loads(store.get_bytes(prefix + MANIFEST_NAME))["bidding"]["fallback_bid_cpm"] == 12.5


def test_publishing_twice_leaves_the_same_objects(store: ObjectStore, prefix: str, files: Any):
    def objects() -> list[Any]:
        return [store.describe(prefix + name) for name in (*files, MANIFEST_NAME)]

    write(store, prefix, files)
    first = objects()
    write(store, prefix, files)
    assert objects() == first


def test_a_publish_that_fails_half_way_leaves_no_manifest(store: ObjectStore, prefix: str, files: Any):
    asked = []

    def cancelled_meanwhile() -> None:
        asked.append(True)
        if len(asked) == 2:
            raise RunStateError("run 1 is cancelled")

    with pytest.raises(RunStateError):
        write(store, prefix, files, still_wanted=cancelled_meanwhile)
    assert store.exists(prefix + "memcache.csv")
    with pytest.raises(ArtifactError, match=r"manifest\.json: no such object"):
        read_manifest(store, prefix)


def not_wanted() -> None:
    raise RunStateError("run 1 is completed")


def test_a_late_copy_of_the_task_leaves_a_finished_run_as_it_is(store: ObjectStore, prefix: str, files: Any):
    manifest = write(store, prefix, files)
    assert write(store, prefix, files, still_wanted=not_wanted) == manifest


def test_other_files_never_replace_those_of_a_run_that_is_over(store: ObjectStore, prefix: str, files: Any):
    manifest = write(store, prefix, files)
    files["memcache.csv"][1].write_bytes(b"segment_key,bid\nOhio|ios,99.00\n")
    with pytest.raises(RunStateError):
        write(store, prefix, files, still_wanted=not_wanted)
    assert read_manifest(store, prefix) == manifest
    content = read_verified(store, output_uri=prefix, manifest=manifest, name="memcache.csv")
    assert content == b"segment_key,bid\nOhio|ios,1.25\n"


def test_a_file_that_is_lost_is_noticed_before_anything_is_replaced(
    store: ObjectStore, prefix: str, files: Any, tmp_path: Path
):
    manifest = write(store, prefix, files)
    with pytest.raises(FileNotFoundError):
        write(store, prefix, {**files, "lost.csv": ("lost", tmp_path / "lost.csv", 3)})
    assert read_manifest(store, prefix) == manifest


def test_a_header_that_does_not_belong_to_a_run_leaves_no_manifest(store: ObjectStore, prefix: str, files: Any):
    with pytest.raises(ValueError, match="run_code"):
        publish(store, output_uri=prefix, files=files, header={"run_id": "1"}, still_wanted=lambda: None)
    assert not store.exists(prefix + MANIFEST_NAME)


def test_a_verified_file_is_what_was_written(store: ObjectStore, prefix: str, files: Any):
    manifest = write(store, prefix, files)
    content = read_verified(store, output_uri=prefix, manifest=manifest, name="memcache.csv")
    assert content == b"segment_key,bid\nOhio|ios,1.25\n"


@pytest.mark.parametrize(
    "changed",
    [b"segment_key,bid\nOhio|ios,9.25\n", b"segment_key,bid\n", b""],
    ids=["same size", "shorter", "empty"],
)
def test_a_changed_object_is_refused_with_its_address_and_run(
    store: ObjectStore, prefix: str, files: Any, changed: bytes
):
    manifest = write(store, prefix, files)
    store.put_bytes(prefix + "memcache.csv", changed)
    with pytest.raises(ArtifactError, match=r"memcache\.csv is not what run 20260203_150000 wrote") as raised:
        read_verified(store, output_uri=prefix, manifest=manifest, name="memcache.csv")
    assert prefix in str(raised.value)


def test_a_removed_object_is_refused_with_its_address(store: ObjectStore, prefix: str, files: Any):
    manifest = write(store, prefix, files)
    store.delete(prefix + "memcache.csv")
    with pytest.raises(ArtifactError) as raised:
        read_verified(store, output_uri=prefix, manifest=manifest, name="memcache.csv")
    assert prefix + "memcache.csv" in str(raised.value)


def test_a_file_that_the_manifest_does_not_list_is_refused(store: ObjectStore, prefix: str, files: Any):
    manifest = write(store, prefix, files)
    store.put_bytes(prefix + "stray.csv", b"x")
    with pytest.raises(ArtifactError, match=r"has no stray\.csv; its manifest lists .*memcache\.csv"):
        read_verified(store, output_uri=prefix, manifest=manifest, name="stray.csv")


@pytest.mark.parametrize("content", [b"", b'{"run_id": "2026', b"{}", b"\xff"])
def test_a_manifest_that_cannot_be_read_is_an_artifact_error_with_its_address(
    store: ObjectStore, prefix: str, content: bytes
):
    store.put_bytes(prefix + MANIFEST_NAME, content)
    with pytest.raises(ArtifactError) as raised:
        read_manifest(store, prefix)
    assert prefix + MANIFEST_NAME in str(raised.value)


def test_a_streamed_file_ends_only_if_it_is_what_was_written(
    store: ObjectStore, prefix: str, files: Any, tmp_path: Path
):
    (tmp_path / "memcache.csv").write_bytes(content := b"segment_key,bid\n" + b"Ohio|ios,1.25\n" * 60_000)
    listed = {item.name: item for item in write(store, prefix, files).objects}
    for name in ("memcache.csv", "metrics.json"):
        parts = stream_verified(store, output_uri=prefix, listed=listed[name])
        assert b"".join(parts) == files[name][1].read_bytes()
    store.put_bytes(prefix + "memcache.csv", content[:-3] + b"6\n\n")
    came = []
    with pytest.raises(ArtifactError, match="size or sha256 differ from its manifest"):
        came.extend(stream_verified(store, output_uri=prefix, listed=listed["memcache.csv"]))
    assert len(came) > 1 and len(b"".join(came)) < len(content)
