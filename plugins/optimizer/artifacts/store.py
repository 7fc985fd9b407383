"""Objects on S3 under s3:// addresses, through any boto3 S3 client."""

import hashlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from botocore.client import BaseClient
from botocore.exceptions import BotoCoreError, ClientError

from optimizer.artifacts.encryption import BUCKETS_DEFAULT, Encryption
from optimizer.artifacts.failures import explain
from optimizer.errors import ArtifactError, UnavailableError

PART_BYTES = 256 * 1024
"""An object is streamed in parts of this size."""

_BEFORE_PARSE = "before-parse.s3"
_FIRST_ERROR_STATUS = 300


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object that was written: where, how long, and its SHA-256 in hexadecimal."""

    bucket: str
    key: str
    byte_count: int
    sha256: str


def split_uri(uri: str) -> tuple[str, str]:
    """Return bucket and key of an s3:// address.

    Raises:
        ArtifactError: it is not an s3:// address.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise ArtifactError(f"{uri!r} is not an s3:// address; correct s3_base_path of the entity")
    return bucket, key


class ObjectReader(Protocol):
    """What a run's files are read from: an `ObjectStore`, or a copy of some of its objects."""

    def get_bytes(self, uri: str) -> bytes:
        """Return the object.

        Raises:
            ArtifactError: the object does not exist.
            UnavailableError: it cannot be read now.
        """


class ObjectWriter(Protocol):
    """What single objects are written to: an `ObjectStore`, or a folder."""

    def put_bytes(self, uri: str, content: bytes) -> StoredObject:
        """Write the content to the address, replacing what is there.

        Raises:
            UnavailableError: it cannot be written now.
        """


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """Reads and writes whole objects. `client` is a boto3 S3 client.

    Raises:
        AccessDenied: the login is wrong, or may not do so; UnavailableError: the store does not answer, is full, or
            gives back something else than was written.
    """

    client: Any
    encryption: Encryption = BUCKETS_DEFAULT

    def __post_init__(self) -> None:
        if isinstance(self.client, BaseClient):  # the bidder's test vectors are written to a folder
            self.client.meta.events.register(_BEFORE_PARSE, _drop_unread_error, unique_id="optimizer-unread-error")

    def put_file(self, uri: str, path: Path) -> StoredObject:
        """Write the file to the address, replacing what is there, and read it back."""
        bucket, key = split_uri(uri)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            with self._errors(f"writing {uri}", folder=path.parent):
                # upload_file would hide the server's answer in an error of its own.
                self.client.upload_fileobj(file, bucket, key, ExtraArgs=self.encryption.fields())
        return self.check(StoredObject(bucket, key, path.stat().st_size, digest))

    def get_file(self, uri: str, path: Path) -> Path:
        """Write the object to the file and return the file.

        Raises:
            ArtifactError: the object does not exist.
        """
        bucket, key = split_uri(uri)
        with self._errors(f"reading {uri}", folder=path.parent):
            self.client.download_file(bucket, key, str(path))
        return path

    def get_bytes(self, uri: str) -> bytes:
        """Return the object.

        Raises:
            ArtifactError: the object does not exist.
        """
        bucket, key = split_uri(uri)
        with self._errors(f"reading {uri}"):
            content: bytes = self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return content

    def stream(self, uri: str, *, part_bytes: int = PART_BYTES) -> Iterator[bytes]:
        """Return the object in parts, such that it never is in memory as a whole; the first request is made at once.

        Raises:
            ArtifactError: the object does not exist.
        """
        bucket, key = split_uri(uri)
        with self._errors(f"reading {uri}"):
            body = self.client.get_object(Bucket=bucket, Key=key)["Body"]
        return self._parts(uri, body, part_bytes=part_bytes)

    def _parts(self, uri: str, body: Any, *, part_bytes: int) -> Iterator[bytes]:
        with self._errors(f"reading {uri}"), closing(body):
            yield from body.iter_chunks(part_bytes)

    def put_bytes(self, uri: str, content: bytes) -> StoredObject:
        """Write the content to the address, replacing what is there."""
        bucket, key = split_uri(uri)
        with self._errors(f"writing {uri}"):
            self.client.put_object(Bucket=bucket, Key=key, Body=content, **self.encryption.fields())
        return StoredObject(bucket, key, len(content), hashlib.sha256(content).hexdigest())

    def exists(self, uri: str) -> bool:
        """Return whether there is an object at the address."""
        bucket, key = split_uri(uri)
        with self._errors(f"listing {uri}"):
            # Of the keys that begin with this one, it is the first.
            page = self.client.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
        return any(item["Key"] == key for item in page.get("Contents", ()))

    def describe(self, uri: str) -> StoredObject:
        """Return where the object is, its length and its checksum.

        Raises:
            ArtifactError: the object does not exist.
        """
        bucket, key = split_uri(uri)
        digest, length = hashlib.sha256(), 0
        for part in self.stream(uri):
            digest.update(part)
            length += len(part)
        return StoredObject(bucket, key, length, digest.hexdigest())

    def check(self, written: StoredObject) -> StoredObject:
        """Read an object back; return it where it is what was written.

        Raises:
            UnavailableError: it is something else.
        """
        uri = f"s3://{written.bucket}/{written.key}"
        if (arrived := self.describe(uri)) != written:
            raise UnavailableError(
                f"{uri} is not what was written: it has {arrived.byte_count:,} bytes with SHA-256 "
                f"{arrived.sha256[:12]}… instead of {written.byte_count:,} with {written.sha256[:12]}…; try again"
            )
        return written

    def list_keys(self, prefix_uri: str) -> list[str]:
        """Return the keys below the address, sorted."""
        bucket, prefix = split_uri(prefix_uri)
        with self._errors(f"listing {prefix_uri}"):
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            return sorted(item["Key"] for page in pages for item in page.get("Contents", ()))

    def list_folders(self, prefix_uri: str) -> list[str]:
        """Return the names of the folders directly below the address, which ends with a slash, sorted."""
        bucket, prefix = split_uri(prefix_uri)
        with self._errors(f"listing {prefix_uri}"):
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
            found = [item["Prefix"] for page in pages for item in page.get("CommonPrefixes", ())]
        return sorted(folder.removeprefix(prefix).rstrip("/") for folder in found)

    def delete(self, uri: str) -> None:
        """Remove the object; no error where there is none."""
        bucket, key = split_uri(uri)
        with self._errors(f"removing {uri}"):
            self.client.delete_object(Bucket=bucket, Key=key)

    @contextmanager
    def _errors(self, what: str, *, folder: Path | None = None) -> Iterator[None]:
        # boto3 takes half a second to load. Where there is a client, it is loaded already.
        from boto3.exceptions import Boto3Error

        try:
            yield
        except (ClientError, Boto3Error, BotoCoreError, OSError) as error:
            raise explain(error, what=what, endpoint=self.client.meta.endpoint_url, folder=folder) from error


def _drop_unread_error(response_dict: dict[str, Any], **_: Any) -> None:
    """Give botocore an error without a body instead of one that it cannot read.

    A store that fails while it reads an object may already have sent the object's checksum as a header. botocore then
    takes the text of the error for the object's stream, and its parser raises AttributeError where it expects bytes;
    without a body it knows the status, and retries as usual.
    """
    if response_dict["status_code"] >= _FIRST_ERROR_STATUS and not isinstance(response_dict["body"], bytes):
        response_dict["body"] = b""
