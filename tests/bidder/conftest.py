"""A control plane on SQLite, the session's S3 server, and a memcached of the session's own."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from bidder.market import Market
from control_plane.catalog import fill_catalog
from control_plane.databases import new_control_plane
from pymemcache.client.base import Client
from servers.embedded import systems
from servers.memcached import memcached

from lab.stack import LocalStack
from optimizer.artifacts.store import ObjectStore
from optimizer.bidder.memcached import Memcached

__all__ = ["memcached", "systems"]

BUCKET = "bidder"
_numbers = count(1)


@pytest.fixture(scope="session")
def store(systems: LocalStack) -> Iterator[ObjectStore]:
    systems.ensure_bucket(BUCKET)
    client = systems.connect_objects()
    yield ObjectStore(client)
    client.close()


@pytest.fixture(scope="session")
def new_market(store: ObjectStore) -> Callable[[Path], Market]:
    """Return what makes a market, in a folder, in which nothing is published yet."""

    def make(folder: Path) -> Market:
        engine = new_control_plane(folder / "control_plane.db", fill_catalog)
        return Market(engine, store, f"s3://{BUCKET}/{next(_numbers)}/", folder)

    return make


@pytest.fixture
def market(new_market: Callable[[Path], Market], tmp_path: Path) -> Market:
    """Return a market of the test's own."""
    return new_market(tmp_path)


@pytest.fixture
def server(memcached: Client) -> Memcached:
    """Return the emptied memcached as the bidder uses it."""
    memcached.flush_all()
    return Memcached([memcached.server], timeout_s=2.0)


@pytest.fixture(params=["in process", "memcached"])
def served_from(request: pytest.FixtureRequest) -> Memcached | None:
    """Return None, or the memcached that holds the bids."""
    return request.getfixturevalue("server") if request.param == "memcached" else None
