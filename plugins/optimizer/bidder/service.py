"""The bidder as it runs: prices that are counted and timed, and refreshed in the background."""

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from optimizer.bidder import pricing
from optimizer.bidder.generation import Generation
from optimizer.bidder.pricing import Price, Reason
from optimizer.bidder.refreshing import CONTROL_PLANE, Refresher, RefreshReport
from optimizer.bidder.requests import PriceRequest

DEFAULT_INTERVAL_S = 30.0
"""Between two refreshes."""

JITTER = 0.1
"""Share of the interval by which a pause varies, so that many bidders do not ask all at once."""

LEAST_PAUSE_S = 5.0
"""However much memcached loses, so long passes between two refreshes."""

STALE_INTERVALS = 10
"""Without a refresh that succeeded for that many intervals, health says stale."""

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Metrics:
    """The metrics for Prometheus; `registry` is this bidder's own."""

    registry: CollectorRegistry
    prices: Counter
    seconds: Histogram
    refreshes: Counter
    last_refresh: Gauge
    last_success: Gauge
    refresh_seconds: Gauge
    loaded: Gauge
    keys: Gauge
    refused: Counter

    @classmethod
    def create(cls) -> "Metrics":
        """Return metrics in a registry of their own."""
        registry = CollectorRegistry()

        def make(kind: type, name: str, text: str, labels: tuple[str, ...] = (), **options: Any) -> Any:
            return kind(f"optimizer_bidder_{name}", text, labels, registry=registry, **options)

        buckets = (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 5e-2, 0.1)
        return cls(
            registry=registry,
            prices=make(Counter, "prices_total", "Priced impressions by reason.", ("entity", "reason")),
            seconds=make(Histogram, "price_seconds", "Time of one price.", buckets=buckets),
            refreshes=make(Counter, "refreshes_total", "Refreshes: switched, unchanged or failed.", ("outcome",)),
            last_refresh=make(Gauge, "last_refresh_timestamp_seconds", "When the last refresh ended."),
            last_success=make(Gauge, "last_success_timestamp_seconds", "When the last refresh succeeded."),
            refresh_seconds=make(Gauge, "refresh_seconds", "What the last refresh took."),
            loaded=make(Gauge, "loaded_timestamp_seconds", "When what is served was loaded.", ("entity",)),
            keys=make(Gauge, "keys", "Segments that a served run has bids for.", ("entity", "run_id")),
            refused=make(Counter, "refused_requests_total", "Requests that could not be read.", ("status",)),
        )


class BidderService:
    """Prices requests with what its refresher holds."""

    def __init__(
        self, refresher: Refresher, *, interval_s: float = DEFAULT_INTERVAL_S, is_remote: bool = False
    ) -> None:
        """Nothing runs before `running`; `is_remote` says that a price waits for another machine."""
        self.refresher, self.metrics, self.is_remote = refresher, Metrics.create(), is_remote
        self._interval_s, self._stopping, self._waking = interval_s, threading.Event(), threading.Event()
        self._last_success: datetime | None = None

    def price(self, request: PriceRequest, *, entity_code: str) -> Price:
        """Return the price of one impression."""
        return self.price_all([request], entity_code=entity_code)[0]

    def price_all(self, asked: Iterable[PriceRequest | Reason], *, entity_code: str) -> list[Price]:
        """Return the prices of one bid request's impressions, all of one generation, even during a refresh.

        Args:
            asked: for each impression what is asked, or why it is not to be priced.
        """
        generation = self.refresher.generations.get(entity_code)
        return [self._price(it, entity_code=entity_code, generation=generation) for it in asked]

    @property
    def is_refresh_due(self) -> bool:
        """Whether the next refresh comes at once, because a key was lost or the service ends."""
        return self._waking.is_set()

    def _price(self, asked: PriceRequest | Reason, *, entity_code: str, generation: Generation | None) -> Price:
        started = time.perf_counter()
        if isinstance(asked, Reason):
            price = Price(entity_code, asked)
        elif generation is None:
            price = Price(entity_code, Reason.NOT_SERVED, floor_cpm=asked.floor_cpm)
        else:
            price = pricing.price(asked, generation=generation)
        if price.reason is Reason.TABLE_LOST:
            self.refresher.report_lost()
            self._waking.set()
        self.metrics.seconds.observe(time.perf_counter() - started)
        # An unknown entity gets no label: a caller could make up any number of them.
        self.metrics.prices.labels(UNKNOWN if generation is None else entity_code, price.reason).inc()
        return price

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
        metrics.keys.clear()
        metrics.loaded.clear()
        for code, generation in self.refresher.generations.items():
            metrics.loaded.labels(code).set(generation.loaded_at.timestamp())
            for run_id, run in generation.runs.items():
                metrics.keys.labels(code, run_id).set(len(run.bids))
        return report

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Refresh now and every interval, in a thread, until the block ends."""
        self._stopping.clear()
        thread = threading.Thread(target=self._refresh_forever, name="bidder-refresh", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._stopping.set()
            self._waking.set()
            thread.join()
            self.refresher.close()

    def is_ready(self) -> bool:
        """Return whether every entity that should be served is: at least one, and none whose first load failed."""
        report = self.refresher.last_report
        served = {*self.refresher.generations, CONTROL_PLANE}  # a silent database takes nothing from what is served
        return bool(self.refresher.generations) and not (set(report.errors if report else ()) - served)

    def health(self, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> dict[str, Any]:
        """Return what is served, how old it is and what went wrong last, as JSON's types."""
        report, generations, moment = self.refresher.last_report, self.refresher.generations, now()
        return {
            "status": self._status(moment),
            "last_refresh": None if report is None else {"at": report.at.isoformat(), "outcome": report.outcome},
            "last_success_at": self._last_success.isoformat() if self._last_success else None,
            "errors": dict(report.errors) if report else {},
            "not_deployed": list(report.not_deployed) if report else [],
            "entities": {
                code: {
                    "generation": generation.fingerprint,
                    "loaded_at": generation.loaded_at.isoformat(),
                    "age_s": round((moment - generation.loaded_at).total_seconds(), 1),
                    "runs": {
                        run_id: {"traffic_pct": generation.percents[run_id], "keys": len(run.bids)}
                        for run_id, run in generation.runs.items()
                    },
                }
                for code, generation in generations.items()
            },
        }

    def _status(self, moment: datetime) -> str:
        report = self.refresher.last_report
        if report is None:
            return "starting"
        if not report.errors:
            return "ok"
        stale_after = timedelta(seconds=STALE_INTERVALS * self._interval_s)
        is_stale = self._last_success is None or moment - self._last_success > stale_after
        return "stale" if is_stale else "failing"

    def _refresh_forever(self) -> None:
        while not self._stopping.is_set():
            self._waking.clear()
            self.refresh()
            jitter = random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret
            self._stopping.wait(min(LEAST_PAUSE_S, self._interval_s))
            self._waking.wait(max(0.0, self._interval_s * jitter - LEAST_PAUSE_S))
