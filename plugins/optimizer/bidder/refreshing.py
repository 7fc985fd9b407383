"""Refresh: load the new generation next to the old one, then switch; any failure keeps the old one.

Each entity switches or fails on its own: a broken run of one does not delay the others. What is served is copied to
local disk; an entity that this process never loaded is served from there while its systems are away.
"""

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

from sqlalchemy import Engine

from optimizer.artifacts.store import ObjectStore
from optimizer.bidder.building import Builder
from optimizer.bidder.copy_keeper import CopyKeeper
from optimizer.bidder.generation import Generation
from optimizer.bidder.memcached import Memcached
from optimizer.bidder.run_objects import StoredObjects
from optimizer.bidder.waiting import Waits
from optimizer.control_plane.engine import database_name
from optimizer.control_plane.serving import ServedEntity, read_served
from optimizer.errors import OptimizerError, RefreshError

CONTROL_PLANE = "control plane"
"""Stands for all entities where a failure concerns them all; no entity code has a space."""

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

    `generations` is read without a lock: it is a mapping that never changes, replaced as a whole, and so is
    `confirmed`: when each was last found to be what is deployed. `waits` says what a refresh waits for. A refresh reads
    from `engine` and `store` as they are when it begins.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        store: ObjectStore,
        memcached: Memcached | None = None,
        entity_codes: Collection[str] = (),
        copies: CopyKeeper | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Serve the named entities, or all active ones, from memcached, or from this process without one.

        Args:
            copies: where what is served is copied to; None: it is not.
        """
        self.generations: Mapping[str, Generation] = MappingProxyType({})
        self.confirmed: Mapping[str, datetime] = MappingProxyType({})
        self.last_report: RefreshReport | None = None
        self.waits, self.copies = Waits(clock), CopyKeeper(None) if copies is None else copies
        self.engine, self.store, self.memcached = engine, store, memcached
        self._entity_codes, self._clock = tuple(entity_codes), clock
        self._lock, self._has_lost = threading.Lock(), False

    def report_lost(self) -> None:
        """Have the next refresh write all tables again: memcached lost keys."""
        self._has_lost = True

    def close(self) -> None:
        """Close the connections; the next use opens them again."""
        self.engine.dispose()

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
        try:
            with self.waits.on(database_name(self.engine)):
                served = read_served(self.engine, self._entity_codes)
        except Exception as error:
            return self._go_on_without(error, now=now)
        self.copies.forget_all_but((entity.entity_code for entity in served), wanted=self._entity_codes)
        old, confirmed = self.generations, dict(self.confirmed)
        new, errors = self._load(served, confirmed, now=now)
        self.confirmed = MappingProxyType({code: confirmed[code] for code in new})
        self.generations = MappingProxyType(new)
        return RefreshReport(
            at=now,
            switched=tuple(sorted(code for code in new.keys() | old.keys() if new.get(code) is not old.get(code))),
            unchanged=tuple(code for code in new if new[code] is old.get(code)),
            not_deployed=tuple(it.entity_code for it in served if it.entity_code not in new.keys() | errors),
            errors=MappingProxyType({**errors, **self._missing(served)}),
        )

    def _load(
        self, served: list[ServedEntity], confirmed: dict[str, datetime], *, now: datetime
    ) -> tuple[dict[str, Generation], dict[str, str]]:
        """Return the new generations and the errors by entity; what is found deployed is confirmed."""
        has_lost, self._has_lost = self._has_lost, False
        objects = StoredObjects(self.store, self.waits)
        builder = Builder(objects, self.memcached, self.waits, now, has_lost=has_lost)
        new: dict[str, Generation] = {}
        errors: dict[str, str] = {}
        for entity in served:
            code, old = entity.entity_code, self.generations.get(entity.entity_code)
            try:
                generation = builder.build(entity, old)
            except Exception as error:
                objects.take_read()
                errors[code] = _message(error)
                generation = self._restore(code, confirmed, errors, now=now) if old is None else old
            else:
                confirmed[code] = now
                if generation is not None:
                    self.copies.keep(entity, objects.take_read(), is_new=generation is not old, now=now)
            new |= {} if generation is None else {code: generation}
        self._has_lost |= has_lost and bool(errors)
        return new, errors

    def _go_on_without(self, error: Exception, *, now: datetime) -> RefreshReport:
        """Keep what is served; what this process has never loaded is served from its copy."""
        old, confirmed, errors = self.generations, dict(self.confirmed), {CONTROL_PLANE: _message(error)}
        restored: dict[str, Generation] = {}
        for code in sorted(self.copies.entity_codes(wanted=self._entity_codes) - old.keys()):
            generation = self._restore(code, confirmed, errors, now=now)
            restored |= {} if generation is None else {code: generation}
        self.confirmed = MappingProxyType(confirmed)
        self.generations = MappingProxyType({**old, **restored})
        return RefreshReport(now, tuple(restored), tuple(old), (), MappingProxyType(errors))

    def _restore(
        self, code: str, confirmed: dict[str, datetime], errors: dict[str, str], *, now: datetime
    ) -> Generation | None:
        """The generation of the entity's copy, or None where it has no copy that can be served."""
        try:
            found = self.copies.restore(code)
            if found is None:
                return None
            copy, objects, confirmed_at = found
            generation = Builder(objects, self.memcached, self.waits, now).build(copy.entity, None)
        except Exception as error:
            errors[code] = "; ".join(filter(None, (errors.get(code), _message(error))))
            return None
        self.copies.served |= {code}
        confirmed[code] = confirmed_at
        log.warning("%s is served from its local copy, as it was deployed at %s", code, confirmed_at.isoformat())
        return generation

    def _missing(self, served: list[ServedEntity]) -> Mapping[str, str]:
        # Setting an entity inactive is how its bidding is stopped: nothing of it is kept.
        missing = set(self._entity_codes) - {entity.entity_code for entity in served}
        text = "it is not in opt_entities or inactive; correct the code, or leave it out of OPTIMIZER_BIDDER_ENTITIES"
        return dict.fromkeys(sorted(missing), text)


def _message(error: Exception) -> str:
    if isinstance(error, OptimizerError):
        return str(error)
    # Keep serving; the log has the traceback.
    log.error("unexpected error", exc_info=error)
    return f"{type(error).__name__}: {error}"


def require_success(report: RefreshReport) -> None:
    """Pass where the refresh succeeded.

    Raises:
        RefreshError: names every failure.
    """
    if report.errors:
        raise RefreshError("; ".join(f"{name}: {message}" for name, message in report.errors.items()))
