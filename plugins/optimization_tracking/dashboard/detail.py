"""One run: its history, its parameters, its iterations; and its samples on a page of their own."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import ValidationError

from optimization_tracking.dashboard import charts
from optimization_tracking.dashboard.filters import read_model, read_query
from optimization_tracking.dashboard.rendering import render
from optimization_tracking.dashboard.visitors import Admitted, Visit
from optimization_tracking.dashboard.words import PageLink, links_of, words_of
from optimization_tracking.differences import flatten
from optimization_tracking.models.base import CLIENT_ID
from optimization_tracking.models.queries import MAX_LONG_PAGE, IterationPage, RunFilters, SamplePage
from optimization_tracking.models.runs import Run
from optimization_tracking.problem_details import invalid, not_found
from optimization_tracking.routes.dependencies import RunId, Tracking
from optimization_tracking.tables import iterations, leases, runs, samples
from optimization_tracking.tables.history import read_history
from optimization_tracking.tables.run_lists import list_page

PAGE_ROWS = 50

router = APIRouter(prefix="/runs/{runId}")
named = APIRouter()


@named.get("/named/{client_id:path}")
async def named_run(request: Request, client_id: str, database: Tracking, caller: Admitted) -> RedirectResponse:
    """Lead to the run that a program calls so, in whatever project."""
    try:
        wanted = RunFilters(metadata={CLIENT_ID: client_id}, limit=1, includeTotal=False)
    except ValidationError:  # no run can have such an id
        raise not_found("run") from None
    for project_id in caller.projects:
        async with database.transaction([project_id]) as connection:
            found, _ = await list_page(connection, wanted, project_id=project_id)
        if found:
            return RedirectResponse(f"{request.scope['root_path']}/runs/{found[0].id}", status_code=307)
    raise not_found("run")


def _links(request: Request, run: Run) -> list[PageLink]:
    is_in_airflow = request.app.state.sessions is None
    return links_of(run, base=request.scope["root_path"]) if is_in_airflow else []


@router.get("")
async def run(request: Request, run_id: RunId, database: Tracking, caller: Admitted) -> HTMLResponse:
    """A run with its history, its parameters against its score, and its iterations."""
    query = read_query(request.query_params, ("cursor",))
    page, errors = read_model(IterationPage, query, limit=PAGE_ROWS)
    if errors:
        raise invalid("cursor", errors["cursor"])
    async with database.transaction(caller.projects) as connection:
        found = await runs.read(connection, run_id)
        history = await read_history(connection, run_id)
        held = await leases.count_held(connection, run_id) if found.status == "running" else 0
        listed, pagination = await iterations.list_page(connection, run_id, page)
    parameters, constant = charts.parameter_charts(history)
    return render(
        request,
        "run",
        here="run",
        visit=Visit(caller, found.project_id),
        query=query,
        run=found,
        held=held,
        words=words_of(found),
        links=_links(request, found),
        history=charts.history_chart(found, history),
        history_text=charts.describe_history(found, history),
        is_thinned=len(history) < (pagination.total or 0),
        parameters=parameters,
        constant=constant,
        iterations=listed,
        pagination=pagination,
        config=flatten(found.config),
    )


@router.get("/samples")
async def run_samples(request: Request, run_id: RunId, database: Tracking, caller: Admitted) -> HTMLResponse:
    """A run's samples: predicted against observed where both are numbers, and all of them as a table."""
    query = read_query(request.query_params, ("iteration", "isCorrect", "cursor"))
    page, errors = read_model(SamplePage, query, limit=PAGE_ROWS)
    drawn_page = page.model_copy(update={"cursor": None, "limit": MAX_LONG_PAGE})
    async with database.transaction(caller.projects) as connection:
        found = await runs.read(connection, run_id)
        drawn, _ = await samples.list_page(connection, run_id, drawn_page)
        listed, pagination = await samples.list_page(connection, run_id, page)
    return render(
        request,
        "samples",
        status=422 if errors else 200,
        here="run",
        visit=Visit(caller, found.project_id),
        query=query,
        errors=errors,
        run=found,
        words=words_of(found),
        links=_links(request, found),
        charts=charts.sample_charts(drawn),
        drawn=len(drawn),
        samples=[] if errors else listed,
        pagination=pagination,
        page=page,
    )
