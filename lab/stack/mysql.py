"""A private MySQL server for tests, from the folder that scripts/install-mysql fills, or from the system."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.stack.sql_server import SqlServer, serve, user_option

UNPACKED = Path(__file__).parents[2] / ".mysql" / "mysqld"

# A login by TCP comes from 127.0.0.1, and the root account that the server makes is for its socket alone.
_ROOT = "CREATE USER root@'127.0.0.1'; GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;\n"


@contextmanager
def run_mysql(directory: Path) -> Iterator[SqlServer]:
    """Run a server whose data are in `directory` until the block ends.

    Raises:
        RuntimeError: MySQL is not installed, or does not start.
    """
    command = [
        *(_program(), f"--datadir={directory / 'data'}", *user_option()),
        *("--performance-schema=OFF", "--mysqlx=OFF", "--skip-log-bin", "--innodb-redo-log-capacity=8M"),
    ]
    made = subprocess.run([*command, "--initialize-insecure"], capture_output=True, text=True, check=False)  # noqa: S603
    if made.returncode != 0:
        raise RuntimeError(f"mysqld --initialize-insecure failed: {made.stderr}")
    (directory / "root.sql").write_text(_ROOT)
    options = [
        *(f"--socket={directory / 's'}", f"--init-file={directory / 'root.sql'}", "--bind-address=127.0.0.1"),
        *("--default-time-zone=+00:00", f"--tmpdir={directory}", f"--pid-file={directory / 'pid'}"),
        # The data live as long as the tests: no write has to reach the disk.
        *("--innodb-flush-log-at-trx-commit=0", "--innodb-fast-shutdown=2", "--innodb-buffer-pool-size=32M"),
        # The next id of a table is asked for as it is, and not as it was a day ago.
        "--information-schema-stats-expiry=0",
    ]
    with serve([*command, *options], log=directory / "server.log") as server:
        yield server


def _program() -> str:
    paths = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    found = str(UNPACKED) if UNPACKED.exists() else shutil.which("mysqld", path=paths)
    if found is None:
        raise RuntimeError("MySQL is not there; the tests need 8.4 or newer: `make servers` unpacks it into .mysql")
    return found
