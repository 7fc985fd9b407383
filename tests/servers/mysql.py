"""The session's private MySQL server.

from servers.mysql import mysql_server   # fixture, in a conftest
"""

from collections.abc import Iterator

import pytest
from servers.memory import memory_folder

from lab.stack.mysql import run_mysql
from lab.stack.sql_server import SqlServer

__all__ = ["SqlServer", "mysql_server"]


@pytest.fixture(scope="session")
def mysql_server() -> Iterator[SqlServer]:
    """Start MySQL in a folder of its own; a machine without MySQL fails here."""
    with memory_folder("mysql") as folder, run_mysql(folder) as server:
        yield server
