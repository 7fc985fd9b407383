"""A private memcached server for the session."""

from collections.abc import Iterator

import pytest
from pymemcache.client.base import Client

from lab.benchmarks.bidder.memcached import running_memcached


@pytest.fixture(scope="session")
def memcached() -> Iterator[Client]:
    """Yield a client of the server that reports every failure."""
    with running_memcached(memory_mb=64) as server, server.loading() as client:
        yield client
