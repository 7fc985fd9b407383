"""A deployed entity and the objects of its runs become a generation; what did not change is kept."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime

from optimizer.artifacts.store import ObjectReader
from optimizer.bidder import loading
from optimizer.bidder.generation import Generation, ServedRun
from optimizer.bidder.loading import RunFiles
from optimizer.bidder.memcached import Memcached
from optimizer.bidder.tables import BidTable, InProcessTable, MemcachedTable
from optimizer.bidder.waiting import Waits
from optimizer.control_plane.serving import DeployedRun, ServedEntity, check_served, with_traffic

RENEWALS = 7
"""How often a table in memcached is renewed within its lifetime: so long may the object store be away."""


@dataclass(frozen=True, slots=True)
class Builder:
    """Builds generations from one refresh's objects, with their bids in memcached, or in this process without one.

    has_lost: memcached lost keys, so that every table is written again.
    """

    objects: ObjectReader
    memcached: Memcached | None
    waits: Waits
    now: datetime
    has_lost: bool = False

    def build(self, entity: ServedEntity, old: Generation | None) -> Generation | None:
        """Return the entity's generation: the old one itself where nothing changed, None if nothing was ever deployed.

        Raises:
            DeploymentError: the deployments cannot be served.
            ArtifactError: an object is missing, changed, or holds what cannot be bid.
            UnavailableError: the object store or memcached is silent.
        """
        if not entity.runs and old is None:
            return None
        check_served(entity)
        is_same = old is not None and old.fingerprint == loading.fingerprint(entity)
        known = {} if old is None or not is_same else old.runs
        runs = [self._serve(run, known.get(run.run_id), entity) for run in with_traffic(entity)]
        return old if is_same else loading.build_generation(entity, runs, now=self.now)

    def _serve(self, run: DeployedRun, same: ServedRun | None, entity: ServedEntity) -> ServedRun:
        if same is not None and not (self.has_lost or self._due(same.bids)):
            return same
        manifest = loading.read_run_manifest(run, entity_code=entity.entity_code, store=self.objects)
        files = loading.read_files(run, manifest, store=self.objects)
        return loading.build_run(run, files, bids=self._place(files))

    def _place(self, files: RunFiles) -> BidTable:
        if self.memcached is None:
            return InProcessTable(files.bids)
        content_id = f"{files.manifest.run_id} {files.bids_sha256}"
        table = MemcachedTable.describe(self.memcached, files.bids, content_id=content_id)
        names = self.memcached.names if self.has_lost else self._due(table)
        with self._waiting():
            table.write(files.bids, now=self.now.timestamp(), names=names)
        return table

    def _due(self, table: BidTable) -> Sequence[str]:
        """The servers of memcached that lack their share of the table, or would lose it before long."""
        if not isinstance(table, MemcachedTable):
            return ()
        with self._waiting():
            return table.due(now=self.now.timestamp(), lasts_s=table.servers.keep_s / RENEWALS)

    def _waiting(self) -> AbstractContextManager[None]:
        return self.waits.on("memcached " + ", ".join(() if self.memcached is None else self.memcached.names))
