"""One running pair of systems for all tests of this folder, in a home of its own."""

from collections.abc import Iterator

import pytest

from optimizer.local import SYSTEMS, LocalStack


@pytest.fixture(scope="session")
def systems(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    stack = LocalStack.open(tmp_path_factory.mktemp("systems"))
    try:
        stack.start(*SYSTEMS)
        stack.wait_ready(60)
        yield stack
    finally:
        stack.stop()


@pytest.fixture
def warehouse(systems: LocalStack) -> Iterator:
    with systems.connect_warehouse() as connection, connection.cursor() as cursor:
        yield cursor
