"""A run: overview, figures, segments, files; and the runs of a client."""

import base64
from collections.abc import Callable
from typing import Annotated, Any, TypeVar, get_args
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, Response, StreamingResponse

from optimizer.artifacts.manifest import ManifestObject, stream_verified
from optimizer.console import run_charts
from optimizer.console.access import require_readable
from optimizer.console.answers.client_runs import ClientRuns, read_client_runs
from optimizer.console.answers.run import OwnedRun, RunAnswer, find_run, read_run
from optimizer.console.answers.run_contents import WITHHELD, File
from optimizer.console.answers.run_figures import read_figures
from optimizer.console.answers.segments import MOST_FOUND, Segment, SegmentList, explain_segment, search_segments
from optimizer.console.context import Asked, Context
from optimizer.console.failures import status_of
from optimizer.console.rendering import render
from optimizer.control_plane.run_views import RunKind
from optimizer.control_plane.runs import read_run_by_dag_run
from optimizer.core.records import run_files
from optimizer.errors import DataError, OptimizerError
from optimizer.names import CONSOLE_API_PATH, DAG_PREFIX

router = APIRouter()

API_RUN = f"{CONSOLE_API_PATH}/runs/{{run_id}}"
OPENING_TASK = "snapshot_config"
"""The task that opens the run of its DAG run."""

Kind = Annotated[RunKind, Query(description="Which runs.")]
RunSearch = Annotated[str, Query(max_length=64, description="Only runs whose run_id begins with this text.")]
Page = Annotated[int, Query(ge=1, le=100_000, description="Counts from 1.")]
Words = Annotated[str, Query(max_length=200, description="Words of feature values, such as `New York ios`.")]
Most = Annotated[int, Query(ge=1, le=1000, description="How many segments are returned.")]
Key = Annotated[str, Query(max_length=1000, description="The segment_key as it is in suggested_bids.csv.")]

_REPORT_POLICY = (
    "sandbox allow-scripts allow-popups; default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src data:; font-src data:; frame-ancestors 'self'"
)
"""report.html has its styles and scripts inline; in a sandbox it has neither this server's cookies nor its pages."""

T = TypeVar("T")


@router.get(f"{CONSOLE_API_PATH}/clients/{{entity_code}}/runs")
def list_runs(asked: Asked, entity_code: str, kind: Kind = "all", search: RunSearch = "", page: Page = 1) -> ClientRuns:
    """Return a client's runs, the newest first."""
    return read_client_runs(asked, require_readable(asked.visitor, entity_code), kind=kind, search=search, page=page)


@router.get(API_RUN)
def get_run(asked: Asked, run_id: str) -> RunAnswer:
    """Return a run: its life, numbers, checks, live days against the forecast, files and settings."""
    return read_run(asked, find_run(asked, run_id))


@router.get(f"{API_RUN}/files")
def list_files(asked: Asked, run_id: str) -> list[File]:
    """Return the published files of a run with their checksums."""
    return read_run(asked, find_run(asked, run_id)).files


@router.get(f"{API_RUN}/segments")
def list_segments(asked: Asked, run_id: str, search: Words = "", most: Most = MOST_FOUND) -> SegmentList:
    """Return the segments of a run whose feature values have all words, in any order and case."""
    return search_segments(asked, find_run(asked, run_id), search=search, most=most)


@router.get(f"{API_RUN}/segment")
def get_segment(asked: Asked, run_id: str, key: Key) -> Segment:
    """Return how the bid of a segment was computed, and its win-rate curve."""
    found = find_run(asked, run_id)
    try:
        return explain_segment(asked, found, key)
    except DataError as error:
        raise HTTPException(404, str(error)) from error


@router.get("/clients/{entity_code}/runs", include_in_schema=False)
def show_runs(
    request: Request, asked: Asked, entity_code: str, kind: str = "all", search: RunSearch = "", page: Page = 1
) -> HTMLResponse:
    """Show a client's runs."""
    known: RunKind = next((one for one in get_args(RunKind) if one == kind), "all")
    code = require_readable(asked.visitor, entity_code)
    found = read_client_runs(asked, code, kind=known, search=search, page=page)
    return render(
        request,
        "client_runs",
        entity_code=code,
        tab="Runs",
        found=found,
        kind=known,
        kinds=get_args(RunKind),
        search=search,
    )


@router.get("/runs/{run_id}", include_in_schema=False)
def show_run(request: Request, asked: Asked, run_id: str) -> HTMLResponse:
    """Show a run."""
    return _show_run(request, asked, find_run(asked, run_id))


@router.get("/dags/{dag_id}/runs/{dag_run_id:path}", include_in_schema=False)
def show_dag_run(request: Request, asked: Asked, dag_id: str, dag_run_id: str) -> HTMLResponse:
    """Show the run of a DAG run, or why there is none."""
    if not dag_id.startswith(DAG_PREFIX):
        raise HTTPException(404, f"DAG {dag_id} makes no runs of clients; the clients' DAGs begin with {DAG_PREFIX}")
    code = require_readable(asked.visitor, dag_id.removeprefix(DAG_PREFIX))
    row = read_run_by_dag_run(asked.systems.engine, dag_id=dag_id, dag_run_id=dag_run_id)
    if row is not None:
        return _show_run(request, asked, OwnedRun(row, code))
    times = {task.task_id: task for task in asked.scheduler.task_times(dag_id, dag_run_id)}
    return render(
        request,
        "run_none",
        entity_code=code,
        dag_id=dag_id,
        dag_run_id=dag_run_id,
        task_id=OPENING_TASK,
        task=times.get(OPENING_TASK),
        is_known=bool(times),
    )


@router.get("/runs/{run_id}/figures", include_in_schema=False)
def show_figures(request: Request, asked: Asked, run_id: str) -> HTMLResponse:
    """Show the figures of a run's report."""
    found = find_run(asked, run_id)
    return _in_run(request, found, "run_figures", tab="Figures", read=lambda: {"figures": read_figures(asked, found)})


@router.get("/runs/{run_id}/segments", include_in_schema=False)
def show_segments(request: Request, asked: Asked, run_id: str, search: Words = "", key: Key = "") -> HTMLResponse:
    """Show the segments that match, or one of them number by number."""
    found = find_run(asked, run_id)
    if key:
        return _in_run(
            request,
            found,
            "segment",
            tab="Segments",
            read=lambda: _segment_values(explain_segment(asked, found, key)),
        )
    return _in_run(
        request,
        found,
        "segments",
        tab="Segments",
        read=lambda: {"found": search_segments(asked, found, search=search), "search": search},
    )


@router.get("/runs/{run_id}/report", include_in_schema=False)
def show_report(asked: Asked, run_id: str) -> Response:
    """Show the run's report.html as it was published."""
    headers = {"Content-Security-Policy": _REPORT_POLICY, "Content-Disposition": "inline"}
    return _stream(asked, find_run(asked, run_id), run_files.REPORT, media_type="text/html", headers=headers)


@router.get("/runs/{run_id}/files/{name}", include_in_schema=False)
def download_file(asked: Asked, run_id: str, name: str) -> Response:
    """Return a published file that the run's manifest lists."""
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}
    return _stream(asked, find_run(asked, run_id), name, media_type="application/octet-stream", headers=headers)


def _show_run(request: Request, asked: Context, found: OwnedRun) -> HTMLResponse:
    answer = read_run(asked, found)
    return render(
        request,
        "run",
        run_id=answer.run_id,
        entity_code=answer.entity_code,
        run_status=answer.status,
        has_files=bool(answer.files),
        tab="Overview",
        run=answer,
        charts=run_charts.live_charts(answer.days),
    )


def _in_run(
    request: Request, found: OwnedRun, template: str, *, tab: str, read: Callable[[], dict[str, Any]]
) -> HTMLResponse:
    """A page of the run; where its files cannot be read, the run's frame with the reason."""
    frame: dict[str, Any] = {
        "run_id": found.row.run_id,
        "entity_code": found.entity_code,
        "run_status": found.row.status_text,
        "has_files": bool(found.row.s3_output_path) and found.row.outputs_removed_at is None,
        "tab": tab,
    }
    try:
        values = read()
    except DataError as error:
        return _problem(request, 404, str(error), frame)
    except OptimizerError as error:
        return _problem(request, status_of(error), str(error), frame)
    return render(request, template, **frame, **values)


def _problem(request: Request, status: int, problem: str, frame: dict[str, Any]) -> HTMLResponse:
    """Return the run's frame with what is wrong."""
    return render(request, "run_problem", status=status, problem=problem, **frame)


def _segment_values(segment: Segment) -> dict[str, Any]:
    return {
        "segment": segment,
        "chart": run_charts.segment_chart(segment),
        "bars": run_charts.waterfall(segment.explanation.steps),
    }


def _stream(
    asked: Context, found: OwnedRun, name: str, *, media_type: str, headers: dict[str, str]
) -> StreamingResponse:
    """A file of the manifest with its checksum; the last part is held back until the checksum is right.

    Raises:
        HTTPException: 404, the manifest does not list it; 403, it is not served.
    """
    figures = asked.published.figures(found.row, store=asked.systems.store)
    if name in WITHHELD:
        raise HTTPException(403, f"{name}: {WITHHELD[name]}")
    listed = next((item for item in figures.manifest.objects if item.name == name), None)
    if listed is None:
        raise HTTPException(404, f"the manifest of run {found.row.run_id} lists no file {name!r}")
    parts = stream_verified(asked.systems.store, output_uri=figures.output_uri, listed=listed)
    return StreamingResponse(parts, media_type=media_type, headers={**_file_headers(listed), **headers})


def _file_headers(listed: ManifestObject) -> dict[str, str]:
    digest = base64.b64encode(bytes.fromhex(listed.sha256)).decode()
    return {
        "Content-Length": str(listed.byte_count),
        "ETag": f'"{listed.sha256}"',
        "Repr-Digest": f"sha-256=:{digest}:",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
