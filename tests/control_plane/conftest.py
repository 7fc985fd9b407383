"""A migrated control plane with the documents' catalog, on every database and driver that is supported."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from control_plane.catalog import fill_catalog
from servers.mariadb import MariadbServer, mariadb_server
from sqlalchemy import Engine

from optimizer.control_plane.engine import open_engine
from optimizer.control_plane.schema import migrate
from optimizer.control_plane.tables import metadata

__all__ = ["mariadb_server"]

DIALECTS = ("sqlite", "mysql+pymysql", "mysql+mysqlconnector")


@pytest.fixture(params=DIALECTS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return the URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/control.db"
        return
    server: MariadbServer = request.getfixturevalue("mariadb_server")
    with server.database() as database:
        yield server.url(database, driver=request.param)


@pytest.fixture
def empty_engine(empty_url: str) -> Iterator[Engine]:
    engine = open_engine(empty_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a migrated SQLite file without rows, to be copied: to migrate takes longer than most tests."""
    path = tmp_path_factory.mktemp("migrated") / "control.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_database(mariadb_server: MariadbServer) -> Iterator[str]:
    """Return the name of a migrated MariaDB database that tests use one after the other."""
    with mariadb_server.database() as database:
        _migrate(mariadb_server.url(database))
        yield database


@pytest.fixture(params=DIALECTS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a migrated control plane without rows."""
    if request.param == "sqlite":
        return f"sqlite:///{shutil.copy(request.getfixturevalue('migrated_file'), tmp_path)}"
    server: MariadbServer = request.getfixturevalue("mariadb_server")
    database: str = request.getfixturevalue("migrated_database")
    server.empty(database, tables=metadata.tables)
    return server.url(database, driver=request.param)


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """Return an engine of a migrated control plane with the catalog in it."""
    engine = open_engine(url)
    fill_catalog(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def mariadb_database(mariadb_server: MariadbServer) -> Iterator[str]:
    """Return the name of an empty MariaDB database."""
    with mariadb_server.database() as database:
        yield database


def _migrate(url: str) -> None:
    engine = open_engine(url)
    migrate(engine)
    engine.dispose()
