"""Readiness as metrics: gauges of Airflow's own StatsD or OpenTelemetry export, one of each kind an entity."""

from collections.abc import Iterable, Iterator

from airflow.sdk.observability import stats

from optimizer.deployment.readiness import EntityStatus

PREFIX = "optimizer"


def send_gauges(statuses: Iterable[EntityStatus]) -> int:
    """Set the gauges of every entity and return how many there are; Airflow drops them where no export is configured.

    The name has the entity and so has the tag `entity`: plain StatsD has no tags.
    """
    sent = 0
    for status in statuses:
        entity = stats.normalize_name_for_stats(status.entity_code, log_warning=False)
        for name, value in gauges_of(status):
            stats.gauge(f"{PREFIX}.{name}.{entity}", value, tags={"entity": status.entity_code})
            sent += 1
    return sent


def gauges_of(status: EntityStatus) -> Iterator[tuple[str, float]]:
    """Yield name and value: `readiness` (READINESS_CODES), and `win_rate`, `cpm`, `saved` where they are known."""
    yield "readiness", status.readiness.code
    known = {"win_rate": status.live_win_rate, "cpm": status.live_cpm, "saved": status.saved}
    yield from ((name, value) for name, value in known.items() if value is not None)
