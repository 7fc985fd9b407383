"""Runs that a UI inserts with the documents' own SQL: claimed exactly once, or failed with the reason on the row."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier

import pymysql
import pytest
from pipeline.requests import RUN_ID, VERSION_ID, Execute, insert_printed, insert_row, prepare, set_value
from servers.mariadb import SqlServer, mariadb_server
from sqlalchemy import Engine, delete, event, update

from optimizer.control_plane import claims, runs, tables
from optimizer.control_plane.engine import open_engine, transaction
from optimizer.control_plane.records import Run
from optimizer.core.config.settings import CONFIG_VERSION
from optimizer.errors import RunCancelled, UnavailableError
from optimizer.lifecycle.claims import SETTLE_S, claim_pending
from optimizer.runs.systems import Systems
from optimizer.steps.snapshot_config import RunRequest, snapshot_config

__all__ = ["mariadb_server"]

DAG_ID = "optimize__drugs_hcp"
CLAIMERS, ROWS = 4, 12
START = {"trigger_dag_id": DAG_ID, "trigger_run_id": f"ui__{RUN_ID}", "conf": {"run_id": RUN_ID}}


@pytest.fixture(scope="module")
def database(mariadb_server: SqlServer) -> Iterator[str]:
    with mariadb_server.database() as name:
        yield name


@pytest.fixture(scope="module")
def prepared(mariadb_server: SqlServer, database: str) -> Iterator[Engine]:
    engine = open_engine(mariadb_server.url(database))
    prepare(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def engine(prepared: Engine) -> Engine:
    """Return the control plane with no run in it, whatever the test before left."""
    with transaction(prepared) as connection:
        connection.execute(delete(tables.run_configs))
        connection.execute(delete(tables.runs))
        connection.execute(update(tables.entities).values(status="A", current_version_id=VERSION_ID))
        connection.execute(delete(tables.versions).where(tables.versions.c.version_id != VERSION_ID))
        connection.execute(update(tables.versions).values(status="A", version_code=CONFIG_VERSION))
    return prepared


@pytest.fixture
def execute(engine: Engine, mariadb_server: SqlServer, database: str) -> Iterator[Execute]:
    """Return what sends a statement as a program does that knows nothing of us."""
    login = {"host": "127.0.0.1", "port": mariadb_server.port, "user": "root", "database": database}
    with pymysql.connect(**login, autocommit=True) as connection, connection.cursor() as cursor:
        yield lambda statement: cursor.execute(statement)


def claim(engine: Engine, *, wait=lambda seconds: None, known: dict[str, str] | None = None) -> list[dict]:
    """Claim once; `known` are the states of the DAG runs that Airflow has."""
    states = known or {}
    return claim_pending(
        engine, dag_run_state=lambda dag_id, run_id: states.get(run_id), wait=wait, now=datetime.now(UTC)
    )


def row(engine: Engine, run_id: str = RUN_ID) -> Run:
    return runs.read_run(engine, run_id)


def test_the_printed_request_is_claimed_and_says_which_dag_run_to_start(engine: Engine, execute: Execute):
    insert_printed(execute)
    waited: list[float] = []
    assert claim(engine, wait=waited.append) == [START]
    assert waited == [SETTLE_S]
    claimed = row(engine)
    assert (claimed.status, claimed.dag_id, claimed.dag_run_id) == ("pending", DAG_ID, f"ui__{RUN_ID}")
    assert claimed.triggered_by == "gaurav@company.com"
    assert abs((claimed.heartbeat_at - datetime.now(UTC)).total_seconds()) < 60


def test_without_requests_no_time_is_spent_waiting(engine: Engine):
    assert claim(engine, wait=lambda seconds: pytest.fail("it waited")) == []


def test_a_claimed_run_is_named_until_airflow_has_its_dag_run(engine: Engine, execute: Execute):
    insert_printed(execute)
    assert claim(engine) == claim(engine) == [START]  # whoever claimed it may have died before the start
    assert claim(engine, known={f"ui__{RUN_ID}": "queued"}) == []


def test_a_request_whose_values_are_still_being_written_is_left_for_the_next_look(engine: Engine, execute: Execute):
    insert_row(execute)
    assert claim(engine, wait=lambda seconds: set_value(execute, "target_win_rate", "0.4")) == []
    assert row(engine).dag_run_id is None
    assert claim(engine) == [START]


def test_a_row_that_comes_between_the_looks_is_left_for_the_next(engine: Engine, execute: Execute):
    insert_printed(execute)
    assert claim(engine, wait=lambda seconds: insert_row(execute, run_id="late")) == [START]
    assert row(engine, "late").dag_run_id is None


def test_several_claimers_at_once_claim_each_row_exactly_once(
    engine: Engine, execute: Execute, mariadb_server, database
):
    run_ids = [insert_printed(execute, run_id=f"20260203_1500{number:02}") for number in range(ROWS)]
    together = Barrier(CLAIMERS, timeout=60)

    def claim_all(worker: int) -> list[str]:
        own = open_engine(mariadb_server.url(database))
        order = run_ids[worker:] + run_ids[:worker]
        together.wait()
        done = [
            run
            for first in range(0, ROWS, 5)
            for run in claims.claim_runs(own, dict.fromkeys(order[first : first + 5], DAG_ID), now=datetime.now(UTC))
        ]
        own.dispose()
        return done

    with ThreadPoolExecutor(CLAIMERS) as pool:
        claimed = list(pool.map(claim_all, range(CLAIMERS)))
    assert sorted(run for each in claimed for run in each) == run_ids


def test_claimers_that_look_at_the_same_moment_start_the_same_dag_runs(engine: Engine, execute: Execute):
    run_ids = [insert_printed(execute, run_id=f"20260203_1500{number:02}") for number in range(3)]
    together = Barrier(CLAIMERS, timeout=60)
    with ThreadPoolExecutor(CLAIMERS) as pool:
        answers = [pool.submit(claim, engine, wait=lambda seconds: together.wait()) for _ in range(CLAIMERS)]
        starts = {start["trigger_run_id"] for answer in answers for start in answer.result()}
    assert starts == {f"ui__{run_id}" for run_id in run_ids}
    assert [row(engine, run_id).dag_run_id for run_id in run_ids] == [f"ui__{run_id}" for run_id in run_ids]


def test_a_locked_row_is_skipped_and_not_waited_for(engine: Engine, execute: Execute):
    insert_printed(execute)
    free = insert_printed(execute, run_id="free")
    with engine.connect() as holder:
        holder.exec_driver_sql(f"SELECT run_id FROM opt_runs WHERE run_id = '{RUN_ID}' FOR UPDATE")
        wanted = {RUN_ID: DAG_ID, free: DAG_ID}
        assert claims.claim_runs(engine, wanted, now=datetime.now(UTC)) == [free]
        assert claims.refuse_runs(engine, {RUN_ID: "wrong"}, now=datetime.now(UTC)) == []
    assert claims.claim_runs(engine, wanted, now=datetime.now(UTC)) == [RUN_ID]


def count_statements(engine: Engine, *, rows: int, execute: Execute) -> int:
    """Return the statements of one claim of that many good rows and as many wrong ones, all of which it settles."""
    for number in range(rows):
        insert_printed(execute, run_id=f"good_{rows}_{number:03}")
        set_value(execute, "target_margin", "7", run_id=insert_printed(execute, run_id=f"wrong_{rows}_{number:03}"))
    statements: list[str] = []
    note = lambda *call: statements.append(call[2])  # noqa: E731
    event.listen(engine, "before_cursor_execute", note)
    starts = claim(engine, known=dict.fromkeys([f"ui__good_1_{number:03}" for number in range(rows)], "queued"))
    event.remove(engine, "before_cursor_execute", note)
    assert [start["conf"]["run_id"] for start in starts] == [f"good_{rows}_{number:03}" for number in range(rows)]
    assert all("target_margin=7.0" in row(engine, f"wrong_{rows}_{n:03}").error_message for n in range(rows))
    return len(statements)


def test_two_hundred_rows_are_claimed_at_once_with_as_many_statements_as_one(engine: Engine, execute: Execute):
    one = count_statements(engine, rows=1, execute=execute)
    assert count_statements(engine, rows=200, execute=execute) == one


def test_airflow_is_not_asked_for_the_dag_run_of_a_row_that_was_just_claimed(engine: Engine, execute: Execute):
    insert_printed(execute)
    never = lambda *ids: pytest.fail("asked")  # noqa: E731
    assert claim_pending(engine, dag_run_state=never, wait=lambda seconds: None, now=datetime.now(UTC)) == [START]


NEVER = {
    "a value out of bounds": (
        "INSERT INTO opt_run_configs (run_id, config_key, config_value) VALUES ('{run}', 'target_margin', '7')",
        "entity drugs_hcp: target_margin=7.0 is above its maximum 0.95; set it between 0.0 and 0.95 (run value)",
    ),
    "an unknown key": (
        "INSERT INTO opt_run_configs (run_id, config_key, config_value) VALUES ('{run}', 'no_such_key', '1')",
        "no_such_key='1' (run value) is not a key of this version",
    ),
    "an inactive entity": (
        "UPDATE opt_entities SET status = 'I' WHERE entity_id = 1",
        "entity drugs_hcp is inactive; set opt_entities.status to 'A' to run it",
    ),
    "an entity without version": (
        "UPDATE opt_entities SET current_version_id = NULL WHERE entity_id = 1",
        "opt_entities.current_version_id is NULL; set it to a version_id of opt_versions",
    ),
    "an inactive version": ("UPDATE opt_versions SET status = 'I'", "is version v3, which is inactive"),
    "a version of other code": ("UPDATE opt_versions SET version_code = 'v9'", "its version v9 is not v3"),
    "an unknown entity": (
        "SET foreign_key_checks = 0; UPDATE opt_runs SET entity_id = 99; SET foreign_key_checks = 1",
        "entity_id 99 is not in opt_entities; insert the run of an entity that is",
    ),
    "an empty window": (
        "UPDATE opt_runs SET data_start_dt = '2126-01-01'",
        "data_start_dt=2126-01-01 is not before data_end_dt",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), NEVER.values(), ids=NEVER)
def test_a_request_that_can_never_run_is_failed_with_the_reason(
    engine: Engine, execute: Execute, spoil: str, message: str
):
    insert_printed(execute)
    for statement in spoil.split("; "):
        execute(statement.format(run=RUN_ID))
    assert claim(engine) == []
    refused = row(engine)
    assert (refused.status, refused.dag_run_id) == ("failed", None)
    assert message in refused.error_message and refused.completed_at is not None


def test_the_run_of_another_version_than_the_entitys_is_failed(engine: Engine, execute: Execute):
    execute("INSERT INTO opt_versions (version_id, opt_id, version_code, version_name) VALUES (3, 1, 'v1', 'old')")
    insert_printed(execute)
    execute("UPDATE opt_runs SET version_id = 3")
    assert claim(engine) == []
    assert "the run's version_id=3 is not 5, the current one" in row(engine).error_message


def test_a_run_id_that_airflow_would_refuse_is_failed_with_an_example(engine: Engine, execute: Execute):
    insert_row(execute, run_id="a/b c")
    assert claim(engine) == []
    assert "run_id='a/b c' is not made of letters" in row(engine, "a/b c").error_message


def test_one_wrong_request_holds_no_other_up(engine: Engine, execute: Execute):
    insert_printed(execute, run_id="20260203_140000")
    set_value(execute, "target_margin", "7", run_id="20260203_140000")
    insert_printed(execute)
    assert claim(engine) == [START]


def test_where_airflow_is_silent_the_claim_stands_and_the_next_pass_starts_it(engine: Engine, execute: Execute):
    insert_printed(execute)

    def silent(dag_id: str, dag_run_id: str) -> None:
        raise UnavailableError("Airflow does not answer")

    assert claim(engine) == [START]
    with pytest.raises(UnavailableError):
        claim_pending(engine, dag_run_state=silent, wait=lambda seconds: None, now=datetime.now(UTC))
    assert claim(engine) == [START]


def test_a_request_that_the_ui_cancels_before_the_claim_is_never_started(engine: Engine, execute: Execute):
    insert_printed(execute)
    cancel = f"UPDATE opt_runs SET status = 'cancelled' WHERE run_id = '{RUN_ID}'"
    assert claim(engine, wait=lambda seconds: execute(cancel)) == []
    assert (row(engine).status, row(engine).dag_run_id) == ("cancelled", None)


def test_a_request_that_the_ui_cancels_after_the_claim_is_started_and_stops_at_once(engine: Engine, execute: Execute):
    insert_printed(execute)
    (start,) = claim(engine)
    execute(f"UPDATE opt_runs SET status = 'cancelled' WHERE run_id = '{RUN_ID}'")
    assert claim(engine) == []
    with pytest.raises(RunCancelled, match=f"run {RUN_ID} is cancelled, not pending; start a new run of the entity"):
        begin(engine, start)
    assert row(engine).started_at is None


def test_the_dag_run_of_the_claim_takes_its_row_with_what_the_ui_set(engine: Engine, execute: Execute):
    insert_printed(execute)
    (start,) = claim(engine)
    assert begin(engine, start).run_id == RUN_ID
    started = row(engine)
    assert (started.status, started.triggered_by) == ("running", "gaurav@company.com")
    snapshot = started.config_snapshot
    assert snapshot["business"]["target_win_rate"] == 0.65 and snapshot["technical"]["max_bid_cpm"] == 30.0
    assert snapshot["sources"]["aggressive_exploration"] == "run"
    assert claim(engine) == []


def begin(engine: Engine, start: dict):
    """Do what the first task of the started DAG run does."""
    request = RunRequest(
        entity_code="drugs_hcp",
        dag_id=start["trigger_dag_id"],
        dag_run_id=start["trigger_run_id"],
        as_of=datetime.now(UTC),
        triggered_by="airflow",
        trigger_type="operator_triggered",
        values={},
        run_id=start["conf"]["run_id"],
    )
    nothing = Systems(engine, store=None, connect_warehouse=lambda: pytest.fail("the warehouse was asked"))
    return snapshot_config(request, systems=nothing, now=datetime.now(UTC))
