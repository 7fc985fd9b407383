"""What `optimizer up` and `optimizer demo` do."""

import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from rich.panel import Panel
from rich.status import Status
from rich.text import Text
from sqlalchemy import Engine

from lab.stack import demo as local
from lab.stack.programs import AIRFLOW, SYSTEMS
from lab.stack.stack import LocalStack
from optimizer.cli.run_columns import RUN_NUMBERS
from optimizer.cli.validation import print_validation, validation_document
from optimizer.clients.airflow_api import TaskState
from optimizer.control_plane.records import Run
from optimizer.core.live.live_window import first_unsettled_day
from optimizer.errors import RunStateError
from optimizer.names import CONSOLE_PREFIX, DAG_PREFIX, TRACKING_PREFIX
from optimizer.presentation.terminal import console, format_value, print_table

ENDED_STATES = ("success", "failed", "skipped", "upstream_failed", "up_for_retry")
BID_COLUMNS = {
    "segment": "segment_key",
    "bid CPM": "suggested_bid_cpm",
    "bids seen": "bids",
    "win rate seen": "observed_win_rate",
    "expected": "expected_win_rate",
    "margin": "expected_margin",
    "bound by": "reason",
}
"""Heading in the demo's table: column of suggested_bids.csv."""


def start_all() -> None:
    """Start the embedded stack with Airflow's UI, scheduler and triggerer, and print address and login."""
    stack = LocalStack.open()
    with _step("starting the warehouse, the object store and tracking"):
        stack.start(*SYSTEMS)
        stack.wait_ready(timeout_s=local.READY_TIMEOUT_S)
        local.prepare_control_plane(stack)
    with _step("starting Airflow"):
        stack.start(*AIRFLOW, with_schedules=True)
        stack.wait_ready(timeout_s=local.READY_TIMEOUT_S)
    settings = stack.settings
    lines = (
        f"http://127.0.0.1:{settings.airflow_port}",
        f"user      {settings.airflow_user}",
        f"password  {settings.airflow_password}",
        "",
        f"Console: {CONSOLE_PREFIX}, with the same login.",
        f"Optimization tracking: {TRACKING_PREFIX}, with the same login",
        "or with a key; `optimizer env` prints what its commands need.",
        "",
        "`make down` stops it; tables and objects stay.",
    )
    console.print(Panel("\n".join(lines), title="Airflow", expand=False))


def run_demo(entity: str, own: Mapping[str, Path]) -> None:
    """Run the entity through Airflow and print what came of it.

    Args:
        own: the files of a log of the user's own by table; empty for the generated one.

    Raises:
        RunStateError: the run's validation failed.
    """
    stack = LocalStack.open()
    with ExitStack() as started:
        with _step("starting the warehouse, the object store and tracking"):
            started.enter_context(local.running(stack, *SYSTEMS))
        result = _run(stack, started, entity=entity, own=own)
    _print_result(result, stack)
    if result.run.validation_status != "passed":
        raise RunStateError(f"run {result.run.run_id} completed but its validation failed: {result.run.error_message}")


def _run(stack: LocalStack, started: ExitStack, *, entity: str, own: Mapping[str, Path]) -> local.DemoResult:
    with _step("migrating the control plane, loading the entities"):
        engine = local.prepare_control_plane(stack)
    if own:
        with _step(f"loading {', '.join(map(str, own.values()))}"):
            log = local.load_own(stack, engine, entity_code=entity, files=own, now=datetime.now(UTC))
            end_day = log.end_day
            for note in log.notes:
                console.print(Text(note, style="yellow"))
        with _step("starting Airflow"):
            started.enter_context(local.running(stack, *AIRFLOW))
    else:
        end_day = first_unsettled_day(datetime.now(UTC))
        with ThreadPoolExecutor(max_workers=1) as beside:
            airflow = beside.submit(started.enter_context, local.running(stack, *AIRFLOW))
            _leave_live_days(stack, engine, end_day=end_day)
            with _step("waiting for Airflow, which started meanwhile"):
                airflow.result()
    dag_id = DAG_PREFIX + entity
    # A team's own log may end long ago; its run is still wanted live.
    conf = {"data_end_dt": end_day.isoformat(), **({"promote_old_window": True} if own else {})}
    dag_run_id = local.trigger_run(stack, dag_id=dag_id, conf=conf)
    tasks = _follow(local.follow_run(stack, dag_id=dag_id, dag_run_id=dag_run_id), dag_id)
    run = local.read_run(engine, dag_id=dag_id, dag_run_id=dag_run_id)
    return local.read_result(stack, engine, run=run, tasks=tasks)


def _leave_live_days(stack: LocalStack, engine: Engine, *, end_day: date) -> None:
    """Load the generated log, and replay the live days that are missing before `end_day`."""
    # They load the steps of a run and the warehouse's driver: two seconds, which no other command should wait for.
    from lab import history
    from lab.stack import live_history

    span = live_history.read_span(stack, engine, end_day=end_day)
    with _step(f"an event log of {live_history.LOG_DAYS} days"):
        live_history.load_log(stack, engine, span=span, end_day=end_day)
    days = live_history.count_missing(span, end_day=end_day)
    with _step(
        f"{days} live days of {history.ENTITY} before {end_day}" if days else "no live day is missing"
    ) as status:
        live_history.replay_live_days(
            stack,
            engine,
            span=span,
            end_day=end_day,
            on_day=lambda day: status.update(f"live day {day} of {history.ENTITY}"),
        )


def _follow(progress: Iterable[list[TaskState]], dag_id: str) -> list[TaskState]:
    """Print each task as it ends, and return the final task instances."""
    seen: set[tuple[str, int, str]] = set()
    tasks: list[TaskState] = []
    with console.status(f"{dag_id} is starting") as status:
        for tasks in progress:
            for task in tasks:
                mark = (task.task_id, task.try_number, str(task.state))
                if task.state in ENDED_STATES and mark not in seen:
                    seen.add(mark)
                    console.print(f"{task.state:>9}  {task.task_id:<16} {task.duration_s or 0:6.1f} s")
                if task.state == "awaiting_input":
                    status.update("approve waits for a person: the demo approves the run")
                if task.state == "running":
                    status.update(f"{task.task_id} is running")
    return tasks


def _print_result(result: local.DemoResult, stack: LocalStack) -> None:
    run = result.run
    print_validation(validation_document(run, result.metrics))
    print_table(
        f"Run {run.run_id}", ["number", "value"], ((name, format_value(_number_of(run, name))) for name in RUN_NUMBERS)
    )
    names = ((output, output.s3_key.rsplit("/", 1)[1]) for output in result.outputs)
    print_table("Files", ["file", "rows", "bytes"], ([name, o.row_count, o.byte_count] for o, name in names))
    bucket, _, prefix = (run.s3_output_path or "").removeprefix("s3://").partition("/")
    folder = stack.home.objects / bucket / prefix
    console.print(f"on this machine: {folder}", soft_wrap=True, highlight=False)
    console.print(f"report: {(folder / 'report.html').as_uri()}", soft_wrap=True, highlight=False)
    rows = ([_number(row[column]) for column in BID_COLUMNS.values()] for row in result.first_bids)
    print_table("The first ten bids", list(BID_COLUMNS), rows)
    print_table("Tasks", ["task", "state", "seconds"], ([t.task_id, t.state, t.duration_s] for t in result.tasks))
    address = f"http://127.0.0.1:{stack.settings.airflow_port}{CONSOLE_PREFIX}"
    console.print(f"console: {address}, after `make up`, which prints the login", soft_wrap=True, highlight=False)


def _number_of(run: Run, name: str) -> Any:
    """A number of the run; its validation_status with the warnings, which are in another column."""
    return run.outcome if name == "validation_status" else getattr(run, name)


def _number(text: str) -> int | float | str | None:
    """A field of a CSV file as the number that it spells, if it spells one; None where it is empty."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text or None


@contextmanager
def _step(what: str) -> Iterator[Status]:
    """Show what is going on, then how long it took; the block may update what is shown."""
    begun = time.monotonic()
    with console.status(what) as status:
        yield status
    console.print(f"     done  {what} ({time.monotonic() - begun:.1f} s)", highlight=False)
