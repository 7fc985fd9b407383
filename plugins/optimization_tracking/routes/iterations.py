"""/runs/{runId}/iterations: add one, add many, list, read one."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from optimization_tracking.auth import Caller, Reader, Writer
from optimization_tracking.database import Connection
from optimization_tracking.idempotency import IdempotencyKey, answer_once
from optimization_tracking.models.answers import Batch, One, Page
from optimization_tracking.models.iterations import CreateIteration, CreateIterations, Iteration
from optimization_tracking.models.queries import IterationPage
from optimization_tracking.routes.dependencies import (
    IterationNumber,
    Prefer,
    RunId,
    Tracking,
    answer_with,
    refusals,
    wants_rows,
)
from optimization_tracking.tables import iterations, runs

router = APIRouter(prefix="/runs/{runId}/iterations", tags=["iterations"])


@router.post("", status_code=201, response_model=One[Iteration], responses=refusals(400, 404, 409, 413))
async def add_iteration(
    run_id: RunId,
    iteration: CreateIteration,
    request: Request,
    database: Tracking,
    caller: Writer,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Add an iteration; the run's totals and best score follow."""
    async with database.transaction(caller.projects) as connection:

        async def write() -> One[Iteration]:
            (added,) = await iterations.add(connection, [iteration], run_id=run_id)
            return One[Iteration](data=added)

        project_id = await project_of(connection, run_id, caller=caller, key=idempotency_key)
        return await answer_once(connection, request, key=idempotency_key, project_id=project_id, write=write)


@router.post("/batch", status_code=201, response_model=Batch[Iteration], responses=refusals(400, 404, 409, 413))
async def add_iterations(
    run_id: RunId,
    batch: CreateIterations,
    request: Request,
    database: Tracking,
    caller: Writer,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
) -> Response:
    """Add up to 1,000 iterations, all of them or none."""
    async with database.transaction(caller.projects) as connection:

        async def write() -> Batch[Iteration]:
            added = await iterations.add(connection, batch.iterations, run_id=run_id, returning=wants_rows(prefer))
            return Batch[Iteration](created=len(batch.iterations), data=added)

        project_id = await project_of(connection, run_id, caller=caller, key=idempotency_key)
        return await answer_once(connection, request, key=idempotency_key, project_id=project_id, write=write)


@router.get("", response_model=Page[Iteration], responses=refusals(404))
async def list_iterations(
    run_id: RunId, page: Annotated[IterationPage, Query()], database: Tracking, caller: Reader
) -> Response:
    """List a run's iterations by their number."""
    async with database.transaction(caller.projects) as connection:
        found, pagination = await iterations.list_page(connection, run_id, page)
    return answer_with(Page[Iteration](data=found, pagination=pagination))


@router.get("/{iteration}", response_model=One[Iteration], responses=refusals(404))
async def read_iteration(run_id: RunId, iteration: IterationNumber, database: Tracking, caller: Reader) -> Response:
    """Read one iteration by its number."""
    async with database.transaction(caller.projects) as connection:
        found = await iterations.read(connection, run_id, iteration)
    return answer_with(One[Iteration](data=found))


async def project_of(connection: Connection, run_id: UUID, *, caller: Caller, key: str | None) -> str:
    """Return the project whose idempotency keys a write of the run uses; looked up only where it is in question."""
    if key is None or len(caller.projects) == 1:
        return caller.projects[0] if caller.projects else ""
    return await runs.read_project(connection, run_id)
