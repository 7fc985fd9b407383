"""Iterations: added one by one or in batches, and read in their order."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from optimization_tracking.auth import Caller
from optimization_tracking.cursors import read_cursor, write_cursor
from optimization_tracking.database import Connection, Row, fetch_all, fetch_one
from optimization_tracking.models.answers import Pagination
from optimization_tracking.models.batches import SpelledColumns, spell_row
from optimization_tracking.models.iterations import CreateIteration, CreateIterations, Iteration
from optimization_tracking.models.queries import IterationPage
from optimization_tracking.models.runs import Run, RunWithIterations
from optimization_tracking.problem_details import not_found
from optimization_tracking.queries import render_query
from optimization_tracking.tables.pages import MAX_ANSWER_BYTES, cut

_ORDER = "iteration.asc"


async def add(connection: Connection, iteration: CreateIteration, *, run_id: UUID, caller: Caller) -> Iteration:
    """Write an iteration of a run, and return it; connection and errors as `add_many`."""
    (row,) = await _insert(connection, spell_row(iteration), {"rows"}, run_id=run_id, caller=caller)
    return Iteration.model_validate(row)


async def add_many(
    connection: Connection, batch: CreateIterations, *, run_id: UUID, caller: Caller, returning: bool
) -> list[Iteration]:
    """Write iterations of a run, and return them by their number, as many as fit into an answer.

    Args:
        connection: where no transaction was begun, this is one of its own.
        returning: False returns none.

    Raises:
        ForeignKeyViolation: the caller sees no such run.
    """
    rows = await _insert(connection, batch.columns, {"cut"} if returning else set(), run_id=run_id, caller=caller)
    return [Iteration.model_validate(row) for row in rows if returning]


async def read(connection: Connection, run_id: UUID, iteration: int) -> Iteration:
    """Return one iteration.

    Raises:
        Refusal: 404 where there is none.
    """
    values = {"run_id": run_id, "iteration": iteration, "row_limit": 1, "row_offset": 0, "max_bytes": 0}
    row = await fetch_one(connection, render_query("list_iterations", asked=frozenset({"one"})), values)
    if row is None:
        raise not_found("iteration")
    return Iteration.model_validate(row)


async def list_page(connection: Connection, run_id: UUID, page: IterationPage) -> tuple[list[Iteration], Pagination]:
    """Return a page of a run's iterations; 404 as `add`."""
    counts = await fetch_one(connection, render_query("run_counts"), {"run_id": run_id})
    if counts is None:
        raise not_found("run")
    values: dict[str, Any] = {"run_id": run_id, "row_limit": page.limit + 1, "row_offset": page.offset}
    values["max_bytes"] = MAX_ANSWER_BYTES
    asked = set()
    if page.cursor is not None:
        (values["after_iteration"],) = read_cursor(page.cursor, order=_ORDER, kinds=(int,))
        asked.add("after")
    rows = await fetch_all(connection, render_query("list_iterations", asked=frozenset(asked)), values)
    found, has_more = cut(rows, limit=page.limit)
    pagination = Pagination(
        total=counts["iterations_stored"],
        limit=page.limit,
        offset=page.offset,
        has_more=has_more,
        next_cursor=_cursor_after(found[-1]["iteration"]) if has_more else None,
    )
    return [Iteration.model_validate(row) for row in found], pagination


async def with_first(connection: Connection, runs: Sequence[Run], *, limit: int) -> list[RunWithIterations]:
    """Return the runs with the first iterations of each, as many as fit into what the runs leave of an answer."""
    left_bytes = max(0, MAX_ANSWER_BYTES - sum(len(run.model_dump_json()) for run in runs))
    values = {"run_ids": [run.id for run in runs], "row_limit": limit, "max_bytes": left_bytes}
    found: dict[UUID, list[Iteration]] = {run.id: [] for run in runs}
    for row in await fetch_all(connection, render_query("list_run_iterations"), values):
        found[row["run_id"]].append(Iteration.model_validate(row))
    return [_with(run, found[run.id]) for run in runs]


async def _insert(
    connection: Connection, columns: SpelledColumns, asked: set[str], *, run_id: UUID, caller: Caller
) -> list[Row]:
    values = {**columns, **caller.acting, "run_id": run_id, "max_bytes": MAX_ANSWER_BYTES}
    return await fetch_all(connection, render_query("insert_iterations", asked=frozenset(asked)), values)


def _with(run: Run, listed: list[Iteration]) -> RunWithIterations:
    has_more = len(listed) < run.iterations_stored
    cursor = _cursor_after(listed[-1].iteration if listed else -1) if has_more else None
    return RunWithIterations(**dict(run) | {"iteration_list": listed, "iteration_cursor": cursor})


def _cursor_after(iteration: int) -> str:
    return write_cursor(_ORDER, [iteration])
