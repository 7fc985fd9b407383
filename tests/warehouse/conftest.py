"""The session's warehouse with the dirty log in a schema of its own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.embedded import connect_schema, load_events, systems
from warehouse.reference import dirty_log

from lab.market.tables import Events
from lab.stack import LocalStack

__all__ = ["systems"]


@pytest.fixture(scope="session")
def log() -> Events:
    return dirty_log()


@pytest.fixture(scope="module")
def connection(systems: LocalStack, log: Events, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return a connection to the log."""
    with connect_schema(systems, "dirty_log") as connection:
        load_events(connection, log, folder=tmp_path_factory.mktemp("dirty_log"))
        yield connection


@pytest.fixture
def empty_schema(systems: LocalStack, tmp_path: Path) -> Iterator[Any]:
    """Return a cursor in a schema without tables."""
    with connect_schema(systems, "nothing") as connection, connection.cursor() as cursor:
        yield cursor
        cursor.execute("DROP SCHEMA nothing")
