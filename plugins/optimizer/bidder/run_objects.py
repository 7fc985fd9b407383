"""The objects of deployed runs as one refresh reads them: within a limit of time, and kept for the local copy."""

import time
from collections.abc import Iterator, Mapping

from optimizer.artifacts.store import ObjectStore
from optimizer.bidder.waiting import Waits
from optimizer.errors import ArtifactError, UnavailableError

READ_BUDGET_S = 120.0
"""One refresh waits for the object store no longer than this; the next one goes on where it stopped."""

PART_BYTES = 16 * 1024
"""The budget is looked at after each part of this size."""


class StoredObjects:
    """Reads from the object store during one refresh. After one silence it is not asked again."""

    def __init__(self, store: ObjectStore, waits: Waits, *, budget_s: float = READ_BUDGET_S) -> None:
        self._store, self._waits, self._left_s = store, waits, budget_s
        self._silence: str | None = None
        self._read: dict[str, bytes] = {}

    def get_bytes(self, uri: str) -> bytes:
        """Return the object.

        Raises:
            ArtifactError: it does not exist.
            UnavailableError: the store is silent, was silent before in this refresh, or needs too long.
        """
        if self._silence is not None:
            raise UnavailableError(f"{uri} was not read: {self._silence}")
        started = time.monotonic()
        try:
            with self._waits.on(f"object store, {uri}"):
                content = b"".join(self._parts(uri, started=started))
        except UnavailableError as error:
            self._silence = str(error)
            raise
        finally:
            self._left_s -= time.monotonic() - started
        self._read[uri] = content
        return content

    def take_read(self) -> dict[str, bytes]:
        """Return what was read since the last call, by address."""
        read, self._read = self._read, {}
        return read

    def _parts(self, uri: str, *, started: float) -> Iterator[bytes]:
        for part in self._store.stream(uri, part_bytes=PART_BYTES):
            yield part
            if time.monotonic() - started > self._left_s:
                raise UnavailableError(f"reading {uri}: the object store is too slow for one refresh")


class CopiedObjects:
    """Reads from a local copy, whose checksum was verified."""

    def __init__(self, objects: Mapping[str, str]) -> None:
        self._objects = objects

    def get_bytes(self, uri: str) -> bytes:
        """Return the object.

        Raises:
            ArtifactError: the copy does not have it.
        """
        if uri not in self._objects:
            raise ArtifactError(f"the local copy has no {uri}")
        return self._objects[uri].encode()
