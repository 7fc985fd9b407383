"""A client's runs, the newest first, page by page."""

from datetime import datetime

from pydantic import BaseModel

from optimizer.console.context import Context
from optimizer.control_plane.records import Run
from optimizer.control_plane.run_views import RunKind, list_page

PAGE_ROWS = 50


class RunRow(BaseModel):
    """A run in a list. traffic_pct: of the traffic now."""

    run_id: str
    status: str
    outcome: str | None
    problem: str | None
    traffic_pct: int
    triggered_by: str
    trigger_type: str
    expected_win_rate: float | None
    target_win_rate: float | None
    segments_count: int | None
    bid_median: float | None
    created_at: datetime
    completed_at: datetime | None


class ClientRuns(BaseModel):
    """The runs of one page. total: of all that match the filter."""

    entity_code: str
    rows: list[RunRow]
    total: int
    page: int
    pages: int


def read_client_runs(
    asked: Context, entity_code: str, *, kind: RunKind = "all", search: str = "", page: int = 1
) -> ClientRuns:
    """Return a page of the client's runs.

    Args:
        search: only runs whose run_id begins with this text. page: counts from 1.
    """
    found = list_page(
        asked.systems.engine,
        entity_code,
        kind=kind,
        search=search.strip(),
        limit=PAGE_ROWS,
        offset=(page - 1) * PAGE_ROWS,
    )
    return ClientRuns(
        entity_code=entity_code,
        rows=[_row(run, found.percents) for run in found.runs],
        total=found.total,
        page=page,
        pages=max(1, -(-found.total // PAGE_ROWS)),
    )


def _row(run: Run, percents: dict[str, int]) -> RunRow:
    target = (run.readiness_figures or {}).get("target", {})
    return RunRow(
        run_id=run.run_id,
        status=run.status_text,
        outcome=run.outcome,
        problem=run.error_message,
        traffic_pct=percents.get(run.run_id, 0),
        triggered_by=run.triggered_by,
        trigger_type=run.trigger_type,
        expected_win_rate=target.get("expected_win_rate"),
        target_win_rate=target.get("target_win_rate"),
        segments_count=run.segments_count,
        bid_median=run.bid_median,
        created_at=run.created_at,
        completed_at=run.completed_at,
    )
