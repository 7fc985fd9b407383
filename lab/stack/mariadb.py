"""A private MariaDB server for tests and benchmarks."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.stack.sql_server import SqlServer, serve, user_option

SYSTEM_TABLES = ("mysql_system_tables.sql", "mysql_performance_tables.sql", "mysql_system_tables_data.sql")


@contextmanager
def run_mariadb(directory: Path, *, buffer_mb: int = 32) -> Iterator[SqlServer]:
    """Run a server whose data are in `directory` until the block ends.

    Args:
        buffer_mb: memory for tables and indexes; MariaDB's own default is 128.
    """
    _install(directory)
    command = [*_server_command(directory), f"--innodb-buffer-pool-size={buffer_mb}M"]
    with serve(command, log=directory / "server.log") as server:
        yield server


def _install(directory: Path) -> None:
    """Write the system tables as mariadb-install-db does; that script needs client tools, this the server alone."""
    (directory / "data").mkdir()
    server = _program("mariadbd")
    command = [server, "--no-defaults", "--bootstrap", f"--datadir={directory / 'data'}", *user_option()]
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
    return [_program("mariadbd"), *options, *user_option()]


def _program(name: str) -> str:
    path = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))
    if path is None:
        raise RuntimeError(
            f"{name} is not installed; tests and benchmarks need MariaDB 10.6 or newer: apt install mariadb-server-core"
        )
    return path
