"""A private MariaDB server for tests and benchmarks: its own directory and port, ended by its own process id."""

import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pymysql
from sqlalchemy import URL

from lab.stack.ports import PortClaims

START_TIMEOUT_S = 60
SYSTEM_TABLES = ("mysql_system_tables.sql", "mysql_performance_tables.sql", "mysql_system_tables_data.sql")
NO_SUCH_THREAD = 1094
_database_numbers = itertools.count(1)


@dataclass(frozen=True)
class MariadbServer:
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
        """Delete all rows of the tables; what an earlier test left open in the database is rolled back."""
        self._end_sessions(database)
        self.execute("SET FOREIGN_KEY_CHECKS = 0", *(f"TRUNCATE TABLE {name}" for name in tables), database=database)

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
            cursor.execute("SELECT id FROM information_schema.processlist WHERE db = %s", (database,))
            for (session,) in cursor.fetchall():
                try:
                    cursor.execute("KILL %s", (session,))
                except pymysql.err.OperationalError as error:
                    if error.args[0] != NO_SUCH_THREAD:  # else it ended by itself meanwhile
                        raise


@contextmanager
def run_mariadb(directory: Path, *, buffer_mb: int = 32) -> Iterator[MariadbServer]:
    """Run a server whose data are in `directory` until the block ends.

    Args:
        buffer_mb: memory for tables and indexes; MariaDB's own default is 128.
    """
    _install(directory)
    with PortClaims() as claims:
        port = claims.claim()
        with (directory / "server.log").open("wb") as log:
            command = [*_server_command(directory), f"--port={port}", f"--innodb-buffer-pool-size={buffer_mb}M"]
            process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 - our own arguments
        try:
            _wait_until_it_answers(process, port=port, log=directory / "server.log")
            yield MariadbServer(port)
        finally:
            process.terminate()
            process.wait(timeout=START_TIMEOUT_S)


def _install(directory: Path) -> None:
    """Write the system tables as mariadb-install-db does; that script needs client tools, this the server alone."""
    (directory / "data").mkdir()
    server = _program("mariadbd")
    command = [server, "--no-defaults", "--bootstrap", f"--datadir={directory / 'data'}", *_user_option()]
    script = "CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n" + system_tables_sql(Path(server))
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)  # noqa: S603 - as above
    if done.returncode != 0:
        raise RuntimeError(f"mariadbd --bootstrap failed: {done.stderr}")


def system_tables_sql(server: Path) -> str:
    """Return the statements that make the system tables, from the files that came with this mariadbd."""
    homes = dict.fromkeys([server.parent.parent, server.resolve().parent.parent, Path("/usr")])
    folders = [home / "share" / name for home in homes for name in ("mysql", "mariadb")]
    for folder in folders:
        if (folder / SYSTEM_TABLES[0]).exists():
            return "".join((folder / name).read_text(encoding="utf-8") for name in SYSTEM_TABLES)
    raise RuntimeError(
        f"{SYSTEM_TABLES[0]} of MariaDB is in none of {', '.join(map(str, folders))}; "
        "install the package mariadb-server-core (Homebrew: mariadb)"
    )


def _server_command(directory: Path) -> list[str]:
    options = ["--no-defaults", f"--datadir={directory / 'data'}", f"--socket={directory / 's'}"]
    options += ["--bind-address=127.0.0.1", "--skip-log-bin", "--skip-name-resolve", "--default-time-zone=+00:00"]
    # A server that starts deletes the temporary tables that it finds: in a shared folder those of others.
    options += [f"--tmpdir={directory}"]
    # The data live as long as the tests: no write has to reach the disk.
    options += ["--innodb-flush-log-at-trx-commit=0", "--innodb-fast-shutdown=2"]
    return [_program("mariadbd"), *options, *_user_option()]


def _user_option() -> list[str]:
    return ["--user=root"] if os.geteuid() == 0 else []


def _program(name: str) -> str:
    path = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))
    if path is None:
        raise RuntimeError(
            f"{name} is not installed; tests and benchmarks need MariaDB 10.6 or newer: apt install mariadb-server-core"
        )
    return path


def _wait_until_it_answers(process: subprocess.Popen[bytes], *, port: int, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            pymysql.connect(host="127.0.0.1", port=port, user="root").close()
            return
        except pymysql.err.OperationalError:
            time.sleep(0.1)
    raise RuntimeError(f"MariaDB does not answer on port {port}: {log.read_text(errors='replace')}")
