"""Runs that died: a row that is still open though its DAG run is gone, has ended, or outlived its time-out."""

import logging
from datetime import datetime, timedelta

from sqlalchemy import Engine

from optimizer.control_plane import runs, transitions
from optimizer.control_plane.records import Run
from optimizer.lifecycle.claims import DagRunState
from optimizer.runs.limits import LONGEST_RUN

log = logging.getLogger(__name__)

GRACE = timedelta(minutes=10)
"""A run without a heartbeat for this long is looked up; a working step sends one every half minute."""

ENDED_STATES = ("success", "failed")
MAX_RUNS_A_PASS = 200


def fail_zombie_runs(engine: Engine, *, dag_run_state: DagRunState, now: datetime) -> list[dict[str, str]]:
    """Set failed every silent run whose DAG run does not work on it anymore; return run_id and reason of each.

    A run whose DAG run is queued, running or waiting for a retry lives, however long it has been silent, until it
    has been running for longer than any DAG run may. Where Airflow does not answer, nothing is concluded.
    """
    dead = []
    for run in runs.list_silent(engine, silent_since=now - GRACE, limit=MAX_RUNS_A_PASS):
        state = dag_run_state(run.dag_id or "", run.dag_run_id or "")
        reason = reason_of_death(run, state, now=now)
        if reason is None:
            continue
        message = f"{reason}; last sign of life {last_sign(run):%Y-%m-%d %H:%M:%S} UTC. Start a new run"
        # Guarded once more: a run that beat meanwhile lives.
        if transitions.fail_silent(
            engine, run.run_id, silent_since=now - GRACE, message=run_message(run, message), now=now
        ):
            log.warning("run %s is set failed: %s", run.run_id, message)
            dead.append({"run_id": run.run_id, "reason": reason})
    return dead


def reason_of_death(run: Run, state: str | None, *, now: datetime) -> str | None:
    """Return why the silent open run is dead, or None where it lives.

    Args:
        state: of its DAG run; None where Airflow has no such DAG run.
    """
    name = f"DAG run {run.dag_run_id} of {run.dag_id}"
    if state is None:
        return f"Airflow has no {name}"
    if state in ENDED_STATES:
        return f"{name} ended {state} and left the run {run.status}"
    if run.status == "running" and now - last_sign(run) > LONGEST_RUN:
        hours = LONGEST_RUN / timedelta(hours=1)
        return f"{name} is {state}, but the run has been silent for more than {hours:.0f} hours, its time-out"
    return None


def run_message(run: Run, message: str) -> str:
    """Return the message with what a step noted on the run before."""
    return f"{message} (before: {run.error_message})" if run.error_message else message


def last_sign(run: Run) -> datetime:
    """Return when the run last showed that it lives; nothing of it is earlier than its row."""
    return run.heartbeat_at or run.created_at
