"""/runs/{runId}/leases: processes say that they work on a run, again and again; or that they no longer do."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from optimization_tracking.admission import KeyedRoute
from optimization_tracking.auth import Admitted
from optimization_tracking.models.answers import One, Page
from optimization_tracking.models.queries import ShortRowsPage
from optimization_tracking.models.runs import HoldRun, Lease, ReleasedLease
from optimization_tracking.routes.dependencies import RunId, Tracking, refusals
from optimization_tracking.tables import leases

router = APIRouter(prefix="/runs/{runId}/leases", tags=["leases"], route_class=KeyedRoute)

Owner = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.-]{1,100}$")]


@router.get("", responses=refusals(404))
async def list_leases(
    run_id: RunId, page: Annotated[ShortRowsPage, Query()], database: Tracking, caller: Admitted
) -> Page[Lease]:
    """List the leases that last: the processes that work on the run."""
    async with database.transaction(caller.projects) as connection:
        found, pagination = await leases.list_held(connection, run_id, page)
    return Page[Lease](data=found, pagination=pagination)


@router.put("/{owner}", responses=refusals(400, 404, 413, 415))
async def hold_run(run_id: RunId, owner: Owner, holding: HoldRun, database: Tracking, caller: Admitted) -> One[Lease]:
    """Take or renew a lease; several owners may hold one of the same run."""
    async with database.transaction(caller.projects, actor=caller.actor) as connection:
        return One[Lease](data=await leases.hold(connection, run_id, owner, seconds=holding.seconds))


@router.delete("/{owner}", responses=refusals(404))
async def release_run(run_id: RunId, owner: Owner, database: Tracking, caller: Admitted) -> One[ReleasedLease]:
    """Give a lease up."""
    async with database.transaction(caller.projects, actor=caller.actor) as connection:
        return One[ReleasedLease](data=await leases.release(connection, run_id, owner))
