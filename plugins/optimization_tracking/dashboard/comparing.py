"""Several runs side by side, hundreds of them below each other."""

from collections.abc import Sequence
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse

from optimization_tracking.dashboard import charts
from optimization_tracking.dashboard.differences import ConfigRow, compare_configs
from optimization_tracking.dashboard.filters import Query, read_model, read_query
from optimization_tracking.dashboard.lists import NARROWING
from optimization_tracking.dashboard.rendering import render
from optimization_tracking.dashboard.visitors import Visit, Visiting
from optimization_tracking.models.comparing import MAX_COMPARED
from optimization_tracking.models.queries import RunConditions
from optimization_tracking.problem_details import Refusal
from optimization_tracking.routes.dependencies import Tracking
from optimization_tracking.tables.compared import ComparedRow, list_compared, read_compared
from optimization_tracking.tables.history import MAX_POINTS, read_history

MAX_SIDE_BY_SIDE = 6
MAX_COLUMNS = 30
"""Keys that are shown of many runs; of more, the first."""

router = APIRouter()


@router.get("/compare")
async def compare(request: Request, database: Tracking, visit: Visiting) -> HTMLResponse:
    """Runs by id, or all that the filters match: their outcomes, and what differs in their configs."""
    query = read_query(request.query_params, ("run", "keys", *NARROWING, "projectId"))
    run_ids = _run_ids(query)
    filters, errors = read_model(RunConditions, query)
    is_filtered = not run_ids and any(query.get(name) for name in NARROWING)
    if len(run_ids) == 1 or not (run_ids or is_filtered) or errors:
        return _too_few(request, visit, len(run_ids), errors)
    async with database.transaction(visit.caller.projects if run_ids else [visit.project_id]) as connection:
        if run_ids:
            found = await read_compared(connection, run_ids)
        else:
            found = await list_compared(connection, filters, project_id=visit.project_id)
        if len(found) < 2:
            return _too_few(request, visit, len(found), {})
        is_close = len(found) <= MAX_SIDE_BY_SIDE
        points = MAX_POINTS // 2
        histories = [
            await read_history(connection, run.id, max_points=points, has_params=False) for run in found if is_close
        ]
    if not is_close:
        found = _best_first(found)
    table = await run_in_threadpool(compare_configs, [run.config or {} for run in found])
    differing = [row for row in table.rows if row.differs]
    return render(
        request,
        "compare" if is_close else "compare_many",
        here="compare",
        visit=Visit(visit.caller, found[0].project_id if found else visit.project_id),
        query=query,
        runs=found,
        chart=charts.overlaid_chart(found, histories) if is_close else None,
        scatters=[] if is_close else await run_in_threadpool(charts.key_charts, found, differing),
        rows=_shown(table.rows, differing, query, is_close=is_close),
        differing=len(differing),
        same=len(table.rows) - len(differing),
        left_out=table.left_out,
        directions={run.direction for run in found},
        metrics={run.metric for run in found if run.best_score is not None or run.final_score is not None} or {None},
        unread=sum(run.config is None for run in found),
        is_filtered=is_filtered,
        max_runs=MAX_COMPARED,
    )


def _too_few(request: Request, visit: Visit, chosen: int, errors: dict[str, str]) -> HTMLResponse:
    status = 422 if errors else 200
    values = {"chosen": chosen, "errors": errors, "max_runs": MAX_COMPARED}
    return render(request, "compare_none", status=status, here="compare", visit=visit, **values)


def _shown(rows: list[ConfigRow], differing: list[ConfigRow], query: Query, *, is_close: bool) -> list[ConfigRow]:
    shown = rows if query.get("keys") == "all" else differing
    return shown if is_close else shown[:MAX_COLUMNS]


def _best_first(found: Sequence[ComparedRow]) -> list[ComparedRow]:
    """Return the runs by their final score, those without one last; of mixed directions as they came."""
    if len({run.direction for run in found}) > 1:
        return list(found)
    scored = [run for run in found if run.final_score is not None]
    scored.sort(key=lambda run: run.final_score or 0.0, reverse=found[0].direction == "maximize")
    return [*scored, *(run for run in found if run.final_score is None)]


def _run_ids(query: Query) -> list[UUID]:
    """Return the ids asked for, each once.

    Raises:
        Refusal: 422 for what is not an id, and for more than MAX_COMPARED of them.
    """
    try:
        wanted = list(dict.fromkeys(UUID(text) for text in query.all("run")))
    except ValueError:
        raise Refusal(422, "run: must be the ids of runs; choose them in the list of runs") from None
    if len(wanted) > MAX_COMPARED:
        raise Refusal(422, f"{len(wanted)} runs are too many to compare; choose at most {MAX_COMPARED}")
    return wanted
