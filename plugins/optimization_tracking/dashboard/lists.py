"""The runs of a project, and its best ones."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from optimization_tracking.dashboard.filters import Query, read_model, read_query
from optimization_tracking.dashboard.rendering import render
from optimization_tracking.dashboard.visitors import Visiting
from optimization_tracking.database import Connection
from optimization_tracking.models.answers import Pagination
from optimization_tracking.models.queries import AnalyticsFilters, RunFilters
from optimization_tracking.models.runs import RunWithIterations
from optimization_tracking.problem_details import Refusal
from optimization_tracking.routes.dependencies import Tracking
from optimization_tracking.tables.analytics import read_analytics
from optimization_tracking.tables.run_lists import list_page, list_top

PAGE_ROWS = 25
NARROWING = (
    *(
        "status",
        "optimizerType",
        "direction",
        "metric",
        "tags",
        "search",
        "minScore",
        "maxScore",
        "startDate",
        "endDate",
    ),
    *("config", "metadata"),
)
"""The filters of a list, which groups, trends and comparisons take over."""

RUN_FIELDS = (*NARROWING, "orderBy", "orderDirection", "cursor", "projectId")
TOP_FIELDS = ("optimizerType", "direction", "tags", "startDate", "endDate", "limit", "cursor", "projectId")

router = APIRouter()


@router.get("/")
async def runs(request: Request, database: Tracking, visit: Visiting) -> HTMLResponse:
    """Runs, newest first, with filters; page by page."""
    query = read_query(request.query_params, RUN_FIELDS)
    filters, errors = read_model(RunFilters, query, limit=PAGE_ROWS)
    found: list[RunWithIterations] = []
    pagination: Pagination | None = None
    async with database.transaction([visit.project_id]) as connection:
        types = await _known_types(connection, visit.project_id)
        if not errors:
            try:
                found, pagination = await list_page(connection, filters, project_id=visit.project_id)
            except Refusal as refusal:  # a cursor that is none
                errors = {error.field: error.reason for error in refusal.errors}
    return render(
        request,
        "runs",
        status=422 if errors else 200,
        here="runs",
        visit=visit,
        query=query,
        errors=errors,
        filters=filters,
        runs=found,
        pagination=pagination,
        types=types,
        is_narrowed=any(query.get(name) for name in NARROWING),
    )


@router.get("/leaderboard")
async def leaderboard(request: Request, database: Tracking, visit: Visiting) -> HTMLResponse:
    """The best completed runs of one direction."""
    query = read_query(request.query_params, TOP_FIELDS)
    filters, errors = read_model(RunFilters, _with_limit(query), top=True)
    found: list[RunWithIterations] = []
    pagination: Pagination | None = None
    async with database.transaction([visit.project_id]) as connection:
        types = await _known_types(connection, visit.project_id)
        if not errors:
            try:
                found, pagination = await list_top(connection, filters, project_id=visit.project_id)
            except Refusal as refusal:  # a cursor that is none
                errors = {error.field: error.reason for error in refusal.errors}
    return render(
        request,
        "leaderboard",
        status=422 if errors else 200,
        here="leaderboard",
        visit=visit,
        query=query,
        errors=errors,
        filters=filters,
        runs=found,
        pagination=pagination,
        types=types,
    )


def _with_limit(query: Query) -> Query:
    return query if query.get("limit") else Query((*query.pairs, ("limit", str(PAGE_ROWS))))


async def _known_types(connection: Connection, project_id: str) -> list[str]:
    """Return the project's optimizer types as of the last refresh of its figures."""
    figures, _ = await read_analytics(connection, AnalyticsFilters(), project_id=project_id)
    return sorted({figure.optimizer_type for figure in figures})
