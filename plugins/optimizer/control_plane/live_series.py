"""What the monitor measured, day by day, of many entities in one statement each: for lists and charts."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, Double, Engine, Select, cast, func, select, tuple_

from optimizer.control_plane.engine import reading
from optimizer.control_plane.live_rows import LiveDaySums
from optimizer.control_plane.records import status_words
from optimizer.control_plane.registry import CONTROL_TRIGGER
from optimizer.control_plane.tables import live_daily, runs


def read_day_sums(engine: Engine, entity_ids: Collection[int], *, since: date) -> dict[int, list[LiveDaySums]]:
    """Return {entity_id: what all its runs but controls brought on each UTC day}, in the order of the days."""
    return _read_sums(engine, live_daily.c.entity_id.in_(list(entity_ids)), live_daily.c.day >= since)


def read_sums_of(engine: Engine, days: Mapping[int, date]) -> dict[int, LiveDaySums]:
    """Return {entity_id: what all its runs but controls brought on its one day}, of {entity_id: that day}."""
    is_day = tuple_(live_daily.c.entity_id, live_daily.c.day).in_(list(days.items()))
    return {entity_id: sums for entity_id, (sums,) in _read_sums(engine, is_day).items()}


def read_win_rates(engine: Engine, entity_ids: Collection[int], *, since: date) -> dict[int, dict[date, float | None]]:
    """Return {entity_id: {measured UTC day: win rate of all its runs but controls}}, in the order of the days."""
    is_wanted = (live_daily.c.entity_id.in_(list(entity_ids)), live_daily.c.day >= since)
    bids = func.sum(live_daily.c.bids)
    statement = _by_day(cast(func.sum(live_daily.c.wins), Double) / func.nullif(bids, 0)).where(*is_wanted)
    found: defaultdict[int, dict[date, float | None]] = defaultdict(dict)
    with reading(engine) as connection:
        for entity_id, day, win_rate in connection.execute(statement):
            found[entity_id][day] = win_rate
    return found


def _read_sums(engine: Engine, *wanted: ColumnElement[bool]) -> dict[int, list[LiveDaySums]]:
    sums = [func.sum(live_daily.c[name]).label(name) for name in ("bids", "wins", "clicks")]
    money = [func.sum(live_daily.c[name]).label(name) for name in ("spend", "view_revenue", "click_revenue")]
    arrived = func.coalesce(live_daily.c.click_maturity, 1.0)
    by_arrival = [
        func.sum(live_daily.c[name] * arrived).label(label)
        for name, label in (
            ("wins", "click_views"),
            ("spend", "clicked_spend"),
            ("view_revenue", "clicked_view_revenue"),
        )
    ]
    statement = _by_day(*sums, *money, *by_arrival).where(*wanted)
    found: defaultdict[int, list[LiveDaySums]] = defaultdict(list)
    with reading(engine) as connection:
        for row in connection.execute(statement).mappings():
            found[row["entity_id"]].append(LiveDaySums.model_validate(dict(row)))
    return found


def _by_day(*sums: ColumnElement[Any]) -> Select[Any]:
    """Sums of all runs but controls, a row for each entity and day."""
    return (
        select(live_daily.c.entity_id, live_daily.c.day, *sums)
        .join(runs, runs.c.run_id == live_daily.c.run_id)
        .where(runs.c.trigger_type != CONTROL_TRIGGER)
        .group_by(live_daily.c.entity_id, live_daily.c.day)
        .order_by(live_daily.c.entity_id, live_daily.c.day)
    )


def read_unfinished(engine: Engine, entity_ids: Collection[int]) -> dict[int, str]:
    """Return {entity_id: run_id of its run in progress}, the newest where there are several."""
    is_open = (runs.c.entity_id.in_(list(entity_ids)), runs.c.status.in_(status_words("pending", "running")))
    wanted = select(runs.c.entity_id, runs.c.run_id).where(*is_open).order_by(runs.c.created_at)
    with reading(engine) as connection:
        return {row.entity_id: row.run_id for row in connection.execute(wanted)}
