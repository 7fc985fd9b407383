"""One running pair of embedded systems, warehouse and objects, for the whole test session."""

import atexit
import socket
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from servers.memory import memory_folder

from lab.market.tables import Events
from lab.stack import SYSTEMS, LocalStack
from lab.stack.event_log import create_tables
from lab.stack.warehouse_loading import load_parquet

READY_TIMEOUT_S = 60
_STACK = pytest.StashKey[LocalStack]()


@pytest.fixture(scope="session")
def systems(request: pytest.FixtureRequest) -> LocalStack:
    """Return the session's stack; it is started for the first test that asks and stopped when the session ends.

    Pytest makes one fixture of every conftest that imports this one; the stack is kept where they all find it.
    """
    return start_systems(request.config)


def start_systems(config: pytest.Config) -> LocalStack:
    """Return the session's stack, which is started where it is not yet."""
    stash = config.stash
    if _STACK not in stash:
        folders = ExitStack()
        config.add_cleanup(folders.close)
        stack = LocalStack.open(folders.enter_context(memory_folder("systems")))
        folders.callback(stack.stop)
        stack.start(*SYSTEMS)
        stack.wait_ready(READY_TIMEOUT_S)
        stash[_STACK] = stack
    return stash[_STACK]


def connect_schema(stack: LocalStack, name: str) -> Any:
    """Return a warehouse connection in a schema of the caller's own, which is made where it is missing."""
    connection = stack.connect_warehouse()
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {name}")
        cursor.execute(f"USE SCHEMA {name}")
    return connection


def load_events(connection: Any, events: Events, *, folder: Path) -> None:
    """Make the connection's event tables hold exactly these events."""
    create_tables(connection)
    for name, file in events.write_parquet(folder).items():
        load_parquet(connection, table=name.upper(), files=[file], replace=True)


def closed_port() -> int:
    """Return a port of this machine on which nothing listens, nor can before this process ends."""
    return _bound_socket().getsockname()[1]


@cache
def _bound_socket() -> socket.socket:
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    atexit.register(bound.close)
    return bound
