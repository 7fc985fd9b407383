"""/groups, /trend, /compare: which is better, and what differs."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.concurrency import run_in_threadpool

from optimization_tracking.admission import KeyedRoute
from optimization_tracking.auth import Admitted
from optimization_tracking.models.answers import One
from optimization_tracking.models.comparing import (
    CompareFilters,
    GroupFilters,
    RunDifferences,
    RunGroups,
    Trend,
    TrendFilters,
)
from optimization_tracking.routes.dependencies import Tracking, refusals
from optimization_tracking.tables.compared import compare, list_compared, read_compared
from optimization_tracking.tables.comparing import group_runs, read_trend

router = APIRouter(tags=["comparisons"], route_class=KeyedRoute)


@router.get("/groups", responses=refusals(404))
async def groups(filters: Annotated[GroupFilters, Query()], database: Tracking, caller: Admitted) -> One[RunGroups]:
    """Runs in groups, each with the spread of a figure and, where `pairBy` says what pairs them, a paired test."""
    project_id = caller.choose_project(filters.project_id)
    async with database.transaction([project_id]) as connection:
        return One[RunGroups](data=await group_runs(connection, filters, project_id=project_id))


@router.get("/trend", responses=refusals(404))
async def trend(filters: Annotated[TrendFilters, Query()], database: Tracking, caller: Admitted) -> One[Trend]:
    """One figure from run to run, with the band that was expected of each."""
    project_id = caller.choose_project(filters.project_id)
    async with database.transaction([project_id]) as connection:
        return One[Trend](data=await read_trend(connection, filters, project_id=project_id))


@router.get("/compare", responses=refusals(404))
async def compare_runs(
    filters: Annotated[CompareFilters, Query()], database: Tracking, caller: Admitted
) -> One[RunDifferences]:
    """Runs and what differs in their configs: the named ones, or the newest 200 that match the filters."""
    if filters.run:
        async with database.transaction(caller.projects) as connection:
            found = await read_compared(connection, list(dict.fromkeys(filters.run)))
    else:
        project_id = caller.choose_project(filters.project_id)
        async with database.transaction([project_id]) as connection:
            found = await list_compared(connection, filters, project_id=project_id)
    return One[RunDifferences](data=await run_in_threadpool(compare, found))
