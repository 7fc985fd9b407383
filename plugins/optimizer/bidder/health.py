"""What a bidder serves, how old it is, and what went wrong last: for GET /health, and as gauges."""

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Any

from optimizer.bidder.copy_keeper import CopyKeeper
from optimizer.bidder.fetching import ServerReader
from optimizer.bidder.generation import Generation
from optimizer.bidder.metrics import Values
from optimizer.bidder.refreshing import Refresher
from optimizer.bidder.waiting import Wait

STALE_INTERVALS = 10
"""Without a refresh that succeeded for that many intervals, health says stale."""


def status_of(
    refresher: Refresher,
    *,
    is_too_old: Callable[[str], bool],
    last_success: datetime | None,
    interval_s: float,
    now: datetime,
) -> str:
    """Return starting, ok, failing, stale or too_old."""
    report = refresher.last_report
    if report is None:
        return "starting"
    if any(map(is_too_old, refresher.generations)):
        return "too_old"
    if not report.errors:
        return "ok"
    is_stale = last_success is None or now - last_success > timedelta(seconds=STALE_INTERVALS * interval_s)
    return "stale" if is_stale else "failing"


def describe_served(refresher: Refresher, *, is_too_old: Callable[[str], bool], now: datetime) -> dict[str, Any]:
    """Return what is served, and how the last refresh went."""
    report, copies = refresher.last_report, refresher.copies
    return {
        "last_refresh": None if report is None else {"at": report.at.isoformat(), "outcome": report.outcome},
        "errors": dict(report.errors) if report else {},
        "not_deployed": list(report.not_deployed) if report else [],
        "waiting_for": _describe_wait(refresher.waits.current, now),
        "local_copy": _describe_copies(copies),
        "memcached": {
            server.name: {"away_since": server.away_since.isoformat() if server.away_since else None}
            for server in memcached_servers(refresher)
        },
        "entities": {
            code: _describe_generation(generation, now)
            | {
                "confirmed_at": confirmed_at.isoformat() if confirmed_at else None,
                "is_from_local_copy": code in copies.served,
                "is_too_old": is_too_old(code),
            }
            for code, generation in refresher.generations.items()
            for confirmed_at in [refresher.confirmed.get(code)]
        },
    }


def measure_served(refresher: Refresher) -> Values:
    """Return the gauges of what is served."""
    copies, confirmed = refresher.copies, refresher.confirmed
    gauges: dict[tuple[str, ...], float] = {("workers",): 1, ("local_copy_errors",): len(copies.errors)}
    gauges |= {("memcached_up", it.name): it.away_since is None for it in memcached_servers(refresher)}
    for code, generation in refresher.generations.items():
        gauges["generations", code] = 1
        gauges["loaded_timestamp_seconds", code] = generation.loaded_at.timestamp()
        gauges["served_from_copy", code] = code in copies.served
        if code in confirmed:
            gauges["confirmed_timestamp_seconds", code] = confirmed[code].timestamp()
        gauges |= {("keys", code, run_id): len(run.bids) for run_id, run in generation.runs.items()}
    return gauges


def memcached_servers(refresher: Refresher) -> Collection[ServerReader]:
    """Return the servers that bids are read from."""
    return () if refresher.memcached is None else refresher.memcached.reader.servers.values()


def _describe_wait(wait: Wait | None, now: datetime) -> dict[str, Any] | None:
    if wait is None:
        return None
    waited_s = round((now - wait.since).total_seconds(), 1)
    return {"what": wait.what, "since": wait.since.isoformat(), "waited_s": waited_s}


def _describe_copies(copies: CopyKeeper) -> dict[str, Any] | None:
    if copies.folder is None:
        return None
    return {"folder": str(copies.folder), "served": sorted(copies.served), "errors": dict(copies.errors)}


def _describe_generation(generation: Generation, now: datetime) -> dict[str, Any]:
    return {
        "generation": generation.fingerprint,
        "loaded_at": generation.loaded_at.isoformat(),
        "age_s": round((now - generation.loaded_at).total_seconds(), 1),
        "runs": {
            run_id: {
                "traffic_pct": generation.percents[run_id],
                "keys": len(run.bids),
                "is_manifest_checked": run.is_manifest_checked,
            }
            for run_id, run in generation.runs.items()
        },
    }
