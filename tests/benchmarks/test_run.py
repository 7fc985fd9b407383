"""The benchmark of a run: what it compares is comparable, and the extraction's memory is bounded."""

from pathlib import Path

import pytest
from orchestration.airflow_process import run_script
from orchestration.definitions import TASKS as ENTITY_TASKS
from servers.embedded import connect_schema, load_events, systems
from warehouse.reference import WINDOW, dirty_log

from lab.benchmarks.run.bare_dag import BARE_DAG, TASKS, make_project
from lab.benchmarks.run.extraction import measure_fetch, measure_memory
from lab.benchmarks.run.walls import Walls
from lab.stack import LocalStack

__all__ = ["systems"]


def test_the_bare_dag_has_a_chain_of_as_many_tasks_as_an_entitys(tmp_path: Path):
    file = make_project(tmp_path) / "dags" / f"{BARE_DAG}.py"
    script = (
        f"import runpy; dag = runpy.run_path({str(file)!r})['dag']\n"
        "print(dag.dag_id, len(dag.tasks), sum(len(task.downstream_task_ids) for task in dag.tasks))"
    )
    done = run_script(script)
    assert done.stdout.split()[-3:] == [BARE_DAG, str(TASKS), str(TASKS - 1)], done.stderr
    assert len(ENTITY_TASKS) == TASKS


def test_what_a_run_takes_beyond_its_work_is_held_against_the_bare_dag():
    whole, beyond = Walls(bare_s=[11, 10], run_s=[43, 42], work_s=[31, 30]).figures(bids=1_000)
    assert (whole.measured, whole.yardstick, whole.bound) == (42, 30, None)
    assert (beyond.ratio, beyond.bound) == (1.2, 1.25)


def test_an_extraction_is_held_against_a_fetch_of_the_same_query(systems: LocalStack, tmp_path: Path):
    with connect_schema(systems, "run_benchmark") as connection, connection.cursor() as cursor:
        load_events(connection, dirty_log(), folder=tmp_path)
        (figure,) = measure_fetch(lambda: connect_schema(systems, "run_benchmark"), tmp_path, window=WINDOW, repeats=1)
        cursor.execute("DROP SCHEMA run_benchmark")
    assert figure.bound == 1.2 and figure.measured > 0 and figure.yardstick > 0


def test_an_extraction_holds_no_more_of_fifty_batches_than_of_five(tmp_path: Path):
    (figure,) = measure_memory(tmp_path)
    assert figure.is_kept and figure.measured == pytest.approx(figure.yardstick, rel=0.1)
