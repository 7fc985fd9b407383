"""The session's private MySQL server.

from servers.mysql import mysql_server   # fixture, in a conftest
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from lab.stack.mysql import run_mysql
from lab.stack.sql_server import SqlServer

__all__ = ["SqlServer", "mysql_server"]

_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of a new name in it


@pytest.fixture(scope="session")
def mysql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlServer]:
    """Start MySQL in a directory of its own, in memory where there is some; a machine without MySQL fails here."""
    folder = _MEMORY if _MEMORY.is_dir() else tmp_path_factory.getbasetemp()
    with TemporaryDirectory(prefix="optimizer-mysql-", dir=folder) as name, run_mysql(Path(name)) as server:
        yield server
