"""A run's history, thinned to what a chart can show."""

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from optimization_tracking.database import Connection, fetch_all
from optimization_tracking.queries import render_query

MAX_POINTS = 2000


class HistoryPoint(BaseModel):
    """An iteration in a chart. `best_score` is the best up to it, None before the first score."""

    model_config = ConfigDict(frozen=True)

    iteration: int
    score: float | None
    best_score: float | None
    params: dict[str, Any]


async def read_history(connection: Connection, run_id: UUID, *, max_points: int = MAX_POINTS) -> list[HistoryPoint]:
    """Return a run's iterations by number, thinned to about `max_points` where there are more.

    They are thinned evenly; the new best ones all stay, unless they alone are more than that.
    """
    values = {"run_id": run_id, "max_points": max_points}
    return [
        HistoryPoint.model_validate(row) for row in await fetch_all(connection, render_query("run_history"), values)
    ]
