"""Samples: added in batches, and read by iteration and index."""

from typing import Any
from uuid import UUID

from optimization_tracking.cursors import read_cursor, write_cursor
from optimization_tracking.database import Connection, Row, fetch_all, fetch_one
from optimization_tracking.models.answers import Pagination
from optimization_tracking.models.queries import SamplePage
from optimization_tracking.models.samples import CreateSamples, Sample
from optimization_tracking.problem_details import Refusal, not_found
from optimization_tracking.queries import render_query
from optimization_tracking.tables.pages import MAX_ANSWER_BYTES, cut

MAX_COUNTED = 100_000
"""Samples of one iteration; more are not counted."""

MAX_NAMED = 50
"""Samples that a refusal names."""

_ORDER = "sample.asc"


async def add(connection: Connection, given: CreateSamples, *, run_id: UUID, returning: bool = True) -> list[Sample]:
    """Write samples of a run's iterations, and return them in order, as many as fit into an answer.

    Args:
        returning: False returns none.

    Raises:
        Refusal: 404 where the caller sees no such run; 422 where the run lacks an iteration.
    """
    values = {**given.columns, "run_id": run_id, "max_bytes": MAX_ANSWER_BYTES}
    if not returning:
        done = await connection.execute(render_query("insert_samples"), values)
        if done.rowcount != len(given):
            await _explain_missing(connection, given, run_id=run_id)
        return []
    rows = await fetch_all(connection, render_query("insert_samples", asked=frozenset({"returning"})), values)
    if not rows or rows[0]["found"] != len(given):
        await _explain_missing(connection, given, run_id=run_id)
    return [Sample.model_validate(row) for row in rows]


async def list_page(connection: Connection, run_id: UUID, page: SamplePage) -> tuple[list[Sample], Pagination]:
    """Return a page of a run's samples.

    Raises:
        Refusal: 404 where the caller sees no such run.
    """
    counts = await fetch_one(connection, render_query("run_counts"), {"run_id": run_id})
    if counts is None:
        raise not_found("run")
    conditions = {"iteration": page.iteration, "is_correct": page.is_correct}
    asked = {name for name, value in conditions.items() if value is not None}
    values: dict[str, Any] = conditions | {"run_id": run_id, "row_limit": page.limit + 1, "row_offset": page.offset}
    values["max_bytes"] = MAX_ANSWER_BYTES
    following, total = set(), None
    if page.cursor is not None:
        place = read_cursor(page.cursor, order=_ORDER, kinds=(int, int, (int, type(None))))
        values["after_iteration"], values["after_index"], total = place
        following = {"after"}
    rows = await fetch_all(connection, render_query("list_samples", asked=frozenset(asked | following)), values)
    if page.cursor is None:
        total = await _count(connection, page, values, counts=counts)
    found, has_more = cut(rows, limit=page.limit)
    place = [found[-1]["iteration"], found[-1]["sample_index"], total] if has_more else []
    cursor = write_cursor(_ORDER, place) if has_more else None
    pagination = Pagination(total=total, limit=page.limit, offset=page.offset, has_more=has_more, next_cursor=cursor)
    return [Sample.model_validate(row) for row in found], pagination


async def _count(connection: Connection, page: SamplePage, values: dict[str, Any], *, counts: Row) -> int | None:
    """Return how many samples match: of a whole run as it has counted them; None for very many of one iteration."""
    if page.iteration is None:
        name = {None: "samples_stored", True: "correct_samples", False: "wrong_samples"}[page.is_correct]
        return int(counts[name])
    asked = frozenset({"iteration"} if page.is_correct is None else {"iteration", "is_correct"})
    row = await fetch_one(connection, render_query("count_samples", asked=asked), values | {"row_cap": MAX_COUNTED + 1})
    return row["count"] if row and row["count"] <= MAX_COUNTED else None


async def _explain_missing(connection: Connection, given: CreateSamples, *, run_id: UUID) -> None:
    if await fetch_one(connection, render_query("run_status"), {"run_id": run_id}) is None:
        raise not_found("run")
    places = given.places
    numbers = sorted({iteration for iteration, _ in places})
    rows = await fetch_all(connection, render_query("known_iterations"), {"run_id": run_id, "numbers": numbers})
    known = {row["iteration"]: row["id"] for row in rows}
    errors = []
    for index, (iteration, iteration_id) in enumerate(places):
        if iteration not in known:
            errors.append((f"samples.{index}.iteration", f"the run has no iteration {iteration}; send it first"))
        elif iteration_id not in (None, known[iteration]):
            errors.append((f"samples.{index}.iterationId", f"is not the id of the run's iteration {iteration}"))
    detail = f"{len(errors)} samples belong to no iteration of the run; none was written"
    raise Refusal(422, detail, errors=errors[:MAX_NAMED])
