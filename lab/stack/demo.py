"""The demo: a stack, a log, one entity's run through Airflow, and what came of it; `live_history` has its live days."""

import csv
import io
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from lab.stack import approvals, event_log, own_log
from lab.stack.catalogue import BUCKET, check_entity, ensure_entity, load_catalogue
from lab.stack.stack import LocalStack
from optimizer.artifacts.store import ObjectStore
from optimizer.clients.airflow_api import TaskState
from optimizer.control_plane import registry, runs
from optimizer.control_plane.engine import open_engine
from optimizer.control_plane.records import Run, RunMetric, RunOutput
from optimizer.control_plane.schema import migrate
from optimizer.errors import RunStateError, UnavailableError

READY_TIMEOUT_S = 180
RUN_TIMEOUT_S = 1_800
LOG_MARKER = "event_log.json"


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo shows of a finished run."""

    run: Run
    metrics: list[RunMetric]
    outputs: list[RunOutput]
    first_bids: list[dict[str, str]]
    tasks: list[TaskState]


@contextmanager
def running(stack: LocalStack, *programs: str) -> Iterator[None]:
    """Start those of the programs that are down, wait until all answer, and stop just these at the end."""
    states = stack.status()
    started = [program for program in programs if states[program] != "running"]
    try:
        if started:
            stack.start(*started)
        stack.wait_ready(timeout_s=READY_TIMEOUT_S)
        yield
    finally:
        if started:
            stack.stop(*started)
        if set(stack.status().values()) == {"stopped"}:
            stack.stop()


def prepare_control_plane(stack: LocalStack) -> Engine:
    """Migrate the control plane, load the catalogue and make the bucket; all can be repeated."""
    engine = open_engine(stack.environment()["OPTIMIZER_CONTROL_PLANE_URL"])
    migrate(engine)
    load_catalogue(engine)
    stack.ensure_bucket(BUCKET)
    return engine


def load_generated(stack: LocalStack, *, today: date, bids: Mapping[str, int] = event_log.LOG_BIDS) -> bool:
    """Load the generated log up to yesterday; return False where it is there already."""
    connection = stack.connect_warehouse()
    with connection:
        event_log.create_tables(connection)
        marker = stack.home.state / LOG_MARKER
        return event_log.load_generated_log(connection, end_day=today, bids=bids, marker=marker)


def load_own(
    stack: LocalStack, engine: Engine, *, entity_code: str, files: Mapping[str, Path], now: datetime
) -> own_log.OwnLog:
    """Load a team's own log for the entity, which is added where it is new, and return it.

    Raises:
        DataError: a file cannot be used; ConfigError: the entity is another client. Either way nothing was changed.
    """
    log = own_log.read_own_log(files, now=now)
    check_entity(engine, entity_code, object_id=log.object_id)
    with stack.connect_warehouse() as connection:
        event_log.create_tables(connection)
        own_log.load_own_log(connection, log, marker=stack.home.state / LOG_MARKER)
    ensure_entity(engine, entity_code, object_id=log.object_id)
    return log


def trigger_run(stack: LocalStack, *, dag_id: str, conf: Mapping[str, Any]) -> str:
    """Start a run of an entity's DAG once Airflow knows it, and return the dag_run_id.

    Raises:
        UnavailableError: the DAG does not appear.
    """
    with stack.connect_airflow() as airflow:
        airflow.wait_for_dag(dag_id, timeout_s=READY_TIMEOUT_S)
        airflow.unpause(dag_id)
        return airflow.trigger(dag_id, conf=dict(conf))


def follow_run(stack: LocalStack, *, dag_id: str, dag_run_id: str) -> Iterator[list[TaskState]]:
    """Yield the run's task instances about once a second until it has ended; approve it where it asks.

    The demo gives the answer of the person who started the run.

    Raises:
        UnavailableError: it takes longer than half an hour.
    """
    with stack.connect_airflow() as airflow:
        deadline, target = time.monotonic() + RUN_TIMEOUT_S, {"dag_id": dag_id, "dag_run_id": dag_run_id}
        is_answered = False
        while True:
            state = airflow.dag_run(dag_id, dag_run_id)
            tasks = airflow.task_instances(dag_id, dag_run_id)
            yield tasks
            approve = next((task for task in tasks if task.task_id == approvals.TASK), None)
            if not is_answered and approvals.is_waiting(approve, stack, **target):
                approvals.answer(airflow, "Approve", **target)
                is_answered = True
            if state in ("success", "failed"):
                return
            if time.monotonic() > deadline:
                raise UnavailableError(f"run {dag_run_id} of {dag_id} is still {state} after {RUN_TIMEOUT_S} s")
            time.sleep(1)


def read_result(stack: LocalStack, engine: Engine, *, run: Run, tasks: list[TaskState]) -> DemoResult:
    """Return what the run left in the control plane and in S3.

    Raises:
        RunStateError: it did not complete; the message is the run's own.
    """
    if run.status != "completed":
        raise RunStateError(f"run {run.run_id} is {run.status}: {run.error_message}")
    content = ObjectStore(stack.connect_objects()).get_bytes(f"{run.s3_output_path}suggested_bids.csv")
    rows = csv.DictReader(io.StringIO(content.decode()))
    return DemoResult(
        run=run,
        metrics=registry.read_metrics(engine, run.run_id),
        outputs=registry.read_outputs(engine, run.run_id),
        first_bids=[row for row, _ in zip(rows, range(10), strict=False)],
        tasks=tasks,
    )


def read_run(engine: Engine, *, dag_id: str, dag_run_id: str) -> Run:
    """Return the control plane's row of a DAG run.

    Raises:
        RunStateError: the DAG run ended before it had one.
    """
    run = runs.read_run_by_dag_run(engine, dag_id=dag_id, dag_run_id=dag_run_id)
    if run is None:
        raise RunStateError(
            f"DAG run {dag_run_id} of {dag_id} ended without a row in opt_runs; read the log of snapshot_config in "
            "Airflow (`make up`), then run it again"
        )
    return run


def today_utc() -> date:
    """Return today's date in UTC."""
    return datetime.now(UTC).date()
