"""A copy of what is served, on local disk: for a start while the control plane or the object store is away.

One file an entity, `<entity_code>.copy`: the SHA-256 of the rest in hexadecimal, a newline, and JSON with the entity's
rows of the control plane and the content of its runs' objects. Next to it `<entity_code>.confirmed` says when a refresh
last found that this is what is deployed. Both are replaced in one step, so a reader never sees half of one, however
many bidders write.
"""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Literal
from urllib.parse import quote, unquote

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from optimizer.control_plane.serving import ServedEntity
from optimizer.errors import CopyError

COPY_SUFFIX, CONFIRMED_SUFFIX = ".copy", ".confirmed"


class ServedCopy(BaseModel):
    """What an entity was served from: its rows, and the objects of its runs as text by address.

    format: rises where a reader of the old one would price wrongly.
    """

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    saved_at: AwareDatetime
    entity: ServedEntity
    objects: Mapping[str, str]

    def content_sha256(self) -> str:
        """Return the SHA-256 of the entity and the objects, which does not depend on who saved them or when."""
        digest = sha256(self.entity.model_dump_json().encode())
        for uri in sorted(self.objects):
            digest.update(f"\n{uri}\n".encode())
            digest.update(self.objects[uri].encode())
        return digest.hexdigest()


class Confirmed(BaseModel):
    """When a copy with this `content_sha256` was last found to be what is deployed."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    confirmed_at: AwareDatetime


class LocalCopy:
    """The copies of one folder. Several bidders may share it; what they write is the same."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._contents: dict[str, str] = {}

    def save(self, copy: ServedCopy) -> None:
        """Write the copy, replacing the entity's older one, and confirm it.

        Raises:
            CopyError: it cannot be written; the older one is still there.
        """
        payload = copy.model_dump_json().encode()
        code, checksum = copy.entity.entity_code, sha256(payload).hexdigest()
        self._replace(code, COPY_SUFFIX, f"{checksum}\n".encode() + payload)
        self._contents[code] = copy.content_sha256()
        self.confirm(code, at=copy.saved_at)

    def confirm(self, entity_code: str, *, at: datetime) -> None:
        """Note that what this process saved or read of the entity is what is deployed; nothing where it did neither.

        Raises:
            CopyError: it cannot be written.
        """
        found = self._contents.get(entity_code)
        if found is not None:
            content = Confirmed(sha256=found, confirmed_at=at).model_dump_json()
            self._replace(entity_code, CONFIRMED_SUFFIX, content.encode())

    def read(self, entity_code: str) -> tuple[ServedCopy, datetime]:
        """Return the entity's copy, and when it was last found to be what is deployed.

        Raises:
            CopyError: there is none, or it is damaged.
        """
        path = self._path(entity_code, COPY_SUFFIX)
        try:
            checksum, _, payload = path.read_bytes().partition(b"\n")
        except OSError as error:
            raise CopyError(f"the local copy {path} cannot be read: {error.strerror}") from error
        if sha256(payload).hexdigest().encode() != checksum:
            raise CopyError(f"the local copy {path} is damaged, its sha256 differs: it is not served")
        try:
            copy = ServedCopy.model_validate_json(payload)
        except ValidationError as error:
            raise CopyError(f"the local copy {path} is of another release: it is not served") from error
        if copy.entity.entity_code != entity_code:
            raise CopyError(f"the local copy {path} is of entity {copy.entity.entity_code}: it is not served")
        self._contents[entity_code] = copy.content_sha256()
        return copy, self._confirmed_at(entity_code, copy)

    def entity_codes(self) -> set[str]:
        """Return the entities that have a copy, damaged or not.

        Raises:
            CopyError: the folder cannot be read.
        """
        try:
            return {unquote(path.name.removesuffix(COPY_SUFFIX)) for path in self.folder.glob(f"*{COPY_SUFFIX}")}
        except OSError as error:
            raise CopyError(f"the folder of local copies {self.folder} cannot be read: {error.strerror}") from error

    def remove(self, entity_code: str) -> None:
        """Remove the entity's copy, so that no later start serves it.

        Raises:
            CopyError: it cannot be removed.
        """
        try:
            for suffix in (COPY_SUFFIX, CONFIRMED_SUFFIX):
                self._path(entity_code, suffix).unlink(missing_ok=True)
        except OSError as error:
            raise CopyError(f"the local copy of {entity_code} cannot be removed: {error}") from error
        self._contents.pop(entity_code, None)

    def _confirmed_at(self, entity_code: str, copy: ServedCopy) -> datetime:
        """The later of two times is only believed for the very copy that it was noted for, and never a future one."""
        try:
            noted = Confirmed.model_validate_json(self._path(entity_code, CONFIRMED_SUFFIX).read_bytes())
        except (OSError, ValidationError):
            noted = None
        is_noted = noted is not None and noted.sha256 == self._contents[entity_code]
        return min(noted.confirmed_at if noted and is_noted else copy.saved_at, datetime.now(UTC))

    def _path(self, entity_code: str, suffix: str) -> Path:
        return self.folder / (quote(entity_code, safe="") + suffix)

    def _replace(self, entity_code: str, suffix: str, content: bytes) -> None:
        path = self._path(entity_code, suffix)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with NamedTemporaryFile(dir=self.folder, prefix=".", delete=False) as file:
                written = Path(file.name)
                try:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                    written.replace(path)
                except BaseException:
                    written.unlink(missing_ok=True)
                    raise
            _sync_folder(self.folder)
        except OSError as error:
            raise CopyError(f"the local copy {path} cannot be written: {error.strerror or error}") from error


def _sync_folder(folder: Path) -> None:
    """Make the new name durable, as fsync of the file made its content."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
