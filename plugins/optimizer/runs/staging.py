"""A run's staging prefix: what one step leaves for the next."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from optimizer.artifacts.store import ObjectStore, StoredObject
from optimizer.errors import ArtifactError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Staging:
    """Files below one s3:// prefix. Writing replaces, so a repeated step leaves no trace of its first try.

    checksums: SHA-256 of files that must not change anymore; see `pinned`.
    still_wanted: asked before each write; raises where the run is not the writer's anymore.
    """

    store: ObjectStore
    prefix_uri: str
    checksums: Mapping[str, str] = field(default_factory=dict)
    still_wanted: Callable[[], object] = lambda: None

    def pinned(self, checksums: Mapping[str, str]) -> "Staging":
        """Return the same prefix, from which these files can only be read as they were."""
        return replace(self, checksums=dict(checksums))

    def checksums_of(self, names: Iterable[str]) -> dict[str, str]:
        """Return the SHA-256 of each of the files that is there."""
        return {name: self.store.describe(self.prefix_uri + name).sha256 for name in names if self.has(name)}

    def put_file(self, name: str, path: Path) -> StoredObject:
        self.still_wanted()
        return self.store.put_file(self.prefix_uri + name, path)

    def get_file(self, name: str, path: Path) -> Path:
        self.store.get_file(self.prefix_uri + name, path)
        if name in self.checksums:
            with path.open("rb") as file:
                self._check(name, hashlib.file_digest(file, "sha256").hexdigest())
        return path

    def has(self, name: str) -> bool:
        return self.store.exists(self.prefix_uri + name)

    def put_json(self, name: str, content: Any) -> StoredObject:
        self.still_wanted()
        return self.store.put_bytes(self.prefix_uri + name, json.dumps(content, allow_nan=False).encode())

    def get_json(self, name: str) -> Any:
        content = self.store.get_bytes(self.prefix_uri + name)
        if name in self.checksums:
            self._check(name, hashlib.sha256(content).hexdigest())
        return json.loads(content)

    def put_frame(self, name: str, frame: "pd.DataFrame") -> StoredObject:
        with TemporaryDirectory(prefix="optimizer-") as folder:
            path = Path(folder) / Path(name).name
            frame.to_parquet(path, index=False)
            return self.put_file(name, path)

    def get_frame(self, name: str, *, columns: Sequence[str] | None = None) -> "pd.DataFrame":
        import pandas as pd  # not every task has tables

        with TemporaryDirectory(prefix="optimizer-") as folder:
            path = self.get_file(name, Path(folder) / Path(name).name)
            return pd.read_parquet(path, columns=None if columns is None else list(columns))

    def _check(self, name: str, sha256: str) -> None:
        if sha256 != self.checksums[name]:
            raise ArtifactError(
                f"{self.prefix_uri}{name} changed after it was validated (SHA-256 {sha256[:12]} instead of "
                f"{self.checksums[name][:12]}); clear the task validate and those after it, so that what is published "
                "is what was checked"
            )
