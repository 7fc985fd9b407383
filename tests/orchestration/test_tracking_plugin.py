"""Optimization tracking inside Airflow's own api-server, on the stack's own database."""

import pytest
from servers.http import open_client

from optimization_tracking.schema import head_revision
from optimizer.names import TRACKING_PREFIX, TRACKING_PROJECT

RUN = {"runName": "through Airflow", "optimizerType": "rtb"}


@pytest.fixture
def http(stack):
    address = f"http://127.0.0.1:{stack.settings.airflow_port}"
    with open_client(address, timeout=60) as client:
        yield client


@pytest.fixture
def token(stack, http) -> str:
    login = {"username": stack.settings.airflow_user, "password": stack.settings.airflow_password}
    return http.post("/auth/token", json=login).json()["access_token"]


def test_the_api_server_serves_tracking_on_the_migrated_database(http):
    health = http.get(f"{TRACKING_PREFIX}/health")
    assert (health.status_code, health.json()) == (200, {"status": "ok", "revision": head_revision()})


def test_an_airflow_user_writes_and_reads_with_the_login_and_not_without(http, token):
    bearer = {"Authorization": f"Bearer {token}"}
    made = http.post(f"{TRACKING_PREFIX}/runs", json=RUN, headers=bearer)
    assert made.status_code == 201, made.text
    assert made.json()["data"]["projectId"] == TRACKING_PROJECT
    path = f"{TRACKING_PREFIX}/runs/{made.json()['data']['id']}"
    assert http.get(path, headers=bearer).status_code == 200
    for headers, status in (({}, 401), ({"Authorization": "Bearer forged"}, 403)):
        refused = http.get(path, headers=headers)
        assert (refused.status_code, refused.headers["Content-Type"]) == (status, "application/problem+json")


def test_the_uis_cookie_reads_and_writes_from_the_servers_own_pages_only(http, token):
    cookie = {"Cookie": f"_token={token}"}
    assert http.get(f"{TRACKING_PREFIX}/runs", headers=cookie).status_code == 200
    own = {"Origin": str(http.base_url).rstrip("/")}
    for origin, status in (({}, 403), ({"Origin": "https://evil.example.com"}, 403), (own, 201)):
        answer = http.post(f"{TRACKING_PREFIX}/runs", json=RUN, headers=cookie | origin)
        assert answer.status_code == status, answer.text


def test_the_stacks_own_key_is_good_for_its_project(http, stack):
    key = {"Authorization": f"Bearer {stack.settings.tracking_key}"}
    assert http.post(f"{TRACKING_PREFIX}/runs", json=RUN, headers=key).status_code == 201
    projects = http.get(f"{TRACKING_PREFIX}/projects", headers=key).json()["data"]
    assert [project["id"] for project in projects] == [TRACKING_PROJECT]


def test_airflow_loads_the_plugin_once(http, token):
    bearer = {"Authorization": f"Bearer {token}"}
    plugins = http.get("/api/v2/plugins", headers=bearer).json()["plugins"]
    assert [plugin["name"] for plugin in plugins].count("optimizer") == 1
    assert http.get("/api/v2/plugins/importErrors", headers=bearer).json()["import_errors"] == []
