import re
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from servers.embedded import closed_port

from lab.stack import LocalStack
from lab.stack.clients import connect_objects
from optimizer.artifacts.store import PART_BYTES, ObjectStore, split_uri
from optimizer.errors import AccessDenied, ArtifactError, UnavailableError

CALLS = {
    "put_file": lambda store, uri, path: store.put_file(uri, path),
    "put_bytes": lambda store, uri, path: store.put_bytes(uri, b"x"),
    "get_file": lambda store, uri, path: store.get_file(uri, path),
    "get_bytes": lambda store, uri, path: store.get_bytes(uri),
    "stream": lambda store, uri, path: store.stream(uri),
    "list_keys": lambda store, uri, path: store.list_keys(uri),
    "exists": lambda store, uri, path: store.exists(uri),
    "describe": lambda store, uri, path: store.describe(uri),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.csv"
    path.write_bytes(b"segment_key,bid\nNew%20York|android,1.25\n")
    return path


def test_a_file_comes_back_byte_by_byte_with_its_checksum(store: ObjectStore, prefix: str, file: Path, tmp_path: Path):
    stored = store.put_file(prefix + "runs/a.csv", file)
    copy = store.get_file(prefix + "runs/a.csv", tmp_path / "copy.csv")
    assert copy.read_bytes() == file.read_bytes() == store.get_bytes(prefix + "runs/a.csv")
    assert (stored.byte_count, stored.sha256) == (len(file.read_bytes()), sha256(file.read_bytes()).hexdigest())
    assert f"s3://{stored.bucket}/{stored.key}" == prefix + "runs/a.csv"


def test_a_file_of_several_parts_comes_back_whole(store: ObjectStore, prefix: str, tmp_path: Path):
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(range(256)) * 40_000)
    stored = store.put_file(prefix + "large.bin", large)
    assert store.describe(prefix + "large.bin") == stored
    parts = list(store.stream(prefix + "large.bin"))
    assert b"".join(parts) == large.read_bytes()
    assert len(parts) > 30 and max(map(len, parts)) <= PART_BYTES
    assert stored.sha256 == sha256(large.read_bytes()).hexdigest()


def test_writing_again_replaces_the_object(store: ObjectStore, prefix: str):
    store.put_bytes(prefix + "a.json", b"longer content")
    assert store.put_bytes(prefix + "a.json", b"new") == store.describe(prefix + "a.json")
    assert store.get_bytes(prefix + "a.json") == b"new"


def test_listing_returns_the_keys_below_the_prefix_in_order(store: ObjectStore, prefix: str):
    for name in ("b.csv", "a.csv", "deeper/c.csv"):
        store.put_bytes(prefix + name, b"x")
    _, key = split_uri(prefix)
    assert store.list_keys(prefix) == [key + name for name in ("a.csv", "b.csv", "deeper/c.csv")]
    assert store.list_keys(prefix + "nothing/") == []


def test_an_object_exists_until_it_is_removed_and_removing_it_again_is_not_an_error(store: ObjectStore, prefix: str):
    store.put_bytes(prefix + "a.csv.old", b"x")
    assert not store.exists(prefix + "a.csv")
    store.put_bytes(prefix + "a.csv", b"x")
    assert store.exists(prefix + "a.csv")
    for _ in range(2):
        store.delete(prefix + "a.csv")
        assert not store.exists(prefix + "a.csv")
    assert store.exists(prefix + "a.csv.old")


@pytest.mark.parametrize("name", ["get_file", "get_bytes", "stream", "describe"])
def test_a_missing_object_is_an_artifact_error_with_its_address(store: ObjectStore, prefix: str, file: Path, name: str):
    with pytest.raises(ArtifactError) as raised:
        CALLS[name](store, prefix + "missing.csv", file)
    assert prefix + "missing.csv" in str(raised.value)


@pytest.mark.parametrize("name", [name for name in CALLS if name != "exists"])
def test_a_missing_bucket_is_an_artifact_error_with_the_address(store: ObjectStore, file: Path, name: str):
    with pytest.raises(ArtifactError, match=r"s3://no-such-bucket/a\.csv.*no such object or bucket"):
        CALLS[name](store, "s3://no-such-bucket/a.csv", file)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("wrong", [{"objects_secret_key": "wrong"}, {"objects_access_key": "WRONG"}], ids=str)
def test_wrong_keys_are_denied_access_with_the_code_and_what_to_check(
    systems: LocalStack, prefix: str, file: Path, name: str, wrong: dict[str, str]
):
    client = connect_objects(systems.settings.model_copy(update=wrong))
    with pytest.raises(AccessDenied) as raised:
        CALLS[name](ObjectStore(client), prefix + "a.csv", file)
    client.close()
    message = str(raised.value)
    assert prefix + "a.csv: the" in message and client.meta.endpoint_url in message
    assert re.search(r"denies access \(\w+(: .+)?\); check its credentials and their rights$", message)
    assert "connection" not in message, "the bidder and the command line have no connection of Airflow's"


@pytest.fixture
def silent_store(systems: LocalStack) -> Iterator[ObjectStore]:
    settings = systems.settings.model_copy(update={"objects_port": closed_port()})
    client = connect_objects(settings, timeout_s=2, attempts=1)
    yield ObjectStore(client)
    client.close()


@pytest.mark.parametrize("name", CALLS)
def test_a_silent_object_store_is_unavailable_soon(silent_store: ObjectStore, prefix: str, file: Path, name: str):
    begun = time.monotonic()
    with pytest.raises(UnavailableError, match="did not answer") as raised:
        CALLS[name](silent_store, prefix + "a.csv", file)
    assert prefix + "a.csv" in str(raised.value)
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize("address", ["", "s3:///key", "/a/path", "https://bucket/key", "S3://bucket/key"])
def test_an_invalid_s3_address_is_refused(address: str):
    with pytest.raises(ArtifactError, match=r"is not an s3:// address; correct s3_base_path"):
        split_uri(address)
