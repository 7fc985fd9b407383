import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
import snowflake.connector
from botocore.exceptions import ClientError

from lab.stack import SYSTEMS, LocalStack, demo
from lab.stack.clients import connect_objects, connect_warehouse
from lab.stack.programs import PROGRAMS
from lab.stack.supervision import is_living
from optimizer.errors import UnavailableError, WarehouseError


def processes_of(stack: LocalStack) -> dict[str, psutil.Process]:
    """Return the supervised main process of each program, and supervisord itself."""
    supervisord = psutil.Process(int((stack.home.path / "supervisord.pid").read_text()))
    # A child that supervisord has forked a moment ago, or that it has not waited for yet, names no program.
    named = {name_of(child): child for child in supervisord.children()}
    return {"supervisord": supervisord, **{name: child for name, child in named.items() if name}}


def name_of(child: psutil.Process) -> str | None:
    with suppress(psutil.NoSuchProcess):
        return child.environ().get("SUPERVISOR_PROCESS_NAME")


def write_both(stack: LocalStack, *, name: str) -> None:
    with stack.connect_warehouse() as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {name} AS SELECT 42 AS answer")
    stack.ensure_bucket("kept")
    stack.connect_objects().put_object(Bucket="kept", Key=f"runs/{name}/a.csv", Body=b"answer\n42\n")


def read_both(stack: LocalStack, *, name: str) -> tuple[int, bytes]:
    with stack.connect_warehouse() as connection, connection.cursor() as cursor:
        answer = cursor.execute(f"SELECT answer FROM {name}").fetchone()[0]
    content = stack.connect_objects().get_object(Bucket="kept", Key=f"runs/{name}/a.csv")["Body"].read()
    return answer, content


def test_tables_and_objects_outlive_a_stop_and_no_process_does(systems: LocalStack):
    write_both(systems, name="stopped")
    processes = processes_of(systems)
    tree = [*processes.values(), *processes["supervisord"].children(recursive=True)]
    systems.stop()
    assert not any(map(is_living, tree))
    assert set(systems.status().values()) == {"stopped"}
    systems.start(*SYSTEMS)
    systems.wait_ready(60)
    assert read_both(systems, name="stopped") == (42, b"answer\n42\n")


def test_tables_and_objects_outlive_a_kill_and_the_servers_come_back_by_themselves(systems: LocalStack):
    write_both(systems, name="killed")
    for name in SYSTEMS:
        process = processes_of(systems)[name]
        process.kill()
        psutil.wait_procs([process], timeout=5)
    systems.wait_ready(60)
    assert read_both(systems, name="killed") == (42, b"answer\n42\n")


def test_what_a_killed_supervisor_left_behind_is_ended_by_the_next_start(systems: LocalStack):
    before = processes_of(systems)
    before["supervisord"].send_signal(signal.SIGKILL)
    psutil.wait_procs([before["supervisord"]], timeout=5)
    assert before["warehouse"].is_running()
    systems.start(*SYSTEMS)
    systems.wait_ready(60)
    assert not any(map(is_living, before.values()))


def test_every_socket_listens_on_the_loopback_only(systems: LocalStack):
    tree = [process for main in processes_of(systems).values() for process in [main, *main.children(recursive=True)]]
    listening = [
        connection.laddr
        for process in tree
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert {address.ip for address in listening} == {"127.0.0.1"}
    assert {address.port for address in listening} == {
        systems.settings.warehouse_port,
        systems.settings.objects_port,
    }


@pytest.mark.parametrize("wrong", [{"objects_secret_key": "wrong"}, {"objects_access_key": "WRONG"}])
def test_a_wrong_object_key_is_denied(systems: LocalStack, wrong: dict[str, str]):
    with pytest.raises(ClientError) as raised:
        connect_objects(systems.settings.model_copy(update=wrong)).list_buckets()
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_objects_are_not_readable_without_a_key(systems: LocalStack):
    answer = httpx.get(f"http://127.0.0.1:{systems.settings.objects_port}/", trust_env=False)
    assert answer.is_client_error
    assert "ListAllMyBucketsResult" not in answer.text


@pytest.mark.parametrize("wrong", [{"warehouse_password": "wrong"}, {"warehouse_user": "SOMEBODY"}])
def test_a_wrong_warehouse_login_is_denied_with_the_connectors_own_error(systems: LocalStack, wrong: dict[str, str]):
    settings = systems.settings.model_copy(update=wrong)
    with pytest.raises(WarehouseError, match="Incorrect username or password") as raised:
        connect_warehouse(settings, home=systems.home)
    assert isinstance(raised.value.__cause__, snowflake.connector.errors.DatabaseError)
    assert raised.value.__cause__.errno in (250001, 390100)


def test_a_statement_that_the_local_warehouse_cannot_run_fails_at_once_with_its_reason(warehouse):
    warehouse.execute("CREATE OR REPLACE TABLE strict (n INTEGER NOT NULL)")
    with pytest.raises(snowflake.connector.errors.ProgrammingError, match="NOT NULL constraint failed"):
        warehouse.execute("INSERT INTO strict VALUES (NULL)")
    with pytest.raises(snowflake.connector.errors.ProgrammingError):
        warehouse.execute("COPY INTO @nowhere FROM strict")


def test_the_local_warehouse_bounds_its_memory_and_spills_beside_its_databases(systems: LocalStack, warehouse):
    warehouse.execute("SELECT current_setting('memory_limit'), current_setting('temp_directory')")
    limit, spilled = warehouse.fetchone()
    assert limit == "3.7 GiB"  # DuckDB's way to write 4GB
    assert Path(spilled).parent == systems.home.warehouse


def test_opening_the_home_of_a_running_stack_changes_nothing(systems: LocalStack):
    again = LocalStack.open(systems.home.path)
    assert again.settings == systems.settings
    assert {again.status()[name] for name in SYSTEMS} == {"running"}
    again.start(*SYSTEMS)
    again.wait_ready(10)


def test_one_program_stops_and_restarts_alone(systems: LocalStack):
    before = processes_of(systems)
    systems.restart("objects")
    systems.wait_ready(60)
    after = processes_of(systems)
    assert after["warehouse"] == before["warehouse"]
    assert after["objects"] != before["objects"]


def test_a_program_that_cannot_start_is_named_with_the_end_of_its_log(systems: LocalStack):
    systems.stop("objects")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", systems.settings.objects_port))
        other.listen()
        with pytest.raises(UnavailableError, match=r"(?s)objects does not stay up.*address already in use"):
            systems.start("objects")
    systems.start("objects")
    systems.wait_ready(60)


def test_no_log_and_no_command_line_holds_a_secret(systems: LocalStack):
    settings = systems.settings
    secrets = [settings.warehouse_password, settings.objects_secret_key, settings.airflow_password]
    secrets += [settings.tracking_password, settings.tracking_key]
    texts = [path.read_text() for path in [*systems.home.logs.glob("*.log"), systems.home.path / "supervisord.conf"]]
    texts += [" ".join(process.cmdline()) for process in processes_of(systems).values()]
    assert len(texts) >= 6
    assert not [secret for secret in secrets for text in texts if secret in text]


HOOKS = """
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.snowflake.hooks.snowflake import SnowflakeHook
from airflow.providers.sqlite.hooks.sqlite import SqliteHook

cursor = SnowflakeHook("optimizer_warehouse").get_conn().cursor()
cursor.execute("SELECT * FROM hooked ORDER BY n")
print("read:", [row for batch in cursor.fetch_arrow_batches() for row in batch["N"].to_pylist()])

objects = S3Hook("optimizer_objects")
objects.load_string("seen", key="hook.txt", bucket_name="hooked", replace=True)
print("read:", objects.read_key("hook.txt", bucket_name="hooked"))

control_plane = SqliteHook("optimizer_control_plane")
control_plane.run(["CREATE TABLE IF NOT EXISTS t (n)", "INSERT INTO t VALUES (7)"])
print("read:", control_plane.get_first("SELECT n FROM t"), control_plane.get_sqlalchemy_engine().url.database)
"""


def test_airflows_own_hooks_work_with_the_environment_alone(systems: LocalStack, warehouse, tmp_path: Path):
    warehouse.execute("CREATE OR REPLACE TABLE hooked AS SELECT seq4() AS n FROM TABLE(GENERATOR(ROWCOUNT => 3))")
    systems.ensure_bucket("hooked")
    environment = {**os.environ, **systems.environment(), "AIRFLOW_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", HOOKS], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    answers = [line.removeprefix("read: ") for line in done.stdout.splitlines() if line.startswith("read: ")]
    assert answers == ["[0, 1, 2]", "seen", f"(7,) {systems.home.control_plane}"]


def test_what_the_demo_started_is_stopped_at_its_end_and_nothing_is_left_where_nothing_ran(tmp_path: Path):
    stack = LocalStack.open(tmp_path / "home")
    with demo.running(stack, "objects"):
        assert stack.status() == dict.fromkeys(PROGRAMS, "stopped") | {"objects": "running"}
        tree = [*processes_of(stack).values()]
        with demo.running(stack, "objects", "warehouse"):
            assert stack.status()["warehouse"] == "running"
        assert (stack.status()["objects"], stack.status()["warehouse"]) == ("running", "stopped")
    assert not any(map(is_living, tree))
    assert set(stack.status().values()) == {"stopped"}


def test_a_home_with_spaces_and_too_deep_for_a_socket_works_too(tmp_path: Path):
    stack = LocalStack.open(tmp_path / ("two spaces " + "deep" * 20))
    try:
        stack.start("objects")
        stack.wait_ready(30)
        stack.ensure_bucket("odd")
        assert (stack.home.objects / "odd").is_dir()
    finally:
        stack.stop()
        stack.settings.socket_path.parent.rmdir()
