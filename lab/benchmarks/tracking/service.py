"""The systems under test: one durable Postgres, the tracking service on it, and a lean client of HTTP."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from lab.stack import LocalStack
from lab.stack.ports import PortClaims
from lab.stack.tracking import admin_url
from optimization_tracking.connections import connect
from optimization_tracking.keys import create_key
from optimizer.errors import UnavailableError
from optimizer.names import TRACKING_PREFIX, TRACKING_PROJECT, TRACKING_URL_VARIABLE

START_TIMEOUT_S = 300
LOGIN = "tracking_service"
UNLIMITED_PER_S = 1_000_000
MAX_IDLE_S = 2
"""Servers close an unused connection, usually after 5 s."""


@dataclass(frozen=True, slots=True)
class Service:
    """A running service and the database below it."""

    address: str
    key: str
    database_url: str
    stack: LocalStack
    folder: Path
    clients: ExitStack

    def connect(self) -> Any:
        """Return a connection of the tables' owner, whose statements each commit."""
        return connect(self.database_url, autocommit=True)

    def client(self) -> "HttpClient":
        """Return a connection of its own, which is closed with the service."""
        headers = {"Authorization": f"Bearer {self.key}"}
        return self.clients.enter_context(closing(HttpClient(self.address + TRACKING_PREFIX, headers=headers)))

    def create_database(self, name: str) -> str:
        """Make an empty database on the same server, and return its URL for the server's administrator."""
        with connect(admin_url(self.stack.settings), autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name}")
        return admin_url(self.stack.settings, database=name)


class HttpClient:
    """One kept-alive connection; its own cost is small compared with what is measured."""

    def __init__(self, base_url: str, *, headers: Mapping[str, str] | None = None) -> None:
        parts = urlsplit(base_url)
        self._http = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=120)
        self._prefix, self._headers = parts.path, {"Content-Type": "application/json", **(headers or {})}
        self._used_s = time.monotonic()

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Return the answer's JSON; errors as `send`."""
        content = self.send(method, path, body, **headers)
        return json.loads(content) if content else None

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> bytes:
        """Return the answer's body.

        Raises:
            UnavailableError: its status is 400 or more, or the service does not answer.
        """
        text = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        if time.monotonic() - self._used_s > MAX_IDLE_S:
            self._http.close()  # the next request opens it again
        try:
            self._http.request(method, self._prefix + path, body=text, headers={**self._headers, **headers})
            answer = self._http.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise UnavailableError(f"{method} {path} has no answer: {error!r}") from error
        self._used_s = time.monotonic()
        if answer.status >= 400:
            raise UnavailableError(f"{method} {path}: {answer.status} {content[:300].decode(errors='replace')}")
        return content

    def close(self) -> None:
        self._http.close()

    def get(self, path: str) -> Any:
        return self.request("GET", path)

    def post(self, path: str, body: Any, **headers: str) -> Any:
        return self.request("POST", path, body, **headers)


@contextmanager
def run_service() -> Iterator[Service]:
    """Run Postgres and one process of the service in a folder of their own until the block ends."""
    with TemporaryDirectory(prefix="optimizer-bench-") as name:
        stack = LocalStack.open(Path(name))
        try:
            stack.start("tracking")
            stack.wait_ready()
            url = stack.environment()[TRACKING_URL_VARIABLE]
            with connect(url) as connection:
                key, _ = create_key(connection, TRACKING_PROJECT, name="bench", rate_limit_per_s=UNLIMITED_PER_S)
            command = (sys.executable, "-m", "optimization_tracking", "serve", "--refresh-s", "3600", "--port")
            variables = {**stack.environment(), TRACKING_URL_VARIABLE: _create_login(stack)}
            health = TRACKING_PREFIX + "/health"
            with serving(command, health=health, variables=variables) as address, ExitStack() as clients:
                yield Service(address, key, url, stack, Path(name), clients)
        finally:
            stack.stop()


def _create_login(stack: LocalStack) -> str:
    """Return the URL of a login for the service alone: it does not serve as the tables' owner."""
    url = urlsplit(stack.environment()[TRACKING_URL_VARIABLE])
    with connect(admin_url(stack.settings), autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {LOGIN} LOGIN PASSWORD '{url.password}'")
        admin.execute(f"GRANT optimization_app, optimization_gate TO {LOGIN}")
    return url._replace(netloc=url.netloc.replace(url.username or "", LOGIN, 1)).geturl()


@contextmanager
def serving(command: tuple[str, ...], *, health: str, variables: Mapping[str, str]) -> Iterator[str]:
    """Run a server, whose command takes the port as its last word, until the block ends; yield its address."""
    with PortClaims() as claims, TemporaryDirectory(prefix="optimizer-bench-") as folder:
        port = claims.claim()
        log_path = Path(folder) / "server.log"
        with log_path.open("wb") as log:
            environment = {**os.environ, **variables}
            process = subprocess.Popen(  # noqa: S603
                (*command, str(port)), env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True
            )
        try:
            _wait_for(f"http://127.0.0.1:{port}", health, process, log_path)
            yield f"http://127.0.0.1:{port}"
        finally:
            _end(process)


def _wait_for(address: str, path: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    parts = urlsplit(address)
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with closing(http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)) as probe:
                probe.request("GET", path)
                if probe.getresponse().status == 200:
                    return
        except OSError:
            pass
        time.sleep(0.2)
    raise UnavailableError(f"{process.args[0]} does not answer: {log.read_text(errors='replace')[-2000:]}")


def _end(process: subprocess.Popen) -> None:
    """End a server and the workers of its own session."""
    os.killpg(process.pid, 15)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()
