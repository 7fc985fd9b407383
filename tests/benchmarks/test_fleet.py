"""The fleet's benchmark on a few entities: every file has its DAGs, and more entities take no more statements."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from servers.embedded import systems
from sqlalchemy import Engine, event

from lab.benchmarks.console.fleet import BUCKET, Fleet
from lab.benchmarks.fleet.__main__ import make_fleet
from lab.benchmarks.fleet.airflow import serving_dags
from lab.benchmarks.fleet.commands import BOUNDS_S, command_figures, measure_commands, publish_manifests
from lab.benchmarks.fleet.monitoring import measure_monitor
from lab.benchmarks.fleet.parsing import Parser, parse_figures, shard_figures, task_figure
from lab.stack import LocalStack
from optimizer.artifacts.store import ObjectStore
from optimizer.clients.airflow_api import AirflowApi
from optimizer.control_plane.deployment_history import list_active
from optimizer.control_plane.entities import read_definitions
from optimizer.control_plane.runs import read_active_outcomes
from optimizer.control_plane.serving_snapshots import list_behind
from optimizer.lifecycle.doctor import examine

__all__ = ["systems"]

ENTITIES, RUNS, TASKS = 12, 4, 11
NOW = datetime(2026, 6, 1, 8, tzinfo=UTC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fleets") / "one"


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[Engine]:
    engine = make_fleet(folder, entities=ENTITIES, runs=RUNS)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def parser(engine: Engine, folder: Path) -> Parser:
    return Parser(folder, folder / "control_plane.db", repeats=0)


@pytest.fixture
def store(systems: LocalStack) -> ObjectStore:
    systems.ensure_bucket(BUCKET)
    return ObjectStore(systems.connect_objects())


def test_the_dag_file_of_all_entities_is_compared_with_as_many_bare_dags(parser: Parser):
    ours, bare = parser.entities(), parser.bare(dags=ENTITIES, tasks=TASKS)
    assert (ours.dags, ours.tasks) == (ENTITIES, ENTITIES * TASKS)
    assert [(figure.bound, figure.yardstick) for figure in parse_figures(ours, bare)] == [
        (2.0, bare.parse_s),
        (2.0, bare.serialize_s),
    ]
    with pytest.raises(RuntimeError, match=r"12 DAGs of 132 tasks are not 11 of 132"):
        parse_figures(ours, replace(bare, dags=11))


def test_in_a_task_the_file_builds_the_one_dag(parser: Parser):
    found = parser.in_task(Fleet(ENTITIES, RUNS, 1, NOW).example)
    assert (found.dags, found.tasks) == (1, TASKS)
    assert task_figure(found, entities=ENTITIES).yardstick == found.import_s + 0.2


def test_parts_of_the_entities_are_all_of_them(parser: Parser):
    shards = [parser.shard(number, 2) for number in (1, 2)]
    assert sum(shard.dags for shard in shards) == ENTITIES
    assert [figure.yardstick for figure in shard_figures(shards)] == [30, 30]


def test_the_commands_are_measured_on_a_fleet_without_findings(engine: Engine, systems: LocalStack, store: ObjectStore):
    assert publish_manifests(engine, store) == ENTITIES * RUNS - dead_runs(engine)
    costs = measure_commands(engine, systems.settings, repeats=1)
    assert [cost.arguments for cost in costs] == list(BOUNDS_S)
    figures = command_figures(costs)
    assert [figure.bound for figure in figures] == [1.0] * len(costs) + [None] * len(costs)


def dead_runs(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.exec_driver_sql("SELECT COUNT(*) FROM opt_runs WHERE status <> 'completed'").scalar_one()


def test_the_stand_in_of_airflow_lists_dags_a_page_at_a_time():
    dag_ids = [f"optimize__client_{number:04}" for number in range(230)]
    with serving_dags(dag_ids) as address, AirflowApi(address, user="any", password="any") as api:
        assert [dag.dag_id for dag in api.list_dags(prefix="optimize__")] == dag_ids


def count_statements(engine: Engine, store: ObjectStore) -> int:
    """Return the statements of `optimizer entities` and `optimizer doctor`, and of the search for late snapshots."""
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    assert read_definitions(engine)[0] and list_active(engine) and read_active_outcomes(engine)
    list_behind(engine)
    asked = {"dag_run_state": lambda *ids: "running", "list_dags": lambda prefix: [], "pool_slots": lambda name: 1}
    examine(engine, store=store, **asked, now=NOW)
    return len(statements)


def test_more_entities_take_as_many_statements(engine: Engine, store: ObjectStore, tmp_path: Path):
    few = make_fleet(tmp_path / "few", entities=2, runs=RUNS)
    assert count_statements(engine, store) == count_statements(few, store)
    few.dispose()


def test_monitor_asks_the_warehouse_a_few_statements_for_each_part_of_the_fleet(tmp_path: Path):
    cost = measure_monitor(tmp_path / "watched", entities=2, now=NOW, tell=lambda doing: None)
    assert (cost.entities, cost.parts) == (2, 2)
    seconds, statements = cost.figures()
    assert seconds.yardstick == pytest.approx(1.2) and seconds.bound == 1
    assert 0 < statements.measured <= statements.yardstick == 16 and statements.is_kept
