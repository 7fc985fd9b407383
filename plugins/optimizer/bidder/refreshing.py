"""Refresh: load the new generation next to the old one, then switch; any failure keeps the old one.

Each entity switches or fails on its own: a broken run of one does not delay the others.
"""

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

from sqlalchemy import Engine

from optimizer.artifacts.store import ObjectStore
from optimizer.bidder import loading
from optimizer.bidder.generation import Generation, ServedRun
from optimizer.bidder.loading import RunFiles
from optimizer.bidder.tables import BidTable, InProcessTable, Memcached, MemcachedTable
from optimizer.control_plane.serving import DeployedRun, ServedEntity, read_served
from optimizer.errors import OptimizerError, RefreshError

CONTROL_PLANE = "control plane"
"""Stands for all entities where a failure concerns them all; no entity code has a space."""

RENEWALS = 7
"""How often a table in memcached is renewed within its lifetime: so long may the object store be away."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RefreshReport:
    """What one refresh did. `errors` are messages by entity, or by `CONTROL_PLANE`."""

    at: datetime
    switched: tuple[str, ...]
    unchanged: tuple[str, ...]
    not_deployed: tuple[str, ...]
    errors: Mapping[str, str]

    @property
    def outcome(self) -> str:
        """failed, switched or unchanged; a refresh that fails for one entity has failed."""
        return "failed" if self.errors else "switched" if self.switched else "unchanged"


class Refresher:
    """Holds the generations that are served, by entity, and brings them up to date.

    `generations` is read without a lock: it is a mapping that never changes, replaced as a whole.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        store: ObjectStore,
        memcached: Memcached | None = None,
        entity_codes: Collection[str] = (),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Serve the named entities, or all active ones, from memcached, or from this process without one."""
        self.generations: Mapping[str, Generation] = MappingProxyType({})
        self.last_report: RefreshReport | None = None
        self._engine, self._store, self._memcached = engine, store, memcached
        self._entity_codes, self._clock = tuple(entity_codes), clock
        self._lock, self._has_lost = threading.Lock(), False

    def report_lost(self) -> None:
        """Have the next refresh write all tables again: memcached lost keys."""
        self._has_lost = True

    def close(self) -> None:
        """Close the connections; the next use opens them again."""
        self._engine.dispose()
        if self._memcached is not None:
            self._memcached.close()

    def refresh(self) -> RefreshReport:
        """Read the deployments, load what is new, switch to it, and return what was done; one at a time."""
        with self._lock:
            self.last_report = report = self._refresh(self._clock())
        for name, message in report.errors.items():
            log.error("the refresh of %s failed, what was served stays: %s", name, message)
        if report.switched:
            log.info("switched: %s", ", ".join(report.switched))
        return report

    def _refresh(self, now: datetime) -> RefreshReport:
        old = self.generations
        try:
            served = read_served(self._engine, self._entity_codes)
        except Exception as error:
            return RefreshReport(now, (), tuple(old), (), {CONTROL_PLANE: _message(error)})
        has_lost, self._has_lost = self._has_lost, False
        new: dict[str, Generation] = {}
        errors: dict[str, str] = {}
        for entity in served:
            code = entity.entity_code
            try:
                generation = self._next(entity, old.get(code), has_lost=has_lost, now=now)
            except Exception as error:
                errors[code], generation = _message(error), old.get(code)
            new |= {} if generation is None else {code: generation}
        self._has_lost |= has_lost and bool(errors)
        self.generations = MappingProxyType(new)
        return RefreshReport(
            at=now,
            switched=tuple(sorted(code for code in new.keys() | old.keys() if new.get(code) is not old.get(code))),
            unchanged=tuple(code for code in new if new[code] is old.get(code)),
            not_deployed=tuple(it.entity_code for it in served if it.entity_code not in new.keys() | errors),
            errors=MappingProxyType({**errors, **self._missing(served)}),
        )

    def _missing(self, served: list[ServedEntity]) -> Mapping[str, str]:
        # Setting an entity inactive is how its bidding is stopped: nothing of it is kept.
        missing = set(self._entity_codes) - {entity.entity_code for entity in served}
        text = "it is not in opt_entities or inactive; correct the code, or leave it out of OPTIMIZER_BIDDER_ENTITIES"
        return dict.fromkeys(sorted(missing), text)

    def _next(
        self, entity: ServedEntity, old: Generation | None, *, has_lost: bool, now: datetime
    ) -> Generation | None:
        """The old generation itself where nothing changed; None where nothing was ever deployed."""
        if not entity.runs and old is None:
            return None
        loading.check_deployments(entity)
        is_same = old is not None and old.fingerprint == loading.fingerprint(entity)
        known = {} if old is None else old.runs
        runs = [
            self._serve(run, known.get(run.run_id), entity=entity, is_same=is_same, has_lost=has_lost, now=now)
            for run in loading.with_traffic(entity)
        ]
        return old if is_same else loading.build_generation(entity, runs, now=now)

    def _serve(
        self,
        run: DeployedRun,
        old: ServedRun | None,
        *,
        entity: ServedEntity,
        is_same: bool,
        has_lost: bool,
        now: datetime,
    ) -> ServedRun:
        if is_same and old is not None and not (has_lost or self._is_due(old.bids, now=now)):
            return old
        manifest = loading.read_run_manifest(run, entity_code=entity.entity_code, store=self._store)
        files = loading.read_files(run, manifest, store=self._store)
        return loading.build_run(run, files, bids=self._place(files, is_lost=has_lost, now=now))

    def _place(self, files: RunFiles, *, is_lost: bool, now: datetime) -> BidTable:
        if self._memcached is None:
            return InProcessTable(files.bids)
        content_id = f"{files.manifest.run_id} {files.bids_sha256}"
        table = MemcachedTable.describe(self._memcached, files.bids, content_id=content_id)
        if is_lost or self._is_due(table, now=now):
            table.write(files.bids, now=now.timestamp())
        return table

    def _is_due(self, table: BidTable, *, now: datetime) -> bool:
        """Whether memcached lacks the table, or would lose it before long."""
        if not isinstance(table, MemcachedTable):
            return False
        written_at = table.written_at()
        return written_at is None or now.timestamp() - written_at > table.server.keep_s / RENEWALS


def _message(error: Exception) -> str:
    if isinstance(error, OptimizerError):
        return str(error)
    # Keep serving in any case; the log has the traceback.
    log.error("unexpected error", exc_info=error)
    return f"{type(error).__name__}: {error}"


def require_success(report: RefreshReport) -> None:
    """Pass where the refresh succeeded.

    Raises:
        RefreshError: names every failure.
    """
    if report.errors:
        raise RefreshError("; ".join(f"{name}: {message}" for name, message in report.errors.items()))
