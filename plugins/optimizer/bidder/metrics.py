"""What a bidder measures of itself, for Prometheus."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Literal, NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from optimizer.bidder.reasons import UNREADABLE
from optimizer.bidder.tally import BOUNDS_S, Durations, Tally

PREFIX = "optimizer_bidder_"

UNKNOWN = "unknown"
"""The label of entities that are not served."""


class Described(NamedTuple):
    """A metric's type, meaning and labels, and what its values in several processes are together."""

    kind: Literal["counter", "gauge", "histogram"]
    text: str
    labels: tuple[str, ...] = ()
    combine: Callable[[Iterable[float]], float] = sum


METRICS: Mapping[str, Described] = {
    "prices": Described("counter", "Priced impressions by reason.", ("entity", "reason")),
    "price_seconds": Described("histogram", "Time of the prices of one bid request."),
    "fetch_seconds": Described("histogram", "Time until memcached has answered for one bid request."),
    "memcached_up": Described("gauge", "1 while the server answers prices, else 0.", ("server",), min),
    "refreshes": Described("counter", "Refreshes: switched, unchanged or failed.", ("outcome",)),
    "last_refresh_timestamp_seconds": Described("gauge", "When the last refresh ended.", combine=min),
    "last_success_timestamp_seconds": Described("gauge", "When the last refresh succeeded.", combine=min),
    "refresh_seconds": Described("gauge", "What the last refresh took.", combine=max),
    "loaded_timestamp_seconds": Described("gauge", "When what is served was loaded.", ("entity",), min),
    "keys": Described("gauge", "Segments that a served run has bids for.", ("entity", "run_id"), max),
    "confirmed_timestamp_seconds": Described(
        "gauge", "When what is served was last found to be what is deployed.", ("entity",), min
    ),
    "served_from_copy": Described(
        "gauge", "1 while the entity is served from its local copy, else 0.", ("entity",), max
    ),
    "local_copy_errors": Described("gauge", "Entities whose local copy could not be written or read.", combine=max),
    "workers": Described("gauge", "Processes that answer on the port."),
    "generations": Described(
        "gauge",
        "Different generations that the workers serve; above 1 during a refresh.",
        ("entity",),
        max,
    ),
    "refused_requests": Described("counter", "Requests that could not be read.", ("status",)),
    "unreadable_requests": Described("counter", "Requests of a served entity that could not be read.", ("entity",)),
    "count_write_failures": Described("counter", "Times that the hourly counts could not be written."),
    "request_oddities": Described("counter", "Deviations from OpenRTB that were read anyway.", ("kind",)),
    "privacy_signals": Described("counter", "Bid requests with a privacy signal.", ("signal",)),
    "unmapped_values": Described("counter", "Values that openrtb.toml does not list, by macro.", ("macro",)),
}
"""{name without PREFIX, and without the _total of counters: description}."""

DURATIONS = tuple(name for name, described in METRICS.items() if described.kind == "histogram")

Values = Mapping[tuple[str, ...], float]
"""{(metric, *values of its labels): value}."""


class Measures(NamedTuple):
    """The values of all metrics at a moment; durations by metric."""

    numbers: Values
    durations: Mapping[str, Durations]

    @classmethod
    def of(cls, tally: Tally, gauges: Values) -> "Measures":
        """Return the measures of one process."""
        durations = {"price_seconds": tally.price_seconds, "fetch_seconds": tally.fetch_seconds}
        return cls({**gauges, **tally.counts, **_by_reason(tally)}, durations)

    @classmethod
    def combine(cls, parts: Sequence["Measures"]) -> "Measures":
        """Return the measures of several processes together: sums of what is counted, and the worst of each gauge."""
        found: defaultdict[tuple[str, ...], list[float]] = defaultdict(list)
        for part in parts:
            for key, value in part.numbers.items():
                found[key].append(value)
        numbers = {key: METRICS[key[0]].combine(values) for key, values in found.items()}
        return cls(numbers, {name: Durations.total(it.durations[name] for it in parts) for name in DURATIONS})

    def counted(self) -> "Measures":
        """Return these measures without gauges, which hold for a moment only."""
        numbers = {key: value for key, value in self.numbers.items() if METRICS[key[0]].kind == "counter"}
        return Measures(numbers, self.durations)


class BidderCollector(Collector):
    """Exports what `measure` returns at each scrape."""

    def __init__(self, measure: Callable[[], Measures]) -> None:
        self._measure = measure

    def describe(self) -> Iterator[Any]:
        """Return nothing: what is exported is made at a scrape."""
        return iter(())

    def collect(self) -> Iterator[Any]:
        """Return all metrics, those without labels also before they are first counted."""
        numbers, durations = self._measure()
        for name, described in METRICS.items():
            if described.kind == "histogram":
                yield _histogram(name, described, durations[name])
                continue
            family = CounterMetricFamily if described.kind == "counter" else GaugeMetricFamily
            metric = family(PREFIX + name, described.text, labels=described.labels)
            found = {key[1:]: value for key, value in numbers.items() if key[0] == name}
            for labels, value in (found if described.labels else {(): 0.0, **found}).items():
                metric.add_metric(labels, value)
            yield metric


def make_registry(measure: Callable[[], Measures]) -> CollectorRegistry:
    """Return a registry with the metrics of one bidder."""
    registry = CollectorRegistry()
    registry.register(BidderCollector(measure))
    return registry


def _by_reason(tally: Tally) -> Values:
    """The prices and unreadable requests of all runs together."""
    found: Counter[tuple[str, ...]] = Counter()
    for (entity_code, _, outcome), number in dict(tally.outcomes).items():
        entity = entity_code or UNKNOWN
        key = ("unreadable_requests", entity) if outcome == UNREADABLE else ("prices", entity, str(outcome))
        found[key] += number
    return found


def _histogram(name: str, described: Described, durations: Durations) -> HistogramMetricFamily:
    bounds = [*map(str, BOUNDS_S), "+Inf"]
    buckets = list(zip(bounds, map(float, accumulate(durations.buckets)), strict=True))
    return HistogramMetricFamily(PREFIX + name, described.text, buckets=buckets, sum_value=durations.sum_s)
