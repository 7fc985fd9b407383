"""What runs are compared by, read at once for hundreds of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from optimization_tracking.database import Connection, fetch_all
from optimization_tracking.models.base import Answer
from optimization_tracking.models.queries import RunConditions
from optimization_tracking.models.values import Direction, Status
from optimization_tracking.problem_details import not_found
from optimization_tracking.queries import render_query
from optimization_tracking.tables.run_lists import conditions_of

MAX_COMPARED = 200
MAX_CONFIG_BYTES = 20_000
"""As stored, compressed; a longer config is not compared."""


class ComparedRow(Answer):
    """A run beside others. `config` is None where it is too long to be compared."""

    id: UUID
    project_id: str
    run_name: str
    optimizer_type: str
    status: Status
    direction: Direction
    metric: str | None
    initial_score: float | None
    final_score: float | None
    best_score: float | None
    improvement: float | None
    improvement_pct: float | None
    iterations: int
    duration_ms: int | None
    total_cost_usd: float
    created_at: datetime
    config: dict[str, Any] | None


async def read_compared(connection: Connection, run_ids: Sequence[UUID]) -> list[ComparedRow]:
    """Return runs in the order of their ids.

    Raises:
        Refusal: 404 where the caller does not see all of them.
    """
    values = {"ids": list(run_ids), "row_limit": len(run_ids), "max_config_bytes": MAX_CONFIG_BYTES}
    rows = await fetch_all(connection, render_query("compare_runs", whole="ids"), values)
    found = {row["id"]: ComparedRow.model_validate(row) for row in rows}
    if len(found) < len(run_ids):
        raise not_found("run")
    return [found[run_id] for run_id in run_ids]


async def list_compared(connection: Connection, filters: RunConditions, *, project_id: str) -> list[ComparedRow]:
    """Return the newest MAX_COMPARED runs that match."""
    asked, values = await conditions_of(connection, filters, project_id=project_id)
    query = render_query("compare_runs", asked=frozenset(asked), whole="conditions")
    limits = {"row_limit": MAX_COMPARED, "max_config_bytes": MAX_CONFIG_BYTES}
    return [ComparedRow.model_validate(row) for row in await fetch_all(connection, query, values | limits)]
