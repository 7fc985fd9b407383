"""What the monitor measured, day by day, of many entities in one statement each: for lists and charts."""

from collections import defaultdict
from collections.abc import Collection
from datetime import date

from sqlalchemy import Engine, func, select

from optimizer.control_plane.engine import reading
from optimizer.control_plane.live_rows import LiveDaySums
from optimizer.control_plane.records import status_words
from optimizer.control_plane.registry import CONTROL_TRIGGER
from optimizer.control_plane.tables import live_daily, runs


def read_day_sums(engine: Engine, entity_ids: Collection[int], *, since: date) -> dict[int, list[LiveDaySums]]:
    """Return {entity_id: what all its runs but controls brought on each UTC day}, in the order of the days."""
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
    statement = (
        select(live_daily.c.entity_id, live_daily.c.day, *sums, *money, *by_arrival)
        .join(runs, runs.c.run_id == live_daily.c.run_id)
        .where(live_daily.c.entity_id.in_(list(entity_ids)), live_daily.c.day >= since)
        .where(runs.c.trigger_type != CONTROL_TRIGGER)
        .group_by(live_daily.c.entity_id, live_daily.c.day)
        .order_by(live_daily.c.entity_id, live_daily.c.day)
    )
    found: defaultdict[int, list[LiveDaySums]] = defaultdict(list)
    with reading(engine) as connection:
        for row in connection.execute(statement).mappings():
            found[row["entity_id"]].append(LiveDaySums.model_validate(dict(row)))
    return found


def read_unfinished(engine: Engine, entity_ids: Collection[int]) -> dict[int, str]:
    """Return {entity_id: run_id of its run in progress}, the newest where there are several."""
    is_open = (runs.c.entity_id.in_(list(entity_ids)), runs.c.status.in_(status_words("pending", "running")))
    wanted = select(runs.c.entity_id, runs.c.run_id).where(*is_open).order_by(runs.c.created_at)
    with reading(engine) as connection:
        return {row.entity_id: row.run_id for row in connection.execute(wanted)}
