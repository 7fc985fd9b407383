"""The wall of a run in Airflow, of a bare DAG of as many tasks, and of the run's work alone."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine

from lab.benchmarks.figures import Figure
from lab.benchmarks.run.bare_dag import BARE_DAG, TASKS, make_project
from lab.stack import SYSTEMS, LocalStack, demo, event_log
from lab.stack.catalogue import ensure_values
from optimizer.clients.airflow_api import AirflowApi
from optimizer.names import DAG_PREFIX
from optimizer.warehouse.extraction import Window

ENTITY = "drugs_hcp"
READY_S, RUN_S = 400, 1_800
MAX_OVERHEAD = 1.25
"""What a run may take beyond its work, in walls of a bare DAG."""


@dataclass(frozen=True, slots=True)
class Walls:
    """Seconds from a DAG run's creation to its end, and of the work alone; one of each a round."""

    bare_s: list[float] = field(default_factory=list)
    run_s: list[float] = field(default_factory=list)
    work_s: list[float] = field(default_factory=list)

    def figures(self, *, bids: int) -> list[Figure]:
        """Return the lines; of each wall the best round counts, which other work on the machine disturbed least."""
        bare, run, work = min(self.bare_s), min(self.run_s), min(self.work_s)
        against = f"a bare DAG of {TASKS} empty tasks"
        return [
            Figure(f"a run on {bids:,} bids in Airflow", run, work, "its work alone, in one process", "s"),
            Figure("what the run takes beyond its work", run - work, bare, against, "s", MAX_OVERHEAD),
        ]


def log_window(object_id: int) -> Window:
    """Return all days of the log."""
    end = datetime.combine(demo.today_utc(), datetime.min.time(), UTC)
    return Window(object_id, end - timedelta(days=event_log.LOG_DAYS), end)


@contextmanager
def running_stack(folder: Path, *, bids: int) -> Iterator[tuple[LocalStack, Engine]]:
    """Give a running stack with a log of that many bids of ENTITY, and its control plane."""
    project, home = folder / "project", folder / "home"
    project.mkdir()
    stack = LocalStack.open(home, project=make_project(project))
    try:
        stack.start(*SYSTEMS)
        stack.wait_ready(READY_S)
        engine = demo.prepare_control_plane(stack)
        ensure_values(engine, ENTITY, {"control_pct": "0", "promotion": "auto"})
        demo.load_generated(stack, today=demo.today_utc(), bids={ENTITY: bids})
        stack.start()
        stack.wait_ready(READY_S)
        yield stack, engine
    finally:
        stack.stop()


def measure_walls(stack: LocalStack, *, rounds: int, tell: Callable[[str], None]) -> Walls:
    """Return the walls of that many rounds.

    A first run, which is approved, and a first bare DAG come before them and do not count.

    Args:
        tell: is called with what is being measured.
    """
    values = {"data_end_dt": demo.today_utc().isoformat()}
    dag_id, walls = DAG_PREFIX + ENTITY, Walls()
    tell("the first run")
    first = demo.trigger_run(stack, dag_id=dag_id, conf=values)
    for tasks in demo.follow_run(stack, dag_id=dag_id, dag_run_id=first):
        if len(tasks) not in (0, TASKS):
            raise RuntimeError(f"{dag_id} has {len(tasks)} tasks and the bare DAG {TASKS}")
    with stack.connect_airflow() as airflow:
        airflow.wait_for_dag(BARE_DAG, timeout_s=READY_S)
        _wall(airflow, BARE_DAG, {})
        for number in range(1, rounds + 1):
            tell(f"round {number} of {rounds}: the bare DAG")
            walls.bare_s.append(_wall(airflow, BARE_DAG, {}))
            tell(f"round {number} of {rounds}: the run")
            walls.run_s.append(_wall(airflow, dag_id, values))
            tell(f"round {number} of {rounds}: the work alone")
            walls.work_s.append(_work(stack))
    return walls


def _wall(airflow: AirflowApi, dag_id: str, conf: dict[str, str]) -> float:
    run_id = airflow.trigger(dag_id, conf=conf)
    state = airflow.wait_for_run(dag_id, run_id, timeout_s=RUN_S)
    if state != "success":
        raise RuntimeError(f"{run_id} of {dag_id} ended {state}")
    run = airflow.request("GET", f"/dags/{dag_id}/dagRuns/{run_id}")
    queued, ended = (datetime.fromisoformat(run[name]) for name in ("queued_at", "end_date"))
    return (ended - queued).total_seconds()


def _work(stack: LocalStack) -> float:
    """Seconds of the same steps in one process, with a task's environment."""
    command = [sys.executable, "-m", "lab.benchmarks.run.work", str(stack.home.path), ENTITY]
    environment = {**os.environ, **stack.environment()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    if done.returncode:
        raise RuntimeError(f"the run's work failed: {done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])
