"""docker-compose.yaml against its schema and the settings that the code reads."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from project.compose import (
    COMPOSE,
    ENV_EXAMPLE,
    ONE_SHOT,
    PRODUCTION,
    PROJECT,
    SERVICES,
    VALUES,
    WORKER,
    documented,
    make_secrets,
    variables,
)
from sqlalchemy import make_url
from typer.main import get_command

from optimization_tracking.keys import KEY_PREFIX
from optimizer.bidder.commands import app
from optimizer.bidder.settings import read_settings
from optimizer.cli.control_plane import URL_VARIABLE as CONTROL_PLANE_VARIABLE
from optimizer.cli.objects import open_store
from optimizer.names import (
    TRACKING_API_URL_VARIABLE,
    TRACKING_KEY_VARIABLE,
    TRACKING_QUEUE_VARIABLE,
    TRACKING_URL_VARIABLE,
)

DOCKERFILE = PROJECT / "docker" / "Dockerfile"

AIRFLOW_SERVICES = ("api-server", "scheduler", "dag-processor", "triggerer", "worker")
CELERY_OPTIONS = {"broker_url", "result_backend", "worker_concurrency"}
"""Of the Celery provider, which only the image has."""

READ_CONNECTIONS = """
import json, sys
from airflow.configuration import conf
from airflow.sdk import BaseHook
from optimizer.orchestration import connections
names = [value for name, value in vars(connections).items() if name.endswith("_CONNECTION")]
found = [BaseHook.get_connection(name) for name in names]
print(json.dumps({
    "connections": {it.conn_id: [it.conn_type, it.host, it.login, it.password, it.extra_dejson] for it in found},
    "options": {name: sorted(section["options"]) for name, section in conf.configuration_description.items()},
}))
"""


@pytest.fixture(scope="module")
def airflow_view(tmp_path_factory) -> dict[str, Any]:
    """What a worker's Airflow makes of its environment."""
    connections = {name: value for name, value in WORKER.items() if name.startswith("AIRFLOW_CONN_")}
    environment = {**os.environ, **connections, "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow"))}
    done = subprocess.run(
        [sys.executable, "-c", READ_CONNECTIONS], env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_the_file_is_valid_by_the_compose_specification():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_airflow_option_is_one_that_airflow_knows(airflow_view):
    known = {**airflow_view["options"], "celery": CELERY_OPTIONS}
    for service in SERVICES.values():
        for name in service.get("environment", {}):
            if name.startswith("AIRFLOW__"):
                _, section, option = name.lower().split("__")
                assert option in known[section], name


def test_the_connections_are_those_that_the_code_asks_for(airflow_view):
    named = {name.removeprefix("AIRFLOW_CONN_").lower() for name in WORKER if name.startswith("AIRFLOW_CONN_")}
    found = airflow_view["connections"]
    assert set(found) == named
    assert found["optimizer_control_plane"] == [
        *("mysql", "mysql", "optimizer_app", VALUES["OPTIMIZER_APP_PASSWORD"]),
        {"client": "mysql-connector-python"},
    ]
    conn_type, _, login, password, extra = found["optimizer_warehouse"]
    server = SERVICES["warehouse"]["environment"]
    assert (conn_type, login, password) == ("snowflake", *server.values())
    assert f"--host-name={extra['host']}" in SERVICES["warehouse"]["command"]
    assert f"--port={extra['port']}" in SERVICES["warehouse"]["command"]
    conn_type, _, login, password, extra = found["optimizer_objects"]
    assert (conn_type, login, password) == ("aws", *SERVICES["objects"]["environment"].values())
    assert extra["endpoint_url"] == "http://objects:8333"


def test_every_airflow_service_and_what_prepares_it_have_the_same_connections_and_settings():
    shared = {name for name in WORKER if name.startswith(("AIRFLOW_CONN_", "OPTIMIZER_", "REQUESTS_"))}
    for name in [*(f"airflow-{name}" for name in AIRFLOW_SERVICES), *(ONE_SHOT - {"optimizer"})]:
        environment = SERVICES[name]["environment"]
        assert {key: environment.get(key) for key in shared} == {key: WORKER[key] for key in shared}, name


def test_runs_report_to_the_tracking_that_the_api_server_serves_with_a_key_of_the_environment():
    settings, server = WORKER, SERVICES["airflow-api-server"]
    address = urlsplit(settings[TRACKING_API_URL_VARIABLE])
    assert server is SERVICES[address.hostname] and server["ports"][0].endswith(f":{address.port}")
    assert (
        server["environment"][TRACKING_URL_VARIABLE] == SERVICES["optimizer-init"]["environment"][TRACKING_URL_VARIABLE]
    )
    assert settings[TRACKING_KEY_VARIABLE] == KEY_PREFIX + VALUES["TRACKING_KEY"]
    kept = [mount.split(":")[1] for mount in SERVICES["airflow-worker"]["volumes"]]
    assert any(Path(settings[TRACKING_QUEUE_VARIABLE]).is_relative_to(folder) for folder in kept)


def test_the_documentation_names_every_setting_of_airflow_its_tasks_and_the_command_line():
    names = {*WORKER, *SERVICES["airflow-api-server"]["environment"], *SERVICES["optimizer"]["environment"]}
    settings = {name for name in names if name.startswith("OPTIMIZER_")}
    rows = re.findall(r"^\| (`.*?) \|", PRODUCTION.read_text(), re.MULTILINE)
    documented_rows = set(re.findall(r"`(OPTIMIZER_\w+)`", "".join(rows)))
    assert settings - documented_rows == set()


def test_the_bidder_has_its_own_account_and_finds_its_bids_objects_and_memcached():
    bidder, objects = SERVICES["bidder"], SERVICES["objects"]["environment"]
    settings = read_settings(bidder["environment"])
    account = make_url(settings.control_plane_url)
    assert (account.username, account.password) == ("optimizer_bidder", VALUES["OPTIMIZER_BIDDER_PASSWORD"])
    assert (account.host, account.database) == ("mysql", SERVICES["mysql"]["environment"]["MYSQL_DATABASE"])
    assert settings.memcached[0][0] in SERVICES and bidder["environment"].items() >= objects.items()
    extra = json.loads(WORKER["AIRFLOW_CONN_OPTIMIZER_OBJECTS"])["extra"]
    assert bidder["environment"]["AWS_ENDPOINT_URL"] == extra["endpoint_url"]
    (port,) = (option.removeprefix("--port=") for option in bidder["command"] if option.startswith("--port="))
    assert bidder["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert f"http://127.0.0.1:{port}/ready" in bidder["healthcheck"]["test"]
    assert {parameter.opts[0] for parameter in get_command(app).commands["serve"].params} >= {"--host", "--port"}


def test_the_command_line_has_its_own_account_and_finds_objects_and_airflow(monkeypatch):
    environment, objects = SERVICES["optimizer"]["environment"], SERVICES["objects"]["environment"]
    account = make_url(environment[CONTROL_PLANE_VARIABLE])
    assert (account.username, account.password) == ("optimizer_operator", VALUES["OPTIMIZER_OPERATOR_PASSWORD"])
    assert (account.host, account.database) == ("mysql", SERVICES["mysql"]["environment"]["MYSQL_DATABASE"])
    assert VALUES["MYSQL_ROOT_PASSWORD"] not in "".join(environment.values())
    assert environment.items() >= objects.items()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with open_store() as store:
        address = store.client.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "key"})
    assert address.startswith("http://objects:8333/bucket/key?")
    assert environment["OPTIMIZER_AIRFLOW_URL"] == WORKER[TRACKING_API_URL_VARIABLE]
    assert f"{environment['OPTIMIZER_AIRFLOW_USER']}:admin" == WORKER["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"]
    administrator = SERVICES["airflow-init"]["environment"]["ADMIN_PASSWORD"]
    assert environment["OPTIMIZER_AIRFLOW_PASSWORD"] == administrator


def test_every_variable_of_the_optimizer_is_read_by_the_code():
    sources = [file for folder in ("plugins", "lab", "docker") for file in (PROJECT / folder).rglob("*.py")]
    code = "".join(source.read_text() for source in sources)
    names = {name for service in SERVICES.values() for name in service.get("environment", {})}
    assert [name for name in names if name.startswith("OPTIMIZER_") and f'"{name}"' not in code] == []


def test_the_example_of_the_environment_names_every_variable_and_gives_no_secret():
    lines = ENV_EXAMPLE.read_text().splitlines()
    assert {line.partition("=")[0] for line in lines if line and not line.startswith("#")} == set(variables("?"))
    assert all(line.endswith("=") for line in lines if line and not line.startswith("#"))
    assert {line.removeprefix("# ") for line in lines if re.match(r"# [A-Z_]+=", line)} == {
        f"{name}={default}" for name, default in variables("-").items()
    }


def test_the_command_in_the_example_fills_every_secret_with_a_new_value(tmp_path):
    found = make_secrets(tmp_path)
    assert set(found) == set(VALUES) and len(set(found.values())) == len(found)
    assert all(re.fullmatch(r"[\w=-]{40,}", value) for value in found.values())
    assert len(found["AIRFLOW_FERNET_KEY"]) == 44 and len(found["AIRFLOW_JWT_SECRET"]) >= 64
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0


def test_no_secret_is_in_the_file():
    secret = re.compile(r"(?i)(?:password|secret(?:_key)?|access_key\w*|jwt_secret|fernet_key|redis\w*auth)$")
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            if secret.search(key):
                assert value in VALUES.values(), f"{name}: {key}"
            if key.startswith("AIRFLOW_CONN_"):
                assert json.loads(value)["password"] in VALUES.values(), f"{name}: {key}"
            for password in re.findall(r"//\w*:([^@/]+)@", str(value)):
                assert password in VALUES.values(), f"{name}: {key}"
            if key == TRACKING_KEY_VARIABLE:
                assert value.removeprefix(KEY_PREFIX) in VALUES.values(), name


def test_ports_are_published_on_the_loopback_only():
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(ports) == len([name for name in variables("-") if name.endswith("_PORT")])
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in ports)
    assert [name for name, service in SERVICES.items() if "network_mode" in service] == []


def test_every_service_has_a_health_check_or_ends_by_itself():
    for name, service in SERVICES.items():
        is_lasting = (service.get("restart"), "healthcheck" in service) == ("unless-stopped", True)
        assert is_lasting or (name in ONE_SHOT and service["restart"] == "no"), name


def test_services_wait_for_what_they_need():
    for name, service in SERVICES.items():
        for other, wait in service.get("depends_on", {}).items():
            once = other in ONE_SHOT
            assert wait["condition"] == ("service_completed_successfully" if once else "service_healthy"), name


def own_image() -> str:
    (image,) = {service["image"] for service in SERVICES.values() if "build" in service}
    return image


def test_one_service_builds_the_image_and_no_other_asks_a_registry_for_it():
    own = {name: service for name, service in SERVICES.items() if service["image"] == own_image()}
    assert [name for name, service in own.items() if "build" in service] == ["airflow-init"]
    assert len(own) > 8 and {service["pull_policy"] for service in own.values()} == {"never"}


def test_images_are_pinned_to_a_release():
    images = {service["image"] for service in SERVICES.values()} - {own_image()}
    images |= set(re.findall(r"^FROM (\S+)$", DOCKERFILE.read_text(), re.MULTILINE))
    assert len(images) == 6
    assert all(re.search(r":\D*\d+\.\d+", image) for image in images), images


def test_the_image_has_the_airflow_of_the_lock_and_every_file_that_the_services_run():
    text = DOCKERFILE.read_text()
    (version,) = re.findall(r"^apache-airflow==(\S+)", (PROJECT / "requirements.txt").read_text(), re.MULTILINE)
    assert f"FROM apache/airflow:slim-{version}-" in text
    sources = [source for line in re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE) for source in line.split()]
    allowed = {line[1:] for line in (PROJECT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for source in sources:
        assert (PROJECT / source).exists() and source.partition("/")[0] in allowed, source
    run = {part for service in SERVICES.values() for part in service.get("entrypoint", ()) if part.endswith(".py")}
    assert run == {f"/opt/airflow/{source}" for source in sources if source.endswith(".py")}


def test_the_two_locks_name_no_package_twice():
    pinned = re.compile(r"^([a-z0-9._-]+)==", re.MULTILINE)
    main, docker = (
        set(pinned.findall((PROJECT / it).read_text())) for it in ("requirements.txt", "docker/requirements.txt")
    )
    assert "celery" in docker and main & docker == set()


def test_volumes_are_declared_and_those_of_the_image_have_their_folders():
    declared = set(yaml.safe_load(COMPOSE.read_text())["volumes"])
    mounts = [mount.split(":")[:2] for service in SERVICES.values() for mount in service.get("volumes", ())]
    assert {source for source, _ in mounts} == declared
    folders = {target for _, target in mounts if target.startswith("/opt/airflow/")} - {"/opt/airflow/logs"}
    assert folders == set(re.search(r"mkdir -p (.*)", DOCKERFILE.read_text())[1].split())


def test_the_connections_of_the_documentation_are_json_of_the_types_that_the_file_uses():
    documents = map(json.loads, documented("json"))
    types = [document["conn_type"] for document in documents if "conn_type" in document]
    used = [json.loads(value)["conn_type"] for name, value in WORKER.items() if name.startswith("AIRFLOW_CONN_")]
    assert types == used


def test_the_documentation_has_every_file_of_dags_installed():
    needed = PRODUCTION.read_text().split("\n## What Airflow needs\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(dags/\w+\.py)` \|", needed, re.MULTILINE)
    assert sorted(rows) == sorted(f"dags/{file.name}" for file in (PROJECT / "dags").glob("*.py"))
