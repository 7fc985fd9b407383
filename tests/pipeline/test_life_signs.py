"""Whether a run lives: its heartbeat, the ear for a cancellation, and what becomes of a run that died."""

import logging
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from control_plane.catalog import NOW, fill_catalog, open_sample, start_sample
from pipeline.requests import copy_control_plane
from servers.waiting import wait_until
from sqlalchemy import Engine, insert, update

from optimizer.control_plane import claims, runs, tables, transitions
from optimizer.control_plane.audit import Author
from optimizer.control_plane.engine import open_engine, transaction
from optimizer.control_plane.records import Run
from optimizer.control_plane.schema import migrate
from optimizer.errors import RunCancelled, RunStateError, RunTaken, UnavailableError
from optimizer.lifecycle.guard import guarded
from optimizer.lifecycle.heartbeat import beating
from optimizer.lifecycle.zombie_runs import GRACE, fail_zombie_runs
from optimizer.runs.handle import RunHandle
from optimizer.runs.limits import LONGEST_RUN
from optimizer.runs.systems import Systems
from optimizer.steps.close_run import close_run

BEAT_S = 0.02
DEADLINE_S = 20
DAG_ID = "optimize__drugs_hcp"
SILENT = NOW + GRACE + timedelta(minutes=1)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    engine = open_engine(f"sqlite:///{tmp_path_factory.mktemp('control_plane')}/empty.db")
    migrate(engine)
    fill_catalog(engine)
    return engine


@pytest.fixture
def engine(empty: Engine, tmp_path: Path) -> Engine:
    return copy_control_plane(empty, tmp_path)


@pytest.fixture
def run(engine: Engine) -> Run:
    """Return a running run, whose last sign of life is of NOW."""
    return start_sample(engine, open_sample(engine).run_id)


def row(engine: Engine, run: Run) -> Run:
    return runs.read_run(engine, run.run_id)


def cancel_as_a_ui_does(engine: Engine, run: Run) -> None:
    with transaction(engine) as connection:
        connection.execute(update(tables.runs).where(tables.runs.c.run_id == run.run_id).values(status="cancelled"))


def work(engine: Engine, run: Run, step: Callable[[], dict], *, beat_s: float = BEAT_S) -> dict:
    """Run the step behind its guard."""
    where = {"entity_code": "drugs_hcp", "staging_uri": "s3://b/staging/", "output_uri": "s3://b/runs/"}
    handle = RunHandle(run_id=run.run_id, run_code=run.run_code, **where)
    nothing = Systems(engine, store=None, connect_warehouse=lambda: None)
    return guarded(handle, lambda own: step(), name="extract", systems=nothing, now=NOW, beat_s=beat_s)


def close(engine: Engine) -> dict:
    nothing = Systems(engine, store=None, connect_warehouse=lambda: None)
    return close_run(dag_id=DAG_ID, dag_run_id="first", failed_tasks=[], systems=nothing, now=NOW)


def test_a_working_step_moves_its_runs_heartbeat(engine: Engine, run: Run):
    def step() -> dict:
        for _ in range(2):
            last = row(engine, run).heartbeat_at
            wait_until(lambda last=last: row(engine, run).heartbeat_at > last, "no heartbeat")
        return {"done": True}

    assert work(engine, run, step) == {"done": True}


def test_a_step_is_interrupted_if_a_user_cancels_its_run(engine: Engine, run: Run):
    before, reached = signal.getsignal(signal.SIGUSR1), []

    def step() -> dict:
        cancel_as_a_ui_does(engine, run)
        threading.Event().wait(DEADLINE_S)
        reached.append("the end")
        return {}

    with pytest.raises(RunCancelled, match=f"run {run.run_id} is cancelled, not running"):
        work(engine, run, step)
    assert reached == [] and signal.getsignal(signal.SIGUSR1) == before


@pytest.mark.parametrize("lose", ["failed", "taken over"])
def test_a_step_is_interrupted_if_its_run_fails_or_another_copy_takes_it_over(engine: Engine, run: Run, lose: str):
    reached = []

    def step() -> dict:
        if lose == "failed":
            transitions.fail_run(engine, run.run_id, message="its DAG run timed out", now=NOW)
        else:
            transitions.take_run(engine, run.run_id, holder="a newer copy", now=NOW)
        threading.Event().wait(DEADLINE_S)
        reached.append("the end")
        return {}

    error, reason = (RunStateError, "is failed") if lose == "failed" else (RunTaken, "a newer copy took the run over")
    with pytest.raises(error, match=f"run {run.run_id}.*{reason}"):
        work(engine, run, step)
    assert reached == []
    assert row(engine, run).error_message == ("its DAG run timed out" if lose == "failed" else None)


def test_the_run_stays_with_the_newer_copy_of_a_task_whose_older_one_fails_later(engine: Engine, run: Run):
    def step() -> dict:
        transitions.take_run(engine, run.run_id, holder="a newer copy", now=NOW)
        raise OSError("the connection to the warehouse broke")

    with pytest.raises(RunTaken, match="lost: a newer copy took the run over"):
        work(engine, run, step, beat_s=60)
    assert (row(engine, run).held_by, row(engine, run).error_message) == ("a newer copy", None)


def test_where_no_signal_reaches_a_step_it_goes_on_to_its_end_and_counts_for_nothing(engine: Engine, run: Run):
    reached = []

    def step() -> dict:
        cancel_as_a_ui_does(engine, run)
        reached.append("the end")
        return {"done": True}

    with ThreadPoolExecutor(1) as pool, pytest.raises(RunCancelled):
        pool.submit(work, engine, run, step).result(timeout=DEADLINE_S)
    assert reached == ["the end"]


def test_the_next_step_of_a_cancelled_run_does_not_begin(engine: Engine, run: Run):
    transitions.cancel_run(engine, run.run_id, author=Author("anna"), now=NOW)
    with pytest.raises(RunCancelled, match=r"is cancelled, not running \(cancelled by anna\)"):
        work(engine, run, lambda: pytest.fail("it began"))


def test_an_error_that_a_cancel_caused_is_reported_as_the_cancel(engine: Engine, run: Run):
    def step() -> dict:
        cancel_as_a_ui_does(engine, run)
        raise OSError("the subprocess was interrupted")

    with pytest.raises(RunCancelled):
        work(engine, run, step, beat_s=60)
    assert row(engine, run).error_message is None


def test_closing_a_run_that_the_ui_cancelled_gives_it_its_end_and_a_message(engine: Engine, run: Run):
    cancel_as_a_ui_does(engine, run)
    with pytest.raises(RunCancelled, match=f"run {run.run_id} cancelled: cancelled in the control plane"):
        close(engine)
    assert (row(engine, run).completed_at, row(engine, run).error_message) == (NOW, "cancelled in the control plane")


def test_a_heartbeat_that_fails_is_logged_and_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    nowhere = open_engine(f"sqlite:///{tmp_path}/no/such/folder/control_plane.db")
    with caplog.at_level(logging.WARNING), beating(nowhere, "r", every_s=BEAT_S):
        wait_until(lambda: len(caplog.records) > 1, "no second warning")
    assert "the heartbeat of run r failed: ConfigError" in caplog.text


def test_a_heartbeat_never_revives_a_finished_run(engine: Engine, run: Run, caplog: pytest.LogCaptureFixture):
    transitions.fail_run(engine, run.run_id, message="lost", now=NOW)
    with (
        caplog.at_level(logging.INFO),
        pytest.raises(RunStateError, match="is failed, not running"),
        beating(engine, run.run_id, every_s=BEAT_S),
    ):
        threading.Event().wait(DEADLINE_S)
    assert "no more heartbeats" in caplog.text
    assert (row(engine, run).status, row(engine, run).heartbeat_at) == ("failed", NOW)


DEATHS = {
    None: "Airflow has no DAG run first of optimize__drugs_hcp",
    "failed": "DAG run first of optimize__drugs_hcp ended failed and left the run running",
    "success": "DAG run first of optimize__drugs_hcp ended success and left the run running",
}


@pytest.mark.parametrize(("state", "reason"), DEATHS.items(), ids=map(str, DEATHS))
def test_a_silent_run_whose_dag_run_is_gone_or_ended_is_failed_with_the_reason(
    engine: Engine, run: Run, state: str | None, reason: str
):
    dead = fail_zombie_runs(engine, dag_run_state=lambda dag_id, run_id: state, now=SILENT)
    assert dead == [{"run_id": run.run_id, "reason": reason}]
    failed = row(engine, run)
    assert (failed.status, failed.completed_at) == ("failed", SILENT)
    assert failed.error_message == f"{reason}; last sign of life 2026-02-03 15:00:00 UTC. Start a new run"


def test_what_a_dead_runs_last_step_noted_is_kept(engine: Engine, run: Run):
    transitions.note_error(engine, run.run_id, "extract: the warehouse did not answer")
    fail_zombie_runs(engine, dag_run_state=lambda dag_id, run_id: None, now=SILENT)
    assert row(engine, run).error_message.endswith("(before: extract: the warehouse did not answer)")


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_silent_run_whose_dag_run_is_alive_is_left_alone(engine: Engine, run: Run, state: str):
    assert fail_zombie_runs(engine, dag_run_state=lambda dag_id, run_id: state, now=NOW + LONGEST_RUN) == []
    assert row(engine, run) == run


def test_a_run_that_is_silent_for_longer_than_any_run_may_take_is_failed(engine: Engine, run: Run):
    later = NOW + LONGEST_RUN + timedelta(seconds=1)
    (dead,) = fail_zombie_runs(engine, dag_run_state=lambda dag_id, run_id: "running", now=later)
    assert "is running, but the run has been silent for more than 6 hours" in dead["reason"]


def test_a_run_with_a_recent_heartbeat_is_not_looked_up(engine: Engine, run: Run):
    assert fail_zombie_runs(engine, dag_run_state=lambda *ids: pytest.fail("asked"), now=NOW + GRACE) == []


def test_a_run_that_beats_while_airflow_is_asked_lives(engine: Engine, run: Run):
    def state(dag_id: str, dag_run_id: str) -> None:
        transitions.require_running(engine, run.run_id, now=SILENT)

    assert fail_zombie_runs(engine, dag_run_state=state, now=SILENT) == []
    assert row(engine, run).status == "running"


def test_no_run_is_failed_while_airflow_does_not_answer(engine: Engine, run: Run):
    def silent(dag_id: str, dag_run_id: str) -> None:
        raise UnavailableError("Airflow does not answer")

    with pytest.raises(UnavailableError):
        fail_zombie_runs(engine, dag_run_state=silent, now=SILENT)
    assert row(engine, run) == run


def test_a_claimed_run_that_waits_in_airflows_queue_lives_and_one_that_was_never_started_does_not(engine: Engine):
    for run_id in ("waiting", "lost"):
        with transaction(engine) as connection:
            connection.execute(insert(tables.runs).values(run_id=run_id, entity_id=1, version_id=5, created_at=NOW))
        assert claims.claim_runs(engine, {run_id: DAG_ID}, now=NOW) == [run_id]
    states = {"ui__waiting": "queued"}
    zombies = fail_zombie_runs(
        engine, dag_run_state=lambda dag_id, run_id: states.get(run_id), now=NOW + timedelta(days=9)
    )
    assert [run["run_id"] for run in zombies] == ["lost"]
    assert [runs.read_run(engine, run_id).status for run_id in ("waiting", "lost")] == ["pending", "failed"]
