"""The session's private MySQL server.

from servers.mysql import mysql_server   # fixture, in a conftest
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from lab.stack.mysql import run_mysql
from lab.stack.sql_server import SqlServer

__all__ = ["SqlServer", "folder_in_memory", "mysql_server", "run_mysql"]

_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of a new name in it


@pytest.fixture(scope="session")
def mysql_server() -> Iterator[SqlServer]:
    """Start MySQL in a directory of its own; a machine without MySQL fails here."""
    with folder_in_memory() as folder, run_mysql(folder) as server:
        yield server


@contextmanager
def folder_in_memory() -> Iterator[Path]:
    """Give an empty folder, in memory where there is some."""
    with TemporaryDirectory(prefix="optimizer-sql-", dir=_MEMORY if _MEMORY.is_dir() else None) as name:
        yield Path(name)
