"""Iterations: added one by one or in batches, and read in their order."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter

from optimization_tracking.cursors import read_cursor, write_cursor
from optimization_tracking.database import Connection, fetch_all, fetch_one
from optimization_tracking.models.answers import Pagination
from optimization_tracking.models.iterations import CreateIteration, Iteration
from optimization_tracking.models.queries import IterationPage
from optimization_tracking.problem_details import not_found
from optimization_tracking.queries import render_query

_ORDER = "iteration.asc"
_batch = TypeAdapter(list[CreateIteration])


async def add(
    connection: Connection, given: Sequence[CreateIteration], *, run_id: UUID, returning: bool = True
) -> list[Iteration]:
    """Write iterations of a run, and return them by their number; nothing if `returning` is False.

    Raises:
        Refusal: 404 where the caller sees no such run.
    """
    values = {"run_id": run_id, "rows": _batch.dump_json(list(given)).decode()}
    query = render_query("insert_iterations", asked=frozenset({"returning"} if returning else ()))
    if not returning:
        done = await connection.execute(query, values)
        if not done.rowcount:
            raise not_found("run")
        return []
    rows = await fetch_all(connection, query, values)
    best = await fetch_one(connection, render_query("best_iteration"), {"run_id": run_id})
    if not rows or best is None:
        raise not_found("run")
    for row in rows:
        row["is_best"] = row["iteration"] == best["best_iteration"]
    return [Iteration.model_validate(row) for row in sorted(rows, key=lambda row: row["iteration"])]


async def read(connection: Connection, run_id: UUID, iteration: int) -> Iteration:
    """Return one iteration.

    Raises:
        Refusal: 404 where there is none.
    """
    values = {"run_id": run_id, "iteration": iteration, "row_limit": 1, "row_offset": 0}
    row = await fetch_one(connection, render_query("list_iterations", asked=frozenset({"one"})), values)
    if row is None:
        raise not_found("iteration")
    return Iteration.model_validate(row)


async def list_page(connection: Connection, run_id: UUID, page: IterationPage) -> tuple[list[Iteration], Pagination]:
    """Return a page of a run's iterations; 404 as `add`."""
    counted = await fetch_one(connection, render_query("count_iterations"), {"run_id": run_id})
    if counted is None:
        raise not_found("run")
    values: dict[str, Any] = {"run_id": run_id, "row_limit": page.limit + 1, "row_offset": page.offset}
    asked = set()
    if page.cursor is not None:
        (values["after_iteration"],) = read_cursor(page.cursor, order=_ORDER, kinds=(int,))
        asked.add("after")
    rows = await fetch_all(connection, render_query("list_iterations", asked=frozenset(asked)), values)
    has_more = len(rows) > page.limit
    cursor = write_cursor(_ORDER, [rows[page.limit - 1]["iteration"]]) if has_more else None
    pagination = Pagination(
        total=counted["total"], limit=page.limit, offset=page.offset, has_more=has_more, next_cursor=cursor
    )
    return [Iteration.model_validate(row) for row in rows[: page.limit]], pagination


async def list_first(connection: Connection, run_ids: Sequence[UUID], *, limit: int) -> dict[UUID, list[Iteration]]:
    """Return the first iterations of each run."""
    values = {"run_ids": list(run_ids), "row_limit": limit}
    found: dict[UUID, list[Iteration]] = {run_id: [] for run_id in run_ids}
    for row in await fetch_all(connection, render_query("list_run_iterations"), values):
        found[row["run_id"]].append(Iteration.model_validate(row))
    return found
