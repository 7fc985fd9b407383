"""A migrated control plane with the documents' catalog, on each database that is supported.

MariaDB is reached by one driver and MySQL by the other; test_engine.py has each driver on each server.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from control_plane.catalog import fill_catalog
from control_plane.databases import DATABASES, DRIVERS, NO_TLS, new_control_plane
from servers.mariadb import SqlServer, mariadb_server
from servers.mysql import mysql_server
from sqlalchemy import Engine

from optimizer.control_plane.engine import open_engine
from optimizer.control_plane.schema import migrate
from optimizer.control_plane.tables import metadata

__all__ = ["mariadb_server", "mysql_server"]


@pytest.fixture(params=DATABASES)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return the URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/control.db"
        return
    server: SqlServer = request.getfixturevalue(f"{request.param}_server")
    with server.database() as database:
        yield server.url(database, driver=DRIVERS[request.param])


@pytest.fixture
def empty_engine(empty_url: str) -> Iterator[Engine]:
    engine = open_engine(empty_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def migrated_mariadb_database(mariadb_server: SqlServer) -> Iterator[str]:
    """Return the name of a migrated MariaDB database that tests use one after the other."""
    with _migrated(mariadb_server) as database:
        yield database


@pytest.fixture(scope="session")
def migrated_mysql_database(mysql_server: SqlServer) -> Iterator[str]:
    """Return the same of MySQL."""
    with _migrated(mysql_server) as database:
        yield database


@contextmanager
def _migrated(server: SqlServer) -> Iterator[str]:
    with server.database() as database:
        _migrate(server.url(database))
        yield database


@pytest.fixture
def url_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Return what gives the URL of a migrated control plane without rows on the named database."""

    def find(name: str) -> str:
        if name == "sqlite":
            return str(new_control_plane(tmp_path / "control.db").url)
        server: SqlServer = request.getfixturevalue(f"{name}_server")
        database: str = request.getfixturevalue(f"migrated_{name}_database")
        server.empty(database, tables=metadata.tables)
        # To load the machine's certificates for each connection takes longer than most tests; others use TLS.
        return server.url(database, driver=DRIVERS[name]) + NO_TLS.get(name, "")

    return find


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, url_of: Callable[[str], str]) -> str:
    """Return the URL of a migrated control plane without rows."""
    return url_of(request.param)


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """Return an engine of a migrated control plane with the catalog in it."""
    engine = open_engine(url)
    fill_catalog(engine)
    yield engine
    engine.dispose()


@pytest.fixture(params=DRIVERS)
def sql_server(request: pytest.FixtureRequest) -> SqlServer:
    """Return MariaDB, and MySQL."""
    server: SqlServer = request.getfixturevalue(f"{request.param}_server")
    return server


@pytest.fixture
def driver(request: pytest.FixtureRequest, sql_server: SqlServer) -> str:
    """Return the driver that reaches the server, where a test does not choose one."""
    return DRIVERS[request.node.callspec.params["sql_server"]]


@pytest.fixture
def sql_database(sql_server: SqlServer) -> Iterator[str]:
    """Return the name of an empty database of the server."""
    with sql_server.database() as database:
        yield database


def _migrate(url: str) -> None:
    engine = open_engine(url)
    migrate(engine)
    engine.dispose()
