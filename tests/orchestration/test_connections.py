"""Control plane and objects through Airflow's hooks; in processes of their own, as Airflow is configured once each."""

import json
import socket
import subprocess
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pymysql
import pytest
from control_plane.catalog import fill_catalog, open_sample, start_sample
from control_plane.statements import split_statements
from orchestration.airflow_process import PROJECT, run_script
from orchestration.definitions import define
from servers.mariadb import run_mariadb
from servers.memory import memory_folder
from servers.network import line_to
from sqlalchemy import text

from lab.stack.environment import objects_connection
from optimizer.artifacts.store import ObjectStore
from optimizer.control_plane.audit import read_audit
from optimizer.control_plane.engine import open_engine, transaction
from optimizer.control_plane.runs import fail_run, list_runs
from optimizer.control_plane.schema import migrate
from optimizer.orchestration.definitions import load_definitions

GRANTS_SQL = PROJECT / "include/sql/mysql/grants.sql"
CLIENT = {"client": "mysql-connector-python"}
PASSWORD = "test only"

CONNECT = "from optimizer.orchestration.connections import connect_control_plane\n"

READ_AND_RUN = (
    CONNECT
    + """
import json
from control_plane.catalog import NOW, open_sample, start_sample
from optimizer.control_plane.entities import read_definitions
from optimizer.control_plane.runs import fail_run

engine = connect_control_plane()
definitions, broken = read_definitions(engine)
run = open_sample(engine)
states = [run.status, start_sample(engine, run.run_id).status]
fail_run(engine, run.run_id, message="stopped \\u2713", now=NOW)
print("RESULT" + json.dumps([[d.entity.entity_code for d in definitions], states, run.run_id]))
"""
)

REMOVE_OLD_OBJECTS = """
import json

from optimizer.orchestration.retention_dag import build_retention_dag

removed = build_retention_dag().get_task("remove_old_objects").python_callable()
print("RESULT" + json.dumps([[one["run_id"], one["what"]] for one in removed]))
"""

KEEP_AND_READ = """
import json

from optimizer.orchestration.connections import connect_objects

store = connect_objects()
store.put_bytes("s3://hooked/a/b.csv", b"kept")
kept = [store.get_bytes("s3://hooked/a/b.csv").decode(), store.list_keys("s3://hooked/a/")]
print("RESULT" + json.dumps(kept))
"""

LOAD = (
    CONNECT
    + """
import json, time
from optimizer.control_plane.entities import read_definitions
from optimizer.orchestration.definitions import load_definitions, snapshot_path

began = time.monotonic()
loaded = load_definitions(lambda: read_definitions(connect_control_plane()), path=snapshot_path())
print("RESULT" + json.dumps([[d.entity.entity_code for d in loaded.definitions], time.monotonic() - began]))
"""
)

BUILD = """
import json
from optimizer.orchestration import entity_dag
from optimizer.orchestration.definitions import snapshot_path
from optimizer.orchestration.entity_problems import EntityProblems, raise_problems

entity_dag.PARSE_DEADLINE_S = float(DEADLINE_S)
dag_ids, problem = [dag.dag_id for dag in entity_dag.build_entity_dags()], None
try:
    raise_problems(snapshot_path())
except EntityProblems as error:
    problem = str(error)
print("RESULT" + json.dumps([dag_ids, problem]))
"""


def run_as_airflow(
    script: str, state: Path, connection: dict | None, **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = {"AIRFLOW_HOME": str(state), "OPTIMIZER_STATE_DIR": str(state), **variables}
    if connection is not None:
        environment["AIRFLOW_CONN_OPTIMIZER_CONTROL_PLANE"] = json.dumps(connection)
    return run_script(script, environment=environment)


def answer_of(done: subprocess.CompletedProcess) -> list:
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.rsplit("RESULT", 1)[1].splitlines()[0])


def mysql_at(port: int, *, database: str = "control", **fields) -> dict:
    login = {"login": "optimizer_app", "password": PASSWORD, "schema": database, "extra": CLIENT}
    return {"conn_type": "mysql", "host": "127.0.0.1", "port": port, **login, **fields}


@pytest.fixture
def state(tmp_path):
    """Return a state directory with a last good snapshot of two entities."""
    good = [define("drugs_com"), define("drugs_hcp")]
    load_definitions(lambda: (good, []), path=tmp_path / "entities.json")
    return tmp_path


@pytest.fixture(scope="module")
def server():
    with memory_folder("mariadb") as folder, run_mariadb(folder) as server:
        yield server


@pytest.fixture
def control_plane(server):
    """Return (engine of root, connection of optimizer_app) of a filled control plane."""
    with server.database() as database:
        engine = open_engine(server.url(database))
        migrate(engine)
        fill_catalog(engine)
        accounts = ("optimizer_ui", "optimizer_app", "optimizer_bidder", "optimizer_console")
        server.execute(*(f"CREATE USER '{name}'@'%' IDENTIFIED BY '{PASSWORD}'" for name in accounts))
        server.execute(*split_statements(GRANTS_SQL.read_text(encoding="utf-8")), database=database)
        yield engine, mysql_at(server.port, database=database)
        engine.dispose()
        server.execute(*(f"DROP USER '{name}'@'%'" for name in accounts))


@contextmanager
def locked_entities(server, database: str):
    """Keep every reader of opt_entities waiting, as a server does that has stopped answering."""
    connection = pymysql.connect(host="127.0.0.1", port=server.port, user="root", database=database)
    with connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLES opt_entities WRITE")
        yield


def test_the_optimizers_account_reads_entities_and_runs_one_through_airflows_hook(control_plane, tmp_path):
    engine, connection = control_plane
    entities, states, run_id = answer_of(run_as_airflow(READ_AND_RUN, tmp_path, connection))
    assert (entities, states) == (["drugs_com", "drugs_hcp"], ["pending", "running"])
    (run,) = list_runs(engine)
    assert (run.run_id, run.status, run.error_message) == (run_id, "failed", "stopped \u2713")


def test_objects_are_kept_and_read_with_the_endpoint_and_the_login_of_airflows_connection(systems):
    systems.ensure_bucket("hooked")
    environment = {"AIRFLOW_CONN_OPTIMIZER_OBJECTS": json.dumps(objects_connection(systems.settings))}
    done = run_script(KEEP_AND_READ, environment=environment)
    assert answer_of(done) == ["kept", ["a/b.csv"]]


def test_the_retention_dag_removes_what_is_past_its_days_with_the_optimizers_account(control_plane, systems, tmp_path):
    engine, connection = control_plane
    systems.ensure_bucket("removed")
    with transaction(engine) as root:
        root.execute(text("UPDATE opt_entities SET s3_base_path = 's3://removed/drugs_hcp/' WHERE entity_id = 1"))
    now, kept = datetime.now(UTC), []
    with closing(systems.connect_objects()) as client:
        store = ObjectStore(client)
        for days_ago in (15, 13):
            at = now - timedelta(days=days_ago)
            run = start_sample(engine, open_sample(engine, f"{days_ago} days old", now=at).run_id, now=at)
            fail_run(engine, run.run_id, message="stopped", now=at)
            store.put_bytes(f"s3://removed/drugs_hcp/staging/{run.run_id}/cells", b"{}")
            kept.append(run.run_id)
        objects = {"AIRFLOW_CONN_OPTIMIZER_OBJECTS": json.dumps(objects_connection(systems.settings))}
        done = run_as_airflow(REMOVE_OLD_OBJECTS, tmp_path, connection, **objects)
        old, young = kept
        assert answer_of(done) == [[old, "staging"]]
        assert store.list_keys("s3://removed/drugs_hcp/staging/") == [f"drugs_hcp/staging/{young}/cells"]
    (row,) = [row for row in read_audit(engine, "drugs_hcp") if row.action == "remove_objects"]
    assert row.actor == "airflow:retention" and old in str(row)


def test_a_server_that_accepts_and_stays_silent_leaves_every_entity_in_time(state):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        done = run_as_airflow(LOAD, state, mysql_at(silent.getsockname()[1]))
    entities, waited_s = answer_of(done)
    assert entities == ["drugs_com", "drugs_hcp"] and waited_s < 15
    assert "last good snapshot" in done.stdout and "does not answer" in done.stdout
    assert "control plane control on 127.0.0.1" in done.stdout and PASSWORD not in done.stdout + done.stderr


def test_a_server_that_falls_silent_after_the_login_leaves_every_entity_in_time(server, control_plane, state):
    _, connection = control_plane
    with locked_entities(server, connection["schema"]):
        done = run_as_airflow(LOAD, state, connection)
    entities, waited_s = answer_of(done)
    assert entities == ["drugs_com", "drugs_hcp"] and waited_s < 15
    assert "last good snapshot" in done.stdout and "does not answer" in done.stdout


@pytest.mark.parametrize(("deadline_s", "is_late"), [("1.5", True), ("60", False)])
def test_a_server_whose_every_answer_is_late_leaves_every_entity_once_the_deadline_has_passed(
    server, control_plane, state, deadline_s, is_late
):
    _, connection = control_plane
    with line_to(server.port) as (port, line):
        line.late_s = 0.2
        done = run_as_airflow(BUILD.replace("DEADLINE_S)", f"{deadline_s})"), state, {**connection, "port": port})
    dag_ids, problem = answer_of(done)
    assert dag_ids == ["optimize__drugs_com", "optimize__drugs_hcp"]
    said = "entities are those of the last good snapshot"
    late = f"the control plane has not answered within {deadline_s} s"
    assert (problem is not None and said in problem and late in problem) if is_late else problem is None


def test_a_connection_that_airflow_does_not_know_leaves_every_entity(state):
    done = run_as_airflow(LOAD, state, None)
    assert answer_of(done)[0] == ["drugs_com", "drugs_hcp"]
    assert "AirflowNotFoundException" in done.stdout and "optimizer_control_plane" in done.stdout


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"conn_type": "postgres"}, "conn_type='postgres'; set it to mysql, or to sqlite"),
        ({"extra": {}}, 'has client=None in its extra; set it to {"client": "mysql-connector-python"}'),
        ({"extra": {"client": "mysqlclient"}}, "has client='mysqlclient' in its extra"),
    ],
)
def test_a_connection_of_another_kind_is_refused_with_what_to_set(tmp_path, fields, reason):
    done = run_as_airflow(CONNECT + "connect_control_plane()", tmp_path, mysql_at(3306, **fields))
    last_line = done.stderr.strip().splitlines()[-1]
    assert last_line.startswith("optimizer.errors.ConfigError:") and reason in last_line
    assert PASSWORD not in done.stderr
