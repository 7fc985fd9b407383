"""What a bidder measures of itself, for Prometheus."""

from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


@dataclass(frozen=True, slots=True)
class Metrics:
    """The metrics for Prometheus; `registry` is this bidder's own."""

    registry: CollectorRegistry
    prices: Counter
    seconds: Histogram
    fetch_seconds: Histogram
    memcached_up: Gauge
    refreshes: Counter
    last_refresh: Gauge
    last_success: Gauge
    refresh_seconds: Gauge
    loaded: Gauge
    keys: Gauge
    confirmed: Gauge
    from_copy: Gauge
    copy_errors: Gauge
    refused: Counter
    unreadable: Counter
    count_failures: Counter
    oddities: Counter
    privacy_signals: Counter
    unmapped: Counter

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
            fetch_seconds=make(
                Histogram, "fetch_seconds", "Time until memcached has answered for one bid request.", buckets=buckets
            ),
            memcached_up=make(Gauge, "memcached_up", "1 while the server answers prices, else 0.", ("server",)),
            refreshes=make(Counter, "refreshes_total", "Refreshes: switched, unchanged or failed.", ("outcome",)),
            last_refresh=make(Gauge, "last_refresh_timestamp_seconds", "When the last refresh ended."),
            last_success=make(Gauge, "last_success_timestamp_seconds", "When the last refresh succeeded."),
            refresh_seconds=make(Gauge, "refresh_seconds", "What the last refresh took."),
            loaded=make(Gauge, "loaded_timestamp_seconds", "When what is served was loaded.", ("entity",)),
            keys=make(Gauge, "keys", "Segments that a served run has bids for.", ("entity", "run_id")),
            confirmed=make(
                Gauge,
                "confirmed_timestamp_seconds",
                "When what is served was last found to be what is deployed.",
                ("entity",),
            ),
            from_copy=make(
                Gauge, "served_from_copy", "1 while the entity is served from its local copy, else 0.", ("entity",)
            ),
            copy_errors=make(Gauge, "local_copy_errors", "Entities whose local copy could not be written or read."),
            refused=make(Counter, "refused_requests_total", "Requests that could not be read.", ("status",)),
            unreadable=make(
                Counter, "unreadable_requests_total", "Requests of a served entity that could not be read.", ("entity",)
            ),
            count_failures=make(
                Counter, "count_write_failures_total", "Times that the hourly counts could not be written."
            ),
            oddities=make(
                Counter, "request_oddities_total", "Deviations from OpenRTB that were read anyway.", ("kind",)
            ),
            privacy_signals=make(Counter, "privacy_signals_total", "Bid requests with a privacy signal.", ("signal",)),
            unmapped=make(
                Counter, "unmapped_values_total", "Values that openrtb.toml does not list, by macro.", ("macro",)
            ),
        )
