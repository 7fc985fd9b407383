"""A run's history, thinned to what a chart can show."""

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from optimization_tracking.database import Connection, fetch_all, fetch_one
from optimization_tracking.queries import render_query

MAX_POINTS = 2000
MAX_PARAMS_BYTES = 1024 * 1024
"""Of all params of a history; the iterations beyond have none."""


class HistoryPoint(BaseModel):
    """An iteration in a chart. `best_score` is the best up to it, None before the first score."""

    model_config = ConfigDict(frozen=True)

    iteration: int
    score: float | None
    best_score: float | None
    params: dict[str, Any] | None = None


async def read_history(
    connection: Connection, run_id: UUID, *, max_points: int = MAX_POINTS, has_params: bool = True
) -> list[HistoryPoint]:
    """Return a run's iterations by number, thinned to about `max_points` where there are more.

    Each of `max_points` / 2 equal parts keeps its best and its worst score. The last iteration stays, and so do the new
    best ones, unless they alone are more than `max_points`.

    Args:
        has_params: False leaves the params out; long ones are left out in any case.
    """
    known = await fetch_one(connection, render_query("run_range_size"), {"run_id": run_id})
    asked = {"ranges"} if known and known["range_size"] is not None else set()
    query = render_query("run_history", asked=frozenset(asked | ({"params"} if has_params else set())))
    values = {"run_id": run_id, "max_points": max_points, "max_bytes": MAX_PARAMS_BYTES}
    return [HistoryPoint.model_validate(row) for row in await fetch_all(connection, query, values)]
