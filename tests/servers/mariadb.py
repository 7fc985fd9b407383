"""The session's private MariaDB server.

from servers.mariadb import mariadb_server   # fixture, in a conftest
"""

from collections.abc import Iterator

import pytest

from lab.stack.mariadb import run_mariadb
from lab.stack.sql_server import SqlServer

__all__ = ["SqlServer", "mariadb_server", "run_mariadb"]


@pytest.fixture(scope="session")
def mariadb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlServer]:
    """Start MariaDB in a directory of its own; a machine without MariaDB fails here."""
    with run_mariadb(tmp_path_factory.mktemp("mariadb")) as server:
        yield server
