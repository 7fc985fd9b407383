"""Analytics and projects, as a caller may see them."""

from optimization_tracking.database import Connection, fetch_all
from optimization_tracking.models.analytics import Analytics, Project
from optimization_tracking.models.queries import AnalyticsFilters
from optimization_tracking.queries import render_query


async def read_analytics(connection: Connection, filters: AnalyticsFilters, *, project_id: str) -> list[Analytics]:
    """Return the project's figures by optimizer type and status, as of the last refresh."""
    conditions = {"optimizer_type": filters.optimizer_type, "status": filters.status}
    asked = frozenset(name for name, value in conditions.items() if value is not None)
    query = render_query("analytics", asked=asked)
    rows = await fetch_all(connection, query, conditions | {"project_id": project_id})
    return [Analytics.model_validate(row) for row in rows]


async def list_projects(connection: Connection) -> list[Project]:
    """Return the caller's projects by id."""
    return [Project.model_validate(row) for row in await fetch_all(connection, render_query("list_projects"), {})]
