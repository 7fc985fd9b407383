"""The session's private MariaDB server.

from servers.mariadb import mariadb_server   # fixture, in a conftest
"""

from collections.abc import Iterator

import pytest
from servers.memory import memory_folder

from lab.stack.mariadb import run_mariadb
from lab.stack.sql_server import SqlServer

__all__ = ["SqlServer", "mariadb_server", "run_mariadb"]


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[SqlServer]:
    """Start MariaDB in a folder of its own; a machine without MariaDB fails here."""
    with memory_folder("mariadb") as folder, run_mariadb(folder) as server:
        yield server
