"""A private server that speaks MySQL's protocol: its own directory and port, ended by its own process id."""

import itertools
import os
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pymysql
from sqlalchemy import URL

from lab.stack.ports import PortClaims

START_TIMEOUT_S = 60
NO_SUCH_THREAD = 1094
_COUNTED_TABLES = """
SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND auto_increment > 1
"""
_database_numbers = itertools.count(1)


@dataclass(frozen=True)
class SqlServer:
    """A running server; its root account has no password and is reached from 127.0.0.1 only."""

    port: int

    def url(
        self,
        database: str | None = None,
        *,
        user: str = "root",
        password: str | None = None,
        driver: str = "mysql+pymysql",
    ) -> str:
        """Return the SQLAlchemy URL of a database of this server."""
        url = URL.create(driver, user, password, "127.0.0.1", self.port, database)
        return url.render_as_string(hide_password=False)

    def execute(self, *statements: str, database: str | None = None) -> None:
        """Run statements as root, each one committed."""
        connection = pymysql.connect(host="127.0.0.1", port=self.port, user="root", database=database, autocommit=True)
        with connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def empty(self, database: str, *, tables: Iterable[str]) -> None:
        """Delete all rows of the tables, whose ids begin at 1 again; what an earlier test left open is rolled back."""
        self._end_sessions(database)
        connection = pymysql.connect(host="127.0.0.1", port=self.port, user="root", database=database, autocommit=True)
        with connection, connection.cursor() as cursor:
            cursor.execute(_COUNTED_TABLES)
            counted = {row[0] for row in cursor.fetchall()}
            cursor.execute("SET FOREIGN_KEY_CHECKS = 0")
            for name in tables:
                # MySQL makes a truncated table anew, which takes longer than most tests.
                cursor.execute(f"TRUNCATE TABLE {name}" if name in counted else f"DELETE FROM {name}")  # noqa: S608

    @contextmanager
    def database(self) -> Iterator[str]:
        """Create an empty database, yield its name and drop it."""
        name = f"control_plane_{os.getpid()}_{next(_database_numbers)}"
        self.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
        try:
            yield name
        finally:
            self._end_sessions(name)
            self.execute(f"DROP DATABASE {name}")

    def _end_sessions(self, database: str) -> None:
        """End every session in the database: a lock that a failed test holds would be waited for without end."""
        root = pymysql.connect(host="127.0.0.1", port=self.port, user="root", autocommit=True)
        with root, root.cursor() as cursor:
            cursor.execute("SHOW PROCESSLIST")  # MySQL has no table of them in information_schema
            for session in (row[0] for row in cursor.fetchall() if row[3] == database):
                try:
                    cursor.execute("KILL %s", (session,))
                except pymysql.err.OperationalError as error:
                    if error.args[0] != NO_SUCH_THREAD:  # else it ended by itself meanwhile
                        raise


@contextmanager
def serve(command: Sequence[str], *, log: Path) -> Iterator[SqlServer]:
    """Run a server on a free port of the loopback until the block ends; `--port` is added to the command.

    Raises:
        RuntimeError: it does not answer; with its log.
    """
    with PortClaims() as claims:
        port = claims.claim()
        with log.open("wb") as file:
            process = subprocess.Popen([*command, f"--port={port}"], stdout=file, stderr=file)  # noqa: S603 - our own
        try:
            _wait_until_it_answers(process, port=port, log=log)
            yield SqlServer(port)
        finally:
            process.terminate()
            process.wait(timeout=START_TIMEOUT_S)


def user_option() -> list[str]:
    """Return what a server wants to hear that runs as root."""
    return ["--user=root"] if os.geteuid() == 0 else []


def _wait_until_it_answers(process: subprocess.Popen[bytes], *, port: int, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            pymysql.connect(host="127.0.0.1", port=port, user="root").close()
            return
        except pymysql.err.OperationalError:
            time.sleep(0.1)
    raise RuntimeError(f"the server does not answer on port {port}: {log.read_text(errors='replace')}")
