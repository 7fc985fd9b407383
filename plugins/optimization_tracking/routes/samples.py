"""/runs/{runId}/samples: add in batches, list."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from psycopg.errors import ForeignKeyViolation

from optimization_tracking.admission import KeyedRoute
from optimization_tracking.auth import Admitted
from optimization_tracking.database import Connection
from optimization_tracking.models.answers import Batch, Page
from optimization_tracking.models.queries import SamplePage
from optimization_tracking.models.samples import CreateSamples, Sample
from optimization_tracking.routes.dependencies import Prefer, RunId, Tracking, answer_with, refusals, wants_rows
from optimization_tracking.routes.run_writes import Writing
from optimization_tracking.tables import samples

router = APIRouter(prefix="/runs/{runId}/samples", tags=["samples"], route_class=KeyedRoute)


@router.post("", status_code=201, response_model=Batch[Sample], responses=refusals(400, 404, 409, 413, 415))
async def add_samples(write: Writing, batch: CreateSamples, prefer: Prefer = None) -> Response:
    """Add up to 1,000 samples to iterations that are there, all of them or none."""

    async def add(connection: Connection) -> Batch[Sample]:
        added = await samples.add(
            connection, batch, run_id=write.run_id, caller=write.caller, returning=wants_rows(prefer)
        )
        return Batch[Sample](created=len(batch), data=added)

    try:
        return await write.answer(add)
    except ForeignKeyViolation:
        async with write.database.transaction(write.caller.projects) as connection:
            raise await samples.why_refused(connection, batch, run_id=write.run_id) from None


@router.get("", response_model=Page[Sample], responses=refusals(404))
async def list_samples(
    run_id: RunId, page: Annotated[SamplePage, Query()], database: Tracking, caller: Admitted
) -> Response:
    """List a run's samples by iteration and sampleIndex."""
    async with database.transaction(caller.projects) as connection:
        found, pagination = await samples.list_page(connection, run_id, page)
    return answer_with(Page[Sample](data=found, pagination=pagination))
