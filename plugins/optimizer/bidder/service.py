"""The bidder as it runs: prices that are counted and timed, and refreshed in the background."""

import asyncio
import logging
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any, Self

from sqlalchemy.exc import SQLAlchemyError

from optimizer.bidder.counting import HourlyCounts, Write
from optimizer.bidder.fetching import Fetched
from optimizer.bidder.generation import Generation
from optimizer.bidder.health import describe_served, measure_served, status_of
from optimizer.bidder.metrics import Measures, make_registry
from optimizer.bidder.openrtb.questions import BidRequest
from optimizer.bidder.pricing import Price, Segment, find_segment, places_of, price_segment
from optimizer.bidder.reasons import UNREADABLE, Reason
from optimizer.bidder.refreshing import CONTROL_PLANE, Refresher, RefreshReport
from optimizer.bidder.requests import PriceRequest
from optimizer.bidder.tally import NO_ENTITY, NO_RUN, Tally
from optimizer.bidder.unmapped_values import UnmappedValues
from optimizer.errors import OptimizerError

DEFAULT_INTERVAL_S = 30.0
"""Between two refreshes."""

JITTER = 0.1
"""Share of the interval by which a pause varies, so that many bidders do not ask all at once."""

LEAST_PAUSE_S = 5.0
"""However much memcached loses, so long passes between two refreshes."""

FIRST_REFRESH_TICK_S = 0.02

LAST_REFRESH_S, LAST_COUNTS_S = 1.0, 2.0
"""When the service ends, a refresh and the last counts are waited for no longer."""

log = logging.getLogger(__name__)


class BidderService:
    """Prices requests with what its refresher holds.

    registry: its metrics, for Prometheus.
    """

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
        self.refresher, self.registry = refresher, make_registry(self.measure)
        self._counts = None if write_counts is None else HourlyCounts(write_counts)
        self._interval_s, self._stopping, self._waking = interval_s, threading.Event(), threading.Event()
        self._tally, self._unmapped = Tally(), UnmappedValues()
        self._last_refresh_at, self._refresh_s = 0.0, 0.0
        self._last_success: datetime | None = None
        self._is_stopping, self._counts_lock = False, threading.Lock()
        self._max_age_s = max_age_s

    def price(self, request: PriceRequest, *, entity_code: str) -> Price:
        """Return the price of one impression."""
        return self.price_all([request], entity_code=entity_code)[0]

    def price_all(self, asked: Iterable[PriceRequest | Reason], *, entity_code: str) -> list[Price]:
        """Return the prices of one bid request's impressions, all of one generation, even during a refresh.

        Args:
            asked: for each impression what is asked, or why it is not to be priced.
        """
        started, generation = time.perf_counter(), self.refresher.generations.get(entity_code)
        if generation is not None:
            return self._price(self._find(asked, generation), generation, since=started)
        prices = [_price_unserved(it, entity_code) for it in asked]
        self._count(prices, entity_code=NO_ENTITY)
        return prices

    async def fetch_and_price(self, asked: Iterable[PriceRequest | Reason], *, entity_code: str) -> list[Price]:
        """Return `price_all`; where the bids are in memcached, all of them are fetched at once before."""
        generation, memcached = self.refresher.generations.get(entity_code), self.refresher.memcached
        if generation is None or memcached is None:
            return self.price_all(asked, entity_code=entity_code)
        found = self._find(asked, generation)
        started = time.perf_counter()
        fetched = await memcached.fetch(places_of(found))
        answered = time.perf_counter()
        self._tally.fetch_seconds.add(answered - started)
        return self._price(found, generation, since=answered, fetched=fetched)

    def _find(self, asked: Iterable[PriceRequest | Reason], generation: Generation) -> list[Segment | Reason]:
        """The segment of each impression, or why it is not priced."""
        if self._max_age_s is not None and self._is_too_old(generation.entity_code):
            return [it if isinstance(it, Reason) else Reason.TOO_OLD for it in asked]
        return [it if isinstance(it, Reason) else find_segment(it, generation=generation) for it in asked]

    def _price(
        self, found: list[Segment | Reason], generation: Generation, *, since: float, fetched: Fetched | None = None
    ) -> list[Price]:
        entity_code = generation.entity_code
        prices = [
            Price(entity_code, it) if isinstance(it, Reason) else price_segment(it, generation, fetched) for it in found
        ]
        self._tally.price_seconds.add(time.perf_counter() - since)
        self._count(prices, entity_code=entity_code)
        return prices

    def _count(self, prices: list[Price], *, entity_code: str) -> None:
        outcomes = self._tally.outcomes
        for price in prices:
            outcomes[entity_code, price.run_id or NO_RUN, price.reason] += 1
            if price.reason is Reason.TABLE_LOST:
                self.refresher.report_lost()
                self._waking.set()

    def _is_too_old(self, entity_code: str) -> bool:
        if self._max_age_s is None:
            return False
        confirmed_at = self.refresher.confirmed.get(entity_code)
        return confirmed_at is not None and time.time() - confirmed_at.timestamp() > self._max_age_s

    def count_reading(self, request: BidRequest) -> None:
        """Count what was odd in a bid request, its privacy signals, and its values that the mapping does not know."""
        counts = self._tally.counts
        for oddity in request.oddities:
            counts["request_oddities", oddity] += 1
        for signal in request.signals:
            counts["privacy_signals", signal] += 1
        if request.unmapped:
            self._unmapped.add(request.unmapped)
            for macro, _ in request.unmapped:
                counts["unmapped_values", macro] += 1

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Close the connections of `fetch_and_price` when the block ends."""
        async with nullcontext() if self.refresher.memcached is None else self.refresher.memcached.reading():
            yield

    def count_unreadable(self, entity_code: str) -> None:
        """Count a request that could not be read; an entity that is not served gets no label of its own."""
        if entity_code in self.refresher.generations:
            self._tally.outcomes[entity_code, NO_RUN, UNREADABLE] += 1

    def write_counts(self) -> None:
        """Write how many impressions had which outcome in this hour; what cannot be written now is written later."""
        report = self.refresher.last_report
        if self._counts is None or (report is not None and CONTROL_PLANE in report.errors):
            return  # it is away: the counts are kept, and nobody waits for it twice
        try:
            with self._counts_lock, self.refresher.waits.on("control plane, for the hourly counts"):
                self._counts.record(self._tally.served_outcomes(), now=datetime.now(UTC))
        except (OptimizerError, SQLAlchemyError) as error:  # no count is worth the refreshes of this thread
            self._tally.counts["count_write_failures",] += 1
            log.warning("the hourly counts were not written, and are kept: %s", error)

    @property
    def is_refresh_due(self) -> bool:
        """Whether the next refresh comes at once, because a key was lost or the service ends."""
        return self._waking.is_set()

    def refresh(self) -> RefreshReport:
        """Refresh now, and count and time it."""
        started = time.perf_counter()
        report = self.refresher.refresh()
        self._tally.counts["refreshes", report.outcome] += 1
        self._refresh_s, self._last_refresh_at = time.perf_counter() - started, time.time()
        if not report.errors:
            self._last_success = datetime.now(UTC)
        return report

    def stop_soon(self) -> None:
        """Say that this process is about to stop: it still bids, and is not ready anymore."""
        self._is_stopping = True

    def count_refused(self, status: str) -> None:
        """Count a request that was refused before any application saw it."""
        self._tally.counts["refused_requests", status] += 1

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

    async def first_refresh(self) -> None:
        """Wait until the first refresh has ended, well or not, or the process is about to stop."""
        while self.refresher.last_report is None and not self._is_stopping:
            await asyncio.sleep(FIRST_REFRESH_TICK_S)

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
        moment, last_success = now(), self._last_success
        status = status_of(
            self.refresher,
            is_too_old=self._is_too_old,
            last_success=last_success,
            interval_s=self._interval_s,
            now=moment,
        )
        return {
            "status": "stopping" if self._is_stopping else status,
            "last_success_at": last_success.isoformat() if last_success else None,
            "unmapped_values": self._unmapped.most_common(),
            **describe_served(self.refresher, is_too_old=self._is_too_old, now=moment),
        }

    def measure(self) -> Measures:
        """Return the metrics at this moment."""
        return Measures.of(self._tally, {**self._measure_refresh(), **measure_served(self.refresher)})

    def _measure_refresh(self) -> dict[tuple[str, ...], float]:
        """The gauges of the last refresh; none before the first: a new worker is not a broken one."""
        if not self._last_refresh_at:
            return {}
        last_success = self._last_success
        return {
            ("last_refresh_timestamp_seconds",): self._last_refresh_at,
            ("refresh_seconds",): self._refresh_s,
            ("last_success_timestamp_seconds",): last_success.timestamp() if last_success else 0.0,
        }

    def _refresh_forever(self) -> None:
        while not self._stopping.is_set():
            self._waking.clear()
            self.refresh()
            self.write_counts()
            jitter = random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret
            self._stopping.wait(min(LEAST_PAUSE_S, self._interval_s))
            self._waking.wait(max(0.0, self._interval_s * jitter - LEAST_PAUSE_S))


def _price_unserved(asked: PriceRequest | Reason, entity_code: str) -> Price:
    if isinstance(asked, Reason):
        return Price(entity_code, asked)
    return Price(entity_code, Reason.NOT_SERVED, floor_cpm=asked.floor_cpm)
