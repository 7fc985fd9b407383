"""/runs: create, list, read, change, delete."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from optimization_tracking.admission import KeyedRoute
from optimization_tracking.auth import Admitted
from optimization_tracking.idempotency import IdempotencyKey, created, digest_of
from optimization_tracking.models.answers import One, Page
from optimization_tracking.models.queries import RunDetail, RunFilters
from optimization_tracking.models.runs import CreateRun, DeletedRun, Run, RunWithIterations, UpdateRun
from optimization_tracking.routes.dependencies import RunId, Tracking, answer_with, refusals
from optimization_tracking.tables import iterations, run_lists, runs
from optimization_tracking.versions import IfMatch, etag_of, read_if_match

LISTED_ITERATIONS = 100
"""The first iterations of each run of a list with includeIterations."""

router = APIRouter(prefix="/runs", tags=["runs"], route_class=KeyedRoute)


@router.post("", status_code=201, response_model=One[Run], responses=refusals(400, 404, 409, 413, 415))
async def create_run(
    run: CreateRun, request: Request, database: Tracking, caller: Admitted, idempotency_key: IdempotencyKey = None
) -> Response:
    """Create a run."""
    project_id = caller.choose_project(run.project_id)
    origin = None if idempotency_key is None else runs.Origin(idempotency_key, await digest_of(request))
    made, is_new = await runs.create(database, run, project_id=project_id, actor=caller.actor, origin=origin)
    return created(One[Run](data=made).model_dump_json().encode(), is_replayed=not is_new)


@router.get("", response_model=Page[RunWithIterations], responses=refusals(404))
async def list_runs(filters: Annotated[RunFilters, Query()], database: Tracking, caller: Admitted) -> Response:
    """List a project's runs, newest first; with `top=true` its best completed ones."""
    project_id = caller.choose_project(filters.project_id)
    async with database.transaction([project_id]) as connection:
        list_them = run_lists.list_top if filters.top else run_lists.list_page
        page, pagination = await list_them(connection, filters, project_id=project_id)
        if filters.include_iterations:
            page = await iterations.with_first(connection, page, limit=LISTED_ITERATIONS)
    return answer_with(Page[RunWithIterations](data=page, pagination=pagination))


@router.get("/{runId}", response_model=One[RunWithIterations], responses=refusals(404))
async def read_run(
    run_id: RunId, detail: Annotated[RunDetail, Query()], database: Tracking, caller: Admitted
) -> Response:
    """Read a run with its first iterations."""
    async with database.transaction(caller.projects) as connection:
        found = await runs.read(connection, run_id)
        run = RunWithIterations(**dict(found))
        if detail.include_iterations:
            (run,) = await iterations.with_first(connection, [found], limit=detail.iteration_limit)
    return answer_with(One[RunWithIterations](data=run), headers=etag_of(run))


@router.patch("/{runId}", response_model=One[Run], responses=refusals(400, 404, 409, 412, 413, 415))
async def update_run(
    run_id: RunId, change: UpdateRun, request: Request, database: Tracking, caller: Admitted, _: IfMatch = None
) -> Response:
    """Change a run; a status that ends it sets its end time. Metadata are merged by key, and null removes a key."""
    async with database.transaction(caller.projects, actor=caller.actor) as connection:
        changed = await runs.update(connection, run_id, change, seen=read_if_match(request))
    return answer_with(One[Run](data=changed), headers=etag_of(changed))


@router.delete("/{runId}", responses=refusals(404, 412))
async def delete_run(
    run_id: RunId, request: Request, database: Tracking, caller: Admitted, _: IfMatch = None
) -> One[DeletedRun]:
    """Delete a run with its iterations and samples."""
    async with database.transaction(caller.projects, actor=caller.actor) as connection:
        await runs.delete(connection, run_id, seen=read_if_match(request))
    return One[DeletedRun](data=DeletedRun(id=run_id))
