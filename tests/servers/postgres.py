"""Private Postgres servers behind Unix sockets, ended by their own process ids.

`postgres_server` is the embedded one; `each_postgres_server` also Debian's, for what depends on the release.
"""

import itertools
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from servers.memory import memory_folder

from lab.stack.postgres import ADMIN, embedded_programs, give_away, initialize, server_command, socket_url

START_TIMEOUT_S = 60
DEBIAN = Path("/usr/lib/postgresql/15/bin")
PROGRAMS = {"embedded": embedded_programs} | ({"debian": lambda: DEBIAN} if (DEBIAN / "postgres").exists() else {})
OWNER = "tracking_owner"
"""Owns the databases, is not a superuser and bypasses no row-level security: as in production."""

_database_numbers = itertools.count(1)


@dataclass(frozen=True)
class PostgresServer:
    """A running server."""

    socket_folder: Path
    password: str

    def url(self, database: str, *, user: str = ADMIN) -> str:
        """Return the URL of a database; both accounts have the same password."""
        return socket_url(self.socket_folder, user=user, password=self.password, database=database)

    @contextmanager
    def database(self) -> Iterator[str]:
        """Create an empty database, yield its owner's URL and drop it."""
        name = f"tracking_{os.getpid()}_{next(_database_numbers)}"
        url = self.create_database(name)
        try:
            yield url
        finally:
            with psycopg.connect(self.url(ADMIN), autocommit=True) as admin:
                admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def create_database(self, name: str) -> str:
        """Create an empty database, and return its owner's URL."""
        with psycopg.connect(self.url(ADMIN), autocommit=True) as admin:
            admin.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(OWNER)))
        return self.url(name, user=OWNER)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Start the Postgres from PyPI."""
    with memory_folder("pg") as folder, run_postgres(folder, programs=embedded_programs()) as server:
        yield server


@pytest.fixture(scope="session", params=list(PROGRAMS))
def each_postgres_server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """The Postgres from PyPI and, where it is installed, Debian's 15, one after the other."""
    if request.param == "embedded":
        yield request.getfixturevalue("postgres_server")
        return
    with memory_folder("pg") as folder, run_postgres(folder, programs=PROGRAMS[request.param]()) as server:
        yield server


@contextmanager
def run_postgres(folder: Path, *, programs: Path) -> Iterator[PostgresServer]:
    """Run a new server whose data and socket are in `folder` until the block ends."""
    server = initialize_server(folder, programs=programs)
    with running(server, programs=programs):
        yield server


def initialize_server(folder: Path, *, programs: Path) -> PostgresServer:
    """Return a new server, which does not run yet."""
    server = PostgresServer(folder, password=secrets.token_hex(16))
    initialize(folder / "data", password=server.password, programs=programs)
    give_away(folder)
    return server


@contextmanager
def running(server: PostgresServer, *, programs: Path) -> Iterator[None]:
    """Run a server whose data is there until the block ends."""
    folder = server.socket_folder
    command = server_command(folder / "data", socket_folder=folder, programs=programs, lossy=True)
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/")
    try:
        _wait_until_it_answers(process, server)
        with psycopg.connect(server.url(ADMIN), autocommit=True) as admin, suppress(psycopg.errors.DuplicateObject):
            owner = sql.SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD {}")
            admin.execute(owner.format(sql.Identifier(OWNER), sql.Literal(server.password)))
        yield
    finally:
        process.send_signal(signal.SIGINT)  # ends sessions too
        process.wait(timeout=START_TIMEOUT_S)


def _wait_until_it_answers(process: subprocess.Popen, server: PostgresServer) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            psycopg.connect(server.url(ADMIN)).close()
            return
        except psycopg.OperationalError:
            time.sleep(0.05)
    log = (server.socket_folder / "server.log").read_text(errors="replace")
    raise RuntimeError(f"Postgres does not answer in {server.socket_folder}: {log}")
