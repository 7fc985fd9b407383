"""A migrated control plane with the documents' catalog, on every database and driver that is supported."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from control_plane.catalog import fill_catalog
from servers.mariadb import MariadbServer, mariadb_server
from sqlalchemy import Engine

from optimizer.control_plane.engine import open_engine
from optimizer.control_plane.schema import migrate

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


@pytest.fixture
def engine(empty_engine: Engine) -> Engine:
    """Return an engine of a migrated control plane with the catalog in it."""
    migrate(empty_engine)
    fill_catalog(empty_engine)
    return empty_engine


@pytest.fixture
def mariadb_database(mariadb_server: MariadbServer) -> Iterator[str]:
    """Return the name of an empty MariaDB database."""
    with mariadb_server.database() as database:
        yield database
