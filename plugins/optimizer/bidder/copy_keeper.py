"""Keeps the local copies in step with what is served. No failure of the disk costs a bid: it is noted and said."""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from optimizer.bidder.local_copy import LocalCopy, ServedCopy
from optimizer.bidder.run_objects import CopiedObjects
from optimizer.control_plane.serving import ServedEntity
from optimizer.errors import CopyError

FOLDER = "copy folder"
"""Stands for all entities where a failure concerns them all; no entity code has a space."""

log = logging.getLogger(__name__)


class CopyKeeper:
    """The copies below a folder, or none at all. Used by the one thread that refreshes.

    errors: what went wrong last with the copy of each entity, or with `FOLDER`; what has no trouble is not in it.
    served: the entities that are served from their copy, because nothing newer could be loaded.
    """

    def __init__(self, folder: Path | None) -> None:
        self.errors: dict[str, str] = {}
        self.served: frozenset[str] = frozenset()
        self._copy = None if folder is None else LocalCopy(folder)
        self._unsaved: dict[str, ServedCopy] = {}

    @property
    def folder(self) -> Path | None:
        """Where the copies lie; None: nothing is copied."""
        return None if self._copy is None else self._copy.folder

    def keep(self, entity: ServedEntity, read: Mapping[str, bytes], *, is_new: bool, now: datetime) -> None:
        """Copy what the entity is served from, or confirm that this is still what is deployed.

        Args:
            read: the objects that were read for it, by address.
            is_new: it has switched; otherwise the copy is confirmed, or written if that failed before.
        """
        code = entity.entity_code
        self.served -= {code}
        if self._copy is None:
            return
        if is_new:
            objects = {uri: content.decode() for uri, content in read.items()}
            self._unsaved[code] = ServedCopy(saved_at=now, entity=entity, objects=objects)
        with self._noting(code):
            if code in self._unsaved:
                self._copy.save(self._unsaved[code])
                del self._unsaved[code]
            self._copy.confirm(code, at=now)

    def restore(self, entity_code: str) -> tuple[ServedCopy, CopiedObjects, datetime] | None:
        """Return the entity's copy, its objects and when it was last deployed; None where it has no copy.

        Raises:
            CopyError: it is damaged, or cannot be read.
        """
        if self._copy is None or entity_code not in self._copy.entity_codes():
            return None
        with self._noting(entity_code, is_raised=True):
            copy, confirmed_at = self._copy.read(entity_code)
        return copy, CopiedObjects(copy.objects), confirmed_at

    def entity_codes(self, *, wanted: Collection[str]) -> set[str]:
        """Return the entities with a copy, of the wanted ones, or of all where none is named.

        None where the folder cannot be read.
        """
        found: set[str] = set()
        with self._noting(FOLDER):
            found = set() if self._copy is None else self._copy.entity_codes()
        return found & set(wanted) if wanted else found

    def forget_all_but(self, entity_codes: Iterable[str], *, wanted: Collection[str]) -> None:
        """Remove the copies of entities that are inactive or gone: no later start may bid for them."""
        for code in self.entity_codes(wanted=wanted) - set(entity_codes):
            with self._noting(code):
                if self._copy is not None:
                    self._copy.remove(code)
                    log.info("the local copy of %s is removed: the entity is not active", code)
            self.served -= {code}

    @contextmanager
    def _noting(self, entity_code: str, *, is_raised: bool = False) -> Iterator[None]:
        try:
            yield
        except CopyError as error:
            self.errors[entity_code] = str(error)
            if is_raised:
                raise
            log.error("%s", error)
        else:
            self.errors.pop(entity_code, None)
