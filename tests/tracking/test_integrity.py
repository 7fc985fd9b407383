"""Rows belong to a run and an iteration that exist, even under concurrent writes and deletions."""

import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from servers.tracking import Tracking
from servers.waiting import wait_until

ITERATION = "INSERT INTO optimization_iterations (project_id, run_id, iteration) VALUES ('shop', %s, %s)"
SAMPLE = (
    "INSERT INTO optimization_samples (project_id, run_id, iteration_id, iteration, sample_index) "
    "SELECT project_id, run_id, id, iteration, 7 FROM optimization_iterations WHERE run_id = %s AND iteration = %s"
)
DELETE_RUN = "DELETE FROM optimization_runs WHERE id = %s"
DELETE_ITERATION = "DELETE FROM optimization_iterations WHERE run_id = %s"
TABLES = ("optimization_iterations", "optimization_samples")


@pytest.fixture
def run_id(each_tracking: Tracking) -> str:
    """A run of the project shop with an iteration, 1, and a sample."""
    shop = each_tracking.client("shop")
    run_id = shop.create_run()["id"]
    shop.add_iteration(run_id, iteration=1, score=1)
    shop.post(f"/runs/{run_id}/samples", {"samples": [{"iteration": 1, "sampleIndex": 0}]})
    return run_id


@contextmanager
def administrator(tracking: Tracking):
    with tracking.connect() as connection:
        connection.execute("SET ROLE optimization_service")
        connection.commit()
        yield connection


def rows_of(tracking: Tracking, run_id: str) -> list[int]:
    with administrator(tracking) as connection:
        query = "SELECT count(*) FROM {} WHERE run_id = %s"
        return [connection.execute(query.format(table), [run_id]).fetchone()[0] for table in TABLES]


def in_turn(tracking: Tracking, first: tuple[str, list], second: tuple[str, list]) -> Exception | None:
    """Run two statements in transactions of their own, the second while the first is open; return its error."""
    with administrator(tracking) as one, administrator(tracking) as other, ThreadPoolExecutor(1) as threads:
        one.execute(*first)

        def follow() -> None:
            with other.transaction():
                other.execute(*second)

        following: Future[None] = threads.submit(follow)
        query = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
        with tracking.connect() as watcher:
            watcher.autocommit = True
            pid = [other.info.backend_pid]
            wait_until(lambda: following.done() or watcher.execute(query, pid).fetchone() == (1,), "it does not wait")
        one.commit()
        return following.exception()


@pytest.mark.parametrize(
    ("statement", "values"),
    [
        (ITERATION, [uuid.uuid4(), 2]),
        (
            "INSERT INTO optimization_samples (project_id, run_id, iteration_id, iteration, sample_index) "
            "VALUES ('shop', %s, %s, 1, 0)",
            [uuid.uuid4(), uuid.uuid4()],
        ),
    ],
    ids=["iteration", "sample"],
)
def test_a_row_of_an_unknown_run_is_refused(each_tracking: Tracking, statement, values):
    with administrator(each_tracking) as connection, pytest.raises(psycopg.errors.ForeignKeyViolation):
        connection.execute(statement, values)


@pytest.mark.parametrize("column", ["iteration", "iteration_id"])
def test_a_sample_of_an_unknown_iteration_is_refused(each_tracking: Tracking, run_id, column):
    place = {"iteration_id": "id", "iteration": "iteration"} | {
        column: {"iteration": "iteration + 1", "iteration_id": "gen_random_uuid()"}[column]
    }
    query = (
        "INSERT INTO optimization_samples (project_id, run_id, iteration_id, iteration, sample_index) "
        f"SELECT project_id, run_id, {place['iteration_id']}, {place['iteration']}, 7 "
        "FROM optimization_iterations WHERE run_id = %s"
    )
    with administrator(each_tracking) as connection, pytest.raises(psycopg.errors.ForeignKeyViolation):
        connection.execute(query, [run_id])


@pytest.mark.parametrize("added", [ITERATION, SAMPLE], ids=["iteration", "sample"])
def test_a_row_that_comes_while_its_run_is_deleted_is_refused(each_tracking: Tracking, run_id, added):
    number = 2 if added == ITERATION else 1
    error = in_turn(each_tracking, (DELETE_RUN, [run_id]), (added, [run_id, number]))
    assert isinstance(error, psycopg.errors.ForeignKeyViolation)
    assert rows_of(each_tracking, run_id) == [0, 0]


@pytest.mark.parametrize("added", [ITERATION, SAMPLE], ids=["iteration", "sample"])
def test_a_run_that_is_deleted_while_a_row_comes_takes_it_along(each_tracking: Tracking, run_id, added):
    number = 2 if added == ITERATION else 1
    assert in_turn(each_tracking, (added, [run_id, number]), (DELETE_RUN, [run_id])) is None
    assert rows_of(each_tracking, run_id) == [0, 0]


def test_a_sample_that_comes_while_its_iteration_is_deleted_is_refused(each_tracking: Tracking, run_id):
    error = in_turn(each_tracking, (DELETE_ITERATION, [run_id]), (SAMPLE, [run_id, 1]))
    assert isinstance(error, psycopg.errors.ForeignKeyViolation)
    assert rows_of(each_tracking, run_id) == [0, 0]


def test_an_iteration_that_is_deleted_while_a_sample_comes_takes_it_along(each_tracking: Tracking, run_id):
    assert in_turn(each_tracking, (SAMPLE, [run_id, 1]), (DELETE_ITERATION, [run_id])) is None
    assert rows_of(each_tracking, run_id) == [0, 0]
    read = each_tracking.client("shop").get(f"/runs/{run_id}").json()["data"]
    assert (read["iterationsStored"], read["samplesStored"]) == (0, 0)


def test_a_caller_that_deletes_its_run_deletes_rows_that_it_may_not_delete_itself(each_tracking: Tracking, run_id):
    with each_tracking.connect() as connection:
        connection.execute("SET LOCAL ROLE optimization_app")
        connection.execute("SELECT set_config('app.projects', '{shop}', true)")
        connection.execute(DELETE_RUN, [run_id])
    assert rows_of(each_tracking, run_id) == [0, 0]


def test_a_project_that_is_removed_takes_its_rows_along(each_tracking: Tracking):
    run_id = uuid.uuid4()
    with administrator(each_tracking) as connection:
        connection.execute("INSERT INTO project_config VALUES ('leaving', 'a')")
        connection.execute(
            "INSERT INTO optimization_runs (id, project_id, run_name, optimizer_type) "
            "VALUES (%s, 'leaving', 'r', 'rtb')",
            [run_id],
        )
        connection.execute(ITERATION.replace("shop", "leaving"), [run_id, 1])
        connection.execute(SAMPLE, [run_id, 1])
        connection.commit()
        connection.execute("DELETE FROM project_config WHERE id = 'leaving'")
    assert rows_of(each_tracking, str(run_id)) == [0, 0]


@pytest.mark.parametrize(
    "change",
    [
        "optimization_runs SET id = gen_random_uuid() WHERE id = %s",
        "optimization_runs SET project_id = 'search' WHERE id = %s",
        "optimization_iterations SET id = gen_random_uuid() WHERE run_id = %s",
        "optimization_iterations SET iteration = 8 WHERE run_id = %s",
        "optimization_samples SET iteration_id = gen_random_uuid() WHERE run_id = %s",
        "optimization_samples SET run_id = gen_random_uuid() WHERE run_id = %s",
    ],
)
def test_the_keys_that_rows_are_found_by_are_kept(each_tracking: Tracking, run_id, change):
    with administrator(each_tracking) as connection, pytest.raises(psycopg.errors.ForeignKeyViolation):
        connection.execute(f"UPDATE {change}", [run_id])
