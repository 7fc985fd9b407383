"""Several runs side by side."""

from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from optimization_tracking.dashboard import charts
from optimization_tracking.dashboard.differences import compare_configs
from optimization_tracking.dashboard.filters import Query, read_query
from optimization_tracking.dashboard.rendering import render
from optimization_tracking.dashboard.visitors import Visit, Visiting
from optimization_tracking.problem_details import Refusal
from optimization_tracking.routes.dependencies import Tracking
from optimization_tracking.tables import runs
from optimization_tracking.tables.history import MAX_POINTS, read_history

MAX_RUNS = 6

router = APIRouter()


@router.get("/compare")
async def compare(request: Request, database: Tracking, visit: Visiting) -> HTMLResponse:
    """Two to six runs: their outcomes, their configs with the differences marked, their histories over each other."""
    query = read_query(request.query_params, ("run", "only", "projectId"))
    run_ids = _run_ids(query)
    if len(run_ids) < 2:
        return render(request, "compare_none", here="compare", visit=visit, run_ids=run_ids, max_runs=MAX_RUNS)
    async with database.transaction(visit.caller.projects) as connection:
        found = [await runs.read(connection, run_id) for run_id in run_ids]
        histories = [
            await read_history(connection, run_id, max_points=MAX_POINTS // 2, has_params=False) for run_id in run_ids
        ]
    rows = compare_configs([run.config for run in found])
    return render(
        request,
        "compare",
        here="compare",
        visit=Visit(visit.caller, found[0].project_id),
        query=query,
        runs=found,
        chart=charts.overlaid_chart(found, histories),
        rows=[row for row in rows if row.differs] if query.get("only") == "differences" else rows,
        differing=sum(row.differs for row in rows),
        directions={run.direction for run in found},
    )


def _run_ids(query: Query) -> list[UUID]:
    """Return the ids asked for, each once.

    Raises:
        Refusal: 422 for what is not an id, and for more than MAX_RUNS of them.
    """
    try:
        wanted = list(dict.fromkeys(UUID(text) for text in query.all("run")))
    except ValueError:
        raise Refusal(422, "run: must be the ids of runs; choose them in the list of runs") from None
    if len(wanted) > MAX_RUNS:
        raise Refusal(422, f"{len(wanted)} runs are too many to compare; choose at most {MAX_RUNS}")
    return wanted
