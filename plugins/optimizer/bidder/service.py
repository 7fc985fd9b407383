"""The bidder as it runs: prices that are counted and timed, and refreshed in the background."""

import logging
import math
import random
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Self

from prometheus_client import Counter
from sqlalchemy.exc import SQLAlchemyError

from optimizer.bidder import pricing
from optimizer.bidder.counting import NO_RUN, HourlyCounts, Write
from optimizer.bidder.fetching import Fetched, ServerReader
from optimizer.bidder.generation import Generation
from optimizer.bidder.metrics import Metrics
from optimizer.bidder.openrtb.questions import BidRequest
from optimizer.bidder.pricing import Price
from optimizer.bidder.reasons import UNREADABLE, Reason
from optimizer.bidder.refreshing import CONTROL_PLANE, Refresher, RefreshReport
from optimizer.bidder.requests import PriceRequest
from optimizer.bidder.unmapped_values import UnmappedValues
from optimizer.errors import OptimizerError

DEFAULT_INTERVAL_S = 30.0
"""Between two refreshes."""

JITTER = 0.1
"""Share of the interval by which a pause varies, so that many bidders do not ask all at once."""

LEAST_PAUSE_S = 5.0
"""However much memcached loses, so long passes between two refreshes."""

STALE_INTERVALS = 10
"""Without a refresh that succeeded for that many intervals, health says stale."""

LAST_REFRESH_S, LAST_COUNTS_S = 1.0, 2.0
"""When the service ends, a refresh and the last counts are waited for no longer."""

UNKNOWN = "unknown"

log = logging.getLogger(__name__)


class BidderService:
    """Prices requests with what its refresher holds."""

    def __init__(
        self,
        refresher: Refresher,
        *,
        interval_s: float = DEFAULT_INTERVAL_S,
        write_counts: Write | None = None,
        max_age_s: float | None = None,
    ) -> None:
        """Nothing runs before `running`.

        Args:
            write_counts: takes the counts of impressions by hour and outcome, after every refresh; None: nothing does.
            max_age_s: no bid once no refresh of the entity succeeded for that long; None: it bids however old they are.
        """
        self._counts = None if write_counts is None else HourlyCounts(write_counts)
        self.refresher, self.metrics = refresher, Metrics.create()
        self._interval_s, self._stopping, self._waking = interval_s, threading.Event(), threading.Event()
        self._last_success: datetime | None = None
        self._unmapped = UnmappedValues()
        self._outcomes = defaultdict[tuple[str, str, str], int](int)
        self._counters: dict[tuple[str, str], Counter] = {}
        for server in self._memcached_servers():
            self.metrics.memcached_up.labels(server.name).set_function(partial(_is_up, server))
        self._is_stopping, self._counts_lock = False, threading.Lock()
        self._max_age_s = math.inf if max_age_s is None else max_age_s

    def price(self, request: PriceRequest, *, entity_code: str) -> Price:
        """Return the price of one impression."""
        return self.price_all([request], entity_code=entity_code)[0]

    def price_all(self, asked: Iterable[PriceRequest | Reason], *, entity_code: str) -> list[Price]:
        """Return the prices of one bid request's impressions, all of one generation, even during a refresh.

        Args:
            asked: for each impression what is asked, or why it is not to be priced.
        """
        generation = self.refresher.generations.get(entity_code)
        asked = self._within_age(asked, entity_code=entity_code)
        return [self._price(it, entity_code=entity_code, generation=generation) for it in asked]

    def count_reading(self, request: BidRequest) -> None:
        """Count what was odd in a bid request, its privacy signals, and its values that the mapping does not know."""
        for oddity in request.oddities:
            self.metrics.oddities.labels(oddity).inc()
        for signal in request.signals:
            self.metrics.privacy_signals.labels(signal).inc()
        if request.unmapped:
            self._unmapped.add(request.unmapped)
            for macro, _ in request.unmapped:
                self.metrics.unmapped.labels(macro).inc()

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Close the connections of `fetch_and_price` when the block ends."""
        async with nullcontext() if self.refresher.memcached is None else self.refresher.memcached.reading():
            yield

    async def fetch_and_price(self, asked: Iterable[PriceRequest | Reason], *, entity_code: str) -> list[Price]:
        """Return `price_all`; where the bids are in memcached, all of them are fetched at once before."""
        generation, memcached = self.refresher.generations.get(entity_code), self.refresher.memcached
        if generation is None or memcached is None:
            return self.price_all(asked, entity_code=entity_code)
        asked = list(self._within_age(asked, entity_code=entity_code))
        requests = [it for it in asked if not isinstance(it, Reason)]
        started = time.perf_counter()
        fetched = await memcached.fetch(pricing.places_of(requests, generation=generation))
        self.metrics.fetch_seconds.observe(time.perf_counter() - started)
        return [self._price(it, entity_code=entity_code, generation=generation, fetched=fetched) for it in asked]

    def _within_age(
        self, asked: Iterable[PriceRequest | Reason], *, entity_code: str
    ) -> Iterable[PriceRequest | Reason]:
        """What is asked; where what is served is too old, that is the reason not to price it."""
        if self._is_too_old(entity_code):
            return [it if isinstance(it, Reason) else Reason.TOO_OLD for it in asked]
        return asked

    def _is_too_old(self, entity_code: str) -> bool:
        confirmed_at = self.refresher.confirmed.get(entity_code)
        return confirmed_at is not None and time.time() - confirmed_at.timestamp() > self._max_age_s

    def count_unreadable(self, entity_code: str) -> None:
        """Count a request that could not be read; an entity that is not served gets no label of its own."""
        if entity_code in self.refresher.generations:
            self.metrics.unreadable.labels(entity_code).inc()
            self._outcomes[entity_code, NO_RUN, UNREADABLE] += 1

    def write_counts(self) -> None:
        """Write how many impressions had which outcome in this hour; what cannot be written now is written later."""
        report = self.refresher.last_report
        if self._counts is None or (report is not None and CONTROL_PLANE in report.errors):
            return  # it is away: the counts are kept, and nobody waits for it twice
        try:
            with self._counts_lock, self.refresher.waits.on("control plane, for the hourly counts"):
                self._counts.record(dict(self._outcomes), now=datetime.now(UTC))
        except (OptimizerError, SQLAlchemyError) as error:  # no count is worth the refreshes of this thread
            self.metrics.count_failures.inc()
            log.warning("the hourly counts were not written, and are kept: %s", error)

    @property
    def is_refresh_due(self) -> bool:
        """Whether the next refresh comes at once, because a key was lost or the service ends."""
        return self._waking.is_set()

    def _price(
        self,
        asked: PriceRequest | Reason,
        *,
        entity_code: str,
        generation: Generation | None,
        fetched: Fetched | None = None,
    ) -> Price:
        started = time.perf_counter()
        if isinstance(asked, Reason):
            price = Price(entity_code, asked)
        elif generation is None:
            price = Price(entity_code, Reason.NOT_SERVED, floor_cpm=asked.floor_cpm)
        else:
            price = pricing.price(asked, generation=generation, fetched=fetched)
        if price.reason is Reason.TABLE_LOST:
            self.refresher.report_lost()
            self._waking.set()
        self.metrics.seconds.observe(time.perf_counter() - started)
        # An unknown entity gets no label: a caller could make up any number of them.
        if generation is None:
            self.metrics.prices.labels(UNKNOWN, price.reason).inc()
        else:
            self._count(entity_code, price.run_id, price.reason)
        return price

    def _count(self, entity_code: str, run_id: str | None, reason: Reason) -> None:
        self._outcomes[entity_code, run_id or NO_RUN, reason] += 1
        counter = self._counters.get((entity_code, reason))
        if counter is None:  # finding a labelled counter costs more than counting
            counter = self._counters[entity_code, reason] = self.metrics.prices.labels(entity_code, reason)
        counter.inc()

    def refresh(self) -> RefreshReport:
        """Refresh now, and count and time it."""
        started = time.perf_counter()
        report = self.refresher.refresh()
        metrics = self.metrics
        metrics.refreshes.labels(report.outcome).inc()
        metrics.refresh_seconds.set(time.perf_counter() - started)
        metrics.last_refresh.set_to_current_time()
        if not report.errors:
            self._last_success = datetime.now(UTC)
            metrics.last_success.set_to_current_time()
        self._show_served()
        return report

    def _show_served(self) -> None:
        metrics, copies = self.metrics, self.refresher.copies
        metrics.copy_errors.set(len(copies.errors))
        for gauge in (metrics.keys, metrics.loaded, metrics.confirmed, metrics.from_copy):
            gauge.clear()
        for code, generation in self.refresher.generations.items():
            metrics.confirmed.labels(code).set(self.refresher.confirmed[code].timestamp())
            metrics.from_copy.labels(code).set(code in copies.served)
            metrics.loaded.labels(code).set(generation.loaded_at.timestamp())
            for run_id, run in generation.runs.items():
                metrics.keys.labels(code, run_id).set(len(run.bids))

    def stop_soon(self) -> None:
        """Say that this process is about to stop: it still bids, and is not ready anymore."""
        self._is_stopping = True

    def count_refused(self, status: str) -> None:
        """Count a request that was refused before any application saw it."""
        self.metrics.refused.labels(status).inc()

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Refresh now and every interval, in a thread, until the block ends.

        A refresh that waits for a silent system then is abandoned after `LAST_REFRESH_S`, the last counts after
        `LAST_COUNTS_S`.
        """
        self._stopping.clear()
        thread = threading.Thread(target=self._refresh_forever, name="bidder-refresh", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._stopping.set()
            self._waking.set()
            thread.join(LAST_REFRESH_S)
            wait = self.refresher.waits.current
            if thread.is_alive():
                log.warning("a refresh is abandoned; it waits for %s", "nothing" if wait is None else wait.what)
            last = threading.Thread(target=self.write_counts, name="bidder-counts", daemon=True)
            last.start()
            last.join(LAST_COUNTS_S)
            if last.is_alive():
                log.warning("the last counts of the hour are lost: the control plane did not take them in time")
            if not thread.is_alive():
                self.refresher.close()

    def is_ready(self) -> bool:
        """Return whether every entity that should be served is.

        At least one is served, the first load of none failed, none is too old to be bid for, and the process goes on.
        """
        report, generations = self.refresher.last_report, self.refresher.generations
        served = {*generations, CONTROL_PLANE}  # a silent database takes nothing from what is served
        if self._is_stopping:
            return False
        is_whole = bool(generations) and not (set(report.errors if report else ()) - served)
        return is_whole and not any(map(self._is_too_old, generations))

    def health(self, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> dict[str, Any]:
        """Return what is served, how old it is and what went wrong last, as JSON's types."""
        report, generations, moment = self.refresher.last_report, self.refresher.generations, now()
        return {
            "status": self._status(moment),
            "last_refresh": None if report is None else {"at": report.at.isoformat(), "outcome": report.outcome},
            "last_success_at": self._last_success.isoformat() if self._last_success else None,
            "errors": dict(report.errors) if report else {},
            "not_deployed": list(report.not_deployed) if report else [],
            "unmapped_values": self._unmapped.most_common(),
            "waiting_for": self._waiting_for(moment),
            "local_copy": self._local_copy(),
            "memcached": {
                server.name: {"away_since": server.away_since.isoformat() if server.away_since else None}
                for server in self._memcached_servers()
            },
            "entities": {code: self._describe(code, generation, moment) for code, generation in generations.items()},
        }

    def _memcached_servers(self) -> Collection[ServerReader]:
        memcached = self.refresher.memcached
        return () if memcached is None else memcached.reader.servers.values()

    def _waiting_for(self, moment: datetime) -> dict[str, Any] | None:
        wait = self.refresher.waits.current
        if wait is None:
            return None
        waited_s = round((moment - wait.since).total_seconds(), 1)
        return {"what": wait.what, "since": wait.since.isoformat(), "waited_s": waited_s}

    def _local_copy(self) -> dict[str, Any] | None:
        copies = self.refresher.copies
        if copies.folder is None:
            return None
        return {"folder": str(copies.folder), "served": sorted(copies.served), "errors": dict(copies.errors)}

    def _describe(self, entity_code: str, generation: Generation, moment: datetime) -> dict[str, Any]:
        confirmed_at = self.refresher.confirmed.get(entity_code)
        return {
            "generation": generation.fingerprint,
            "loaded_at": generation.loaded_at.isoformat(),
            "age_s": round((moment - generation.loaded_at).total_seconds(), 1),
            "confirmed_at": confirmed_at.isoformat() if confirmed_at else None,
            "is_from_local_copy": entity_code in self.refresher.copies.served,
            "is_too_old": self._is_too_old(entity_code),
            "runs": {
                run_id: {
                    "traffic_pct": generation.percents[run_id],
                    "keys": len(run.bids),
                    "is_manifest_checked": run.is_manifest_checked,
                }
                for run_id, run in generation.runs.items()
            },
        }

    def _status(self, moment: datetime) -> str:
        report = self.refresher.last_report
        if self._is_stopping:
            return "stopping"
        if report is None:
            return "starting"
        if any(map(self._is_too_old, self.refresher.generations)):
            return "too_old"
        if not report.errors:
            return "ok"
        stale_after = timedelta(seconds=STALE_INTERVALS * self._interval_s)
        is_stale = self._last_success is None or moment - self._last_success > stale_after
        return "stale" if is_stale else "failing"

    def _refresh_forever(self) -> None:
        while not self._stopping.is_set():
            self._waking.clear()
            self.refresh()
            self.write_counts()
            jitter = random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret
            self._stopping.wait(min(LEAST_PAUSE_S, self._interval_s))
            self._waking.wait(max(0.0, self._interval_s * jitter - LEAST_PAUSE_S))


def _is_up(server: ServerReader) -> float:
    return float(server.away_since is None)
