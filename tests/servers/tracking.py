"""A running tracking service: real HTTP on the loopback, a migrated database, projects and their keys.

from servers.postgres import postgres_server
from servers.tracking import ProjectClient, Tracking, tracking   # fixtures, in a conftest

def test_…(tracking: Tracking):
    tracking.base_url, tracking.keys["shop"]    # for a client of your own
    tracking.client("shop").get("/runs")        # or this one
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from servers.http import open_client
from servers.postgres import PostgresServer

from lab.stack.ports import PortClaims
from optimization_tracking.app import create_app
from optimization_tracking.client import ClientSettings, TrackingClient
from optimization_tracking.connections import connect
from optimization_tracking.keys import create_key, ensure_project
from optimization_tracking.listening import create_server
from optimization_tracking.schema import migrate
from optimizer.names import TRACKING_PREFIX

START_TIMEOUT_S = 30
PROJECTS = ("shop", "search")
WRONG_KEYS = 1_000_000
"""All tests send theirs from one address."""


@dataclass(frozen=True)
class ProjectClient:
    """Requests with a project's key; paths are relative to /api/optimization."""

    http: httpx.Client
    key: str

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}", **options.pop("headers", {})}
        return self.http.request(method, path, headers=headers, **options)

    def get(self, path: str, **params: Any) -> httpx.Response:
        return self.request("GET", path, params=params)

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        return self.request("POST", path, json=body, headers=headers)

    def patch(self, path: str, body: Any) -> httpx.Response:
        return self.request("PATCH", path, json=body)

    def delete(self, path: str) -> httpx.Response:
        return self.request("DELETE", path)

    def create_run(self, **fields: Any) -> dict[str, Any]:
        answer = self.post("/runs", {"runName": "a run", "optimizerType": "rtb", **fields})
        assert answer.status_code == 201, answer.text
        return answer.json()["data"]

    def add_iteration(self, run_id: str, **fields: Any) -> dict[str, Any]:
        answer = self.post(f"/runs/{run_id}/iterations", fields)
        assert answer.status_code == 201, answer.text
        return answer.json()["data"]


@dataclass(frozen=True)
class Tracking:
    """The service on a migrated database, and a key of each of its projects."""

    database_url: str
    base_url: str
    keys: dict[str, str]
    http: httpx.Client

    def client(self, project: str) -> ProjectClient:
        return ProjectClient(self.http, self.keys[project])

    def connect(self) -> psycopg.Connection[Any]:
        """Return a connection of the tables' owner."""
        return connect(self.database_url)


@pytest.fixture(scope="session")
def tracking(postgres_server: PostgresServer) -> Iterator[Tracking]:
    """The session's service; tests make runs of their own and leave those of others alone."""
    with run_tracking(postgres_server) as service:
        yield service


@pytest.fixture(scope="session")
def each_tracking(each_postgres_server: PostgresServer, request: pytest.FixtureRequest) -> Iterator[Tracking]:
    """A service on each release of Postgres at hand, for tests of what the database itself does."""
    if each_postgres_server is request.getfixturevalue("postgres_server"):
        yield request.getfixturevalue("tracking")
        return
    with run_tracking(each_postgres_server) as service:
        yield service


@pytest.fixture
def settings(tracking: Tracking, tmp_path: Path) -> ClientSettings:
    """Of a client of the session's service, in one of its projects, with a queue of its own."""
    return ClientSettings(tracking.base_url, tracking.keys["shop"], queue_folder=tmp_path / "queue")


@pytest.fixture
def client(settings: ClientSettings) -> Iterator[TrackingClient]:
    with TrackingClient(settings) as client:
        yield client


@contextmanager
def run_tracking(server: PostgresServer) -> Iterator[Tracking]:
    """Serve a migrated database with two projects until the block ends."""
    with server.database() as url:
        migrate(url)
        with connect(url) as connection:
            for project in PROJECTS:
                ensure_project(connection, project)
            keys = {project: create_key(connection, project, name="tests")[0] for project in PROJECTS}
        app = create_app(database_url=url, prefix=TRACKING_PREFIX, refresh_s=None, wrong_keys_burst=WRONG_KEYS)
        with serving(app) as address, open_client(address + TRACKING_PREFIX) as http:
            yield Tracking(url, address + TRACKING_PREFIX, keys, http)


@contextmanager
def serving(app: Any, *, port: int | None = None, **limits: Any) -> Iterator[str]:
    """Serve an ASGI app in a thread until the block ends, and yield its address.

    Args:
        limits: of optimization_tracking.listening.create_server.
    """
    with PortClaims() as claims:
        port = port or claims.claim()
        server = create_server(app, port=port, log_level="warning", **limits)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            deadline = time.monotonic() + START_TIMEOUT_S
            while not server.started:
                assert thread.is_alive() and time.monotonic() < deadline, "the service does not start"
                time.sleep(0.01)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join(START_TIMEOUT_S)
