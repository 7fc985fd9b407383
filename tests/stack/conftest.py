"""A cursor on the session's warehouse."""

from collections.abc import Iterator

import pytest
from servers.embedded import systems

from lab.stack import LocalStack

__all__ = ["systems"]


@pytest.fixture
def warehouse(systems: LocalStack) -> Iterator:
    with systems.connect_warehouse() as connection, connection.cursor() as cursor:
        yield cursor
