"""Analytics and projects, as a caller may see them."""

from typing import Any

from optimization_tracking.cursors import read_cursor, write_cursor
from optimization_tracking.database import Connection, fetch_all
from optimization_tracking.models.analytics import Analytics, Project
from optimization_tracking.models.answers import Pagination
from optimization_tracking.models.queries import AnalyticsFilters, ShortRowsPage
from optimization_tracking.queries import render_query
from optimization_tracking.tables.pages import list_short_rows

_ORDER = "analytics"


async def read_analytics(
    connection: Connection, filters: AnalyticsFilters, *, project_id: str
) -> tuple[list[Analytics], Pagination]:
    """Return a page of the project's figures by optimizer type and status, as of the last refresh."""
    conditions = {"optimizer_type": filters.optimizer_type, "status": filters.status}
    asked = {name for name, value in conditions.items() if value is not None}
    values: dict[str, Any] = conditions | {"project_id": project_id, "row_limit": filters.limit + 1}
    if filters.cursor is not None:
        values["after_type"], values["after_status"] = read_cursor(filters.cursor, order=_ORDER, kinds=(str, str))
        asked.add("after")
    rows = await fetch_all(connection, render_query("analytics", asked=frozenset(asked)), values)
    page, has_more = rows[: filters.limit], len(rows) > filters.limit
    cursor = write_cursor(_ORDER, [page[-1]["optimizer_type"], page[-1]["status"]]) if has_more else None
    pagination = Pagination(total=None, limit=filters.limit, offset=0, has_more=has_more, next_cursor=cursor)
    return [Analytics.model_validate(row) for row in page], pagination


async def list_projects(connection: Connection, page: ShortRowsPage) -> tuple[list[Project], Pagination]:
    """Return a page of the caller's projects, by id."""
    rows, pagination = await list_short_rows(connection, "list_projects", page, key="id", values={})
    return [Project.model_validate(row) for row in rows], pagination
