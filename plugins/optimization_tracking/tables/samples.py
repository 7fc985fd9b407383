"""Samples: added in batches, and read by iteration and index."""

from typing import Any
from uuid import UUID

from optimization_tracking.auth import Caller
from optimization_tracking.cursors import read_cursor, write_cursor
from optimization_tracking.database import Connection, Row, fetch_all, fetch_one
from optimization_tracking.models.answers import Pagination
from optimization_tracking.models.queries import SamplePage
from optimization_tracking.models.samples import CreateSamples, Sample
from optimization_tracking.problem_details import Refusal, not_found, unavailable
from optimization_tracking.queries import render_query
from optimization_tracking.tables.pages import MAX_ANSWER_BYTES, cut

MAX_COUNTED = 100_000
"""Samples of one iteration; more are not counted."""

MAX_NAMED = 50
"""Samples that a refusal names."""

_ORDER = "sample.asc"


async def add(
    connection: Connection, given: CreateSamples, *, run_id: UUID, caller: Caller, returning: bool
) -> list[Sample]:
    """Write samples of a run's iterations, and return them in order, as many as fit into an answer.

    Args:
        connection: where no transaction was begun, this is one of its own.
        returning: False returns none.

    Raises:
        ForeignKeyViolation: the caller sees no such run, or it lacks an iteration; `why_refused` says which.
    """
    values = {**given.columns, **caller.acting, "run_id": run_id, "max_bytes": MAX_ANSWER_BYTES}
    query = render_query("insert_samples", asked=frozenset({"cut"} if returning else ()))
    rows = await fetch_all(connection, query, values)
    return [Sample.model_validate(row) for row in rows if returning]


async def why_refused(connection: Connection, given: CreateSamples, *, run_id: UUID) -> Refusal:
    """Return why `add` failed: 404 where the caller sees no such run, 422 where it lacks an iteration."""
    if await fetch_one(connection, render_query("run_status"), {"run_id": run_id}) is None:
        return not_found("run")
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
    if not errors:
        return unavailable("an iteration of the samples was added just now; send them again")
    detail = f"{len(errors)} samples belong to no iteration of the run; none was written"
    return Refusal(422, detail, errors=errors[:MAX_NAMED])


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
