"""/analytics, /projects."""

from typing import Annotated

from fastapi import APIRouter, Query

from optimization_tracking.admission import KeyedRoute
from optimization_tracking.auth import Admitted
from optimization_tracking.models.analytics import Analytics, Project
from optimization_tracking.models.answers import Page
from optimization_tracking.models.queries import AnalyticsFilters, ShortRowsPage
from optimization_tracking.routes.dependencies import Tracking, refusals
from optimization_tracking.tables.analytics import list_projects, read_analytics

router = APIRouter(route_class=KeyedRoute)


@router.get("/analytics", tags=["analytics"], responses=refusals(404))
async def analytics(
    filters: Annotated[AnalyticsFilters, Query()], database: Tracking, caller: Admitted
) -> Page[Analytics]:
    """Figures of a project's runs by optimizer type and status, as of the last refresh."""
    project_id = caller.choose_project(filters.project_id)
    async with database.transaction([project_id]) as connection:
        figures, pagination = await read_analytics(connection, filters, project_id=project_id)
    return Page[Analytics](data=figures, pagination=pagination)


@router.get("/projects", tags=["projects"], responses=refusals())
async def projects(page: Annotated[ShortRowsPage, Query()], database: Tracking, caller: Admitted) -> Page[Project]:
    """The caller's projects, by id."""
    async with database.transaction(caller.projects) as connection:
        found, pagination = await list_projects(connection, page)
    return Page[Project](data=found, pagination=pagination)
