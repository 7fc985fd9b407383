"""/runs/{runId}/iterations: add one, add many, list, read one."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from optimization_tracking.admission import KeyedRoute
from optimization_tracking.auth import Admitted
from optimization_tracking.database import Connection
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
from optimization_tracking.routes.run_writes import Writing
from optimization_tracking.tables import iterations

router = APIRouter(prefix="/runs/{runId}/iterations", tags=["iterations"], route_class=KeyedRoute)


@router.post("", status_code=201, response_model=One[Iteration], responses=refusals(400, 404, 409, 413, 415))
async def add_iteration(write: Writing, iteration: CreateIteration) -> Response:
    """Add an iteration; the run's totals and best score follow."""

    async def add(connection: Connection) -> One[Iteration]:
        added = await iterations.add(connection, iteration, run_id=write.run_id, caller=write.caller)
        return One[Iteration](data=added)

    return await write.answer(add)


@router.post("/batch", status_code=201, response_model=Batch[Iteration], responses=refusals(400, 404, 409, 413, 415))
async def add_iterations(write: Writing, batch: CreateIterations, prefer: Prefer = None) -> Response:
    """Add up to 1,000 iterations, all of them or none."""

    async def add(connection: Connection) -> Batch[Iteration]:
        added = await iterations.add_many(
            connection, batch, run_id=write.run_id, caller=write.caller, returning=wants_rows(prefer)
        )
        return Batch[Iteration](created=len(batch), data=added)

    return await write.answer(add)


@router.get("", response_model=Page[Iteration], responses=refusals(404))
async def list_iterations(
    run_id: RunId, page: Annotated[IterationPage, Query()], database: Tracking, caller: Admitted
) -> Response:
    """List a run's iterations by their number."""
    async with database.transaction(caller.projects) as connection:
        found, pagination = await iterations.list_page(connection, run_id, page)
    return answer_with(Page[Iteration](data=found, pagination=pagination))


@router.get("/{iteration}", response_model=One[Iteration], responses=refusals(404))
async def read_iteration(run_id: RunId, iteration: IterationNumber, database: Tracking, caller: Admitted) -> Response:
    """Read one iteration by its number."""
    async with database.transaction(caller.projects) as connection:
        found = await iterations.read(connection, run_id, iteration)
    return answer_with(One[Iteration](data=found))
