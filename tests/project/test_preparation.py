"""docker/prepare.py and docker/warehouse.py, the two scripts of docker-compose.yaml, on real servers."""

import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from control_plane.catalog import NOW, complete_sample
from project.compose import PROJECT, SERVICES, VALUES, WORKER, documented
from servers.embedded import systems
from servers.http import open_client
from servers.mariadb import SqlServer, mariadb_server
from servers.tracking import ProjectClient, serving
from sqlalchemy import text
from typer.testing import CliRunner

from lab.stack import LocalStack
from optimization_tracking.app import create_app
from optimization_tracking.connections import connect
from optimization_tracking.keys import list_keys, new_key
from optimizer.artifacts.store import split_uri
from optimizer.cli.control_plane import URL_VARIABLE as CONTROL_PLANE_VARIABLE
from optimizer.cli.main import app as command_line
from optimizer.control_plane.deployment_history import read_active
from optimizer.control_plane.engine import open_engine, transaction
from optimizer.control_plane.entities import read_definition
from optimizer.control_plane.runs import read_run
from optimizer.errors import ConfigError
from optimizer.names import (
    TRACKING_KEY_VARIABLE,
    TRACKING_PREFIX,
    TRACKING_PROJECT,
    TRACKING_URL_VARIABLE,
)

__all__ = ["mariadb_server", "systems"]


EACH_KEY = """
import os, runpy, sys
script, variable, *keys = sys.argv[1:]
sys.argv = [script]
for os.environ[variable] in keys:
    runpy.run_path(script, run_name="__main__")
"""
"""Run the script with each key after the other: Airflow is loaded once."""


@dataclass(frozen=True)
class Prepared:
    """What docker/prepare.py prepared: servers, the control plane's database, and the environment it had.

    keys: of tracking, the first and the one that replaced it.
    """

    server: SqlServer
    stack: LocalStack
    database: str
    environment: dict[str, str]
    keys: tuple[str, str]

    def url(self, user: str, password: str, driver: str = "mysql+pymysql") -> str:
        return self.server.url(self.database, user=user, password=password, driver=driver)


@pytest.fixture(scope="module")
def prepared(request) -> Iterator[Prepared]:
    """The systems after the script has run three times, as at `docker compose up`; the last time with another key."""
    server, stack = request.getfixturevalue("mariadb_server"), request.getfixturevalue("systems")
    passwords = {name: value for name, value in VALUES.items() if name.startswith("OPTIMIZER_")}
    with server.database() as database:
        first, own = new_key(), {"OPTIMIZER_CONTROL_PLANE_URL": server.url(database)}
        changed = first[:-1] + ("a" if first[-1] != "a" else "b")
        environment = {**os.environ, **stack.environment(), **passwords, **own}
        script = (PROJECT / "docker/prepare.py", TRACKING_KEY_VARIABLE)
        subprocess.run([sys.executable, "-c", EACH_KEY, *script, first, first, changed], env=environment, check=True)
        yield Prepared(server, stack, database, environment, (first, changed))
        accounts = ("optimizer_ui", "optimizer_app", "optimizer_console", "optimizer_bidder", "optimizer_operator")
        server.execute(*(f"DROP USER '{name}'@'%'" for name in accounts))


def test_the_preparation_makes_accounts_tables_rights_bucket_and_event_tables_and_can_be_repeated(prepared):
    login = json.loads(WORKER["AIRFLOW_CONN_OPTIMIZER_CONTROL_PLANE"])
    engine = open_engine(prepared.url(login["login"], login["password"], driver="mysql+mysqlconnector"))
    definition = read_definition(engine, "drugs_hcp")
    (added,) = (block for block in documented("sql") if "INSERT INTO opt_entities" in block)
    prepared.server.execute(*filter(str.strip, added.split(";")), database=prepared.database)
    assert read_definition(engine, "new_client").entity_values["promotion"] == "none"
    engine.dispose()
    denied = open_engine(prepared.url(login["login"], "wrong", driver="mysql+mysqlconnector"))
    with pytest.raises(ConfigError):
        read_definition(denied, "drugs_hcp")
    denied.dispose()
    bucket = definition.entity.s3_base_path.split("/")[2]
    assert bucket in [found["Name"] for found in prepared.stack.connect_objects().list_buckets()["Buckets"]]
    with prepared.stack.connect_warehouse() as connection, connection.cursor() as cursor:
        assert cursor.execute("SELECT COUNT(*) FROM BIDS").fetchone() is not None


def test_the_account_of_the_command_line_does_all_that_operators_do_but_makes_no_tables(prepared):
    url = prepared.url("optimizer_operator", VALUES["OPTIMIZER_OPERATOR_PASSWORD"])
    engine, settings = open_engine(url), prepared.stack.settings
    entity = read_definition(engine, "drugs_hcp").entity
    given = {"entity_id": entity.entity_id, "version_id": entity.current_version_id}
    first, second = (complete_sample(engine, f"run {n}", now=NOW + timedelta(minutes=n), **given) for n in (1, 2))
    for run in (first, second):  # a bucket without their manifests
        prepared.stack.ensure_bucket(split_uri(read_run(engine, run).s3_output_path)[0])
    environment = {
        CONTROL_PLANE_VARIABLE: url,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{settings.objects_port}",
        "AWS_ACCESS_KEY_ID": settings.objects_access_key,
        "AWS_SECRET_ACCESS_KEY": settings.objects_secret_key,
    }

    def optimizer(*arguments: str, status: int = 0) -> str:
        done = CliRunner().invoke(command_line, arguments, env=environment)
        assert done.exit_code == status, done.output
        return done.output

    for run in (first, second):
        optimizer("deploy", "drugs_hcp", f"{run}=100", "--unchecked", "--by=sara")
    optimizer("rollback", "drugs_hcp", "--unchecked", "--by=sara")
    assert [row.run_id for row in read_active(engine, "drugs_hcp")] == [first]
    for arguments in (("runs",), ("show", first), ("live", "drugs_hcp"), ("config", "drugs_hcp"), ("entities",)):
        optimizer(*arguments)
    findings = json.loads(optimizer("doctor", "--json", status=1))
    assert {f"run {first}", f"run {second}"} <= {finding["subject"] for finding in findings}
    with pytest.raises(ConfigError, match="forbids"), transaction(engine) as connection:
        connection.execute(text("CREATE TABLE its_own (id INT)"))
    engine.dispose()


def test_the_preparation_makes_the_project_and_the_key_that_runs_report_with(prepared):
    url = prepared.environment[TRACKING_URL_VARIABLE]
    service = create_app(database_url=url, prefix=TRACKING_PREFIX, refresh_s=None)
    with serving(service) as address, open_client(address + TRACKING_PREFIX) as http:
        for key in prepared.keys:
            assert ProjectClient(http, key).create_run()["projectId"] == TRACKING_PROJECT
    with connect(url) as connection:
        prefixes = [key.prefix for key in list_keys(connection, project_id=TRACKING_PROJECT)]
    assert prefixes.count(prepared.keys[0][: len(prefixes[0])]) == 2


def test_the_warehouse_answers_under_its_host_name_and_those_who_trust_its_bundle(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    trust = tmp_path / "ca_bundle.pem"
    options = ["--address=127.0.0.1", f"--port={port}", "--host-name=warehouse", f"--folder={tmp_path}"]
    command = [sys.executable, PROJECT / "docker/warehouse.py", *options, f"--trust={trust}"]
    process = subprocess.Popen(command, env={**os.environ, **SERVICES["warehouse"]["environment"]})
    try:
        assert b"HTTP/1.1" in _first_answer(process, port=port, trust=trust)
    finally:
        process.terminate()
        process.wait(timeout=30)
    assert (tmp_path / "private_key.pem").stat().st_mode & 0o077 == 0
    assert "PRIVATE KEY" not in trust.read_text()


def _first_answer(process: subprocess.Popen, *, port: int, trust: Path, timeout_s: float = 60) -> bytes:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
                context = ssl.create_default_context(cafile=str(trust))
                context.verify_flags |= ssl.VERIFY_X509_STRICT
                with context.wrap_socket(plain, server_hostname="warehouse") as secure:
                    secure.sendall(b"GET / HTTP/1.1\r\nHost: warehouse\r\nConnection: close\r\n\r\n")
                    return secure.recv(100)
        except ConnectionRefusedError:
            time.sleep(0.2)
    raise AssertionError(f"the warehouse does not answer; its process returned {process.poll()}")
