"""Lists of runs: filtered, ordered, page by page."""

from datetime import datetime
from typing import Any
from uuid import UUID

from optimization_tracking.cursors import read_cursor, write_cursor, wrong_cursor
from optimization_tracking.database import Connection, Row, fetch_all, fetch_one
from optimization_tracking.models.answers import Pagination
from optimization_tracking.models.queries import RunConditions, RunFilters
from optimization_tracking.models.runs import RunWithIterations
from optimization_tracking.problem_details import invalid
from optimization_tracking.queries import render_query
from optimization_tracking.tables.pages import MAX_ANSWER_BYTES, cut
from optimization_tracking.tables.runs import as_json

MAX_FOUND = 2000
"""Runs that contain a config, metadata or tags, or a text in their name: that many are looked up by id; where there are
more, the list's own order finds a page of them sooner."""

_NUMBER = (int, float)
_CONTAINED = ("config", "metadata", "tags")


async def list_page(
    connection: Connection, filters: RunFilters, *, project_id: str
) -> tuple[list[RunWithIterations], Pagination]:
    """Return a page of the project's runs, and where it stands."""
    asked, values = await conditions_of(connection, filters, project_id=project_id)
    order = f"{filters.order_by}.{filters.order_direction}"
    place, known_total = _place(filters, order)
    values |= place | {"row_limit": filters.limit + 1, "row_offset": filters.offset, "max_bytes": MAX_ANSWER_BYTES}
    way = filters.order_direction.upper()
    query = render_query("list_runs", asked=frozenset(asked | _following(place)), column=filters.order_by, way=way)
    rows = await fetch_all(connection, query, values)
    total = known_total
    if total is None and filters.include_total:
        total = await _count(connection, asked, values)
    page, has_more = cut(rows, limit=filters.limit)
    cursor = write_cursor(order, _place_of(page[-1], filters.order_by, total)) if has_more else None
    pagination = Pagination(
        total=total, limit=filters.limit, offset=filters.offset, has_more=has_more, next_cursor=cursor
    )
    return [RunWithIterations.model_validate(row) for row in page], pagination


async def list_top(
    connection: Connection, filters: RunFilters, *, project_id: str
) -> tuple[list[RunWithIterations], Pagination]:
    """Return a page of the best completed runs of one direction, best first, and where it stands.

    Where no direction is asked for, it is maximize, or minimize where no run that matches maximizes.
    """
    asked, values = await conditions_of(connection, filters, project_id=project_id)
    values |= {"row_limit": filters.limit + 1, "max_bytes": MAX_ANSWER_BYTES}
    directions = (filters.direction,) if filters.direction else ("maximize", "minimize")
    if filters.cursor is not None:
        direction, values["after_score"], run_id = read_cursor(filters.cursor, order="top", kinds=(str, _NUMBER, str))
        if direction not in directions:
            raise invalid("cursor", "belongs to the other direction")
        values["after_id"] = _as_id(run_id)
        asked, directions = asked | {"after"}, (direction,)
    rows: list[Row] = []
    for direction in directions:
        query = render_query("top_runs", asked=frozenset(asked), way="ASC" if direction == "minimize" else "DESC")
        if rows := await fetch_all(connection, query, values):
            break
    page, has_more = cut(rows, limit=filters.limit)
    last = page[-1] if has_more else {}
    pagination = Pagination(
        total=None if has_more or filters.cursor else len(page),
        limit=filters.limit,
        offset=0,
        has_more=has_more,
        next_cursor=write_cursor("top", [last["direction"], last["final_score"], str(last["id"])]) if last else None,
    )
    return [RunWithIterations.model_validate(row) for row in page], pagination


async def conditions_of(
    connection: Connection, filters: RunConditions, *, project_id: str
) -> tuple[set[str], dict[str, Any]]:
    """Return which conditions a list has, by their names in _run_conditions.sql, and their values."""
    conditions: dict[str, Any] = {
        "direction": filters.direction,
        "metric": filters.metric,
        "min_score": filters.min_score,
        "max_score": filters.max_score,
        "start_date": filters.start_date,
        "end_date": filters.end_date,
        "search": filters.search,
        "run_name": filters.run_name,
    }
    # One value keeps the order of an index that begins with it; several do not.
    chosen = (("one_status", "statuses", filters.status), ("one_type", "types", filters.optimizer_type))
    for one, many, wanted in chosen:
        conditions[one] = wanted[0] if len(wanted) == 1 else None
        conditions[many] = list(wanted) if len(wanted) > 1 else None
    contained = {name: getattr(filters, name) or None for name in _CONTAINED}
    if any(contained.values()):
        conditions |= await _contained(connection, contained, project_id=project_id)
    elif conditions["search"]:
        conditions |= await _named(connection, conditions["search"], project_id=project_id)
    asked = {name for name, value in conditions.items() if value is not None}
    return asked, {name: conditions[name] for name in asked} | {"project_id": project_id}


async def _contained(connection: Connection, wanted: dict[str, Any], *, project_id: str) -> dict[str, Any]:
    values = {name: value if name == "tags" else as_json(value) for name, value in wanted.items()}
    ids = await _find(connection, "find_run_ids", values, project_id=project_id)
    return values if ids is None else {"ids": ids}


async def _named(connection: Connection, part: str, *, project_id: str) -> dict[str, Any]:
    ids = await _find(connection, "find_named_run_ids", {"search": part}, project_id=project_id)
    return {} if ids is None else {"ids": ids, "search": None}


async def _find(connection: Connection, query: str, values: dict[str, Any], *, project_id: str) -> list[UUID] | None:
    """Return the ids that one of the lookups finds, or None where there are too many to help."""
    parameters = values | {"project_id": project_id, "row_cap": MAX_FOUND + 1}
    ids = [row[0] for row in await (await connection.execute(render_query(query), parameters)).fetchall()]
    return None if len(ids) > MAX_FOUND or None in ids else ids


async def _count(connection: Connection, asked: set[str], values: dict[str, Any]) -> int:
    row = await fetch_one(connection, render_query("count_runs", asked=frozenset(asked)), values)
    return row["count"] if row else 0


def _place(filters: RunFilters, order: str) -> tuple[dict[str, Any], int | None]:
    """Return after which row the page begins, and the total that the cursor brought along."""
    if filters.cursor is None:
        return {}, None
    kind = str if filters.order_by == "created_at" else (*_NUMBER, type(None))
    value, run_id, total = read_cursor(filters.cursor, order=order, kinds=(kind, str, (int, type(None))))
    try:
        value = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise wrong_cursor() from None
    return {"after_id": _as_id(run_id)} | ({} if value is None else {"after_value": value}), total


def _as_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise wrong_cursor() from None


def _following(place: dict[str, Any]) -> set[str]:
    if not place:
        return set()
    return {"after_value"} if "after_value" in place else {"after_null"}


def _place_of(row: Row, column: str, total: int | None) -> list[Any]:
    value = row[column]
    return [value.isoformat() if isinstance(value, datetime) else value, str(row["id"]), total]
