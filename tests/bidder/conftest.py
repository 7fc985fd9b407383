"""A control plane on SQLite, the session's S3 server, and a memcached of the session's own."""

import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from bidder.market import Market
from control_plane.catalog import fill_catalog
from pymemcache.client.base import Client
from servers.embedded import systems
from servers.memcached import memcached

from lab.stack import LocalStack
from optimizer.artifacts.store import ObjectStore
from optimizer.bidder.memcached import Memcached
from optimizer.control_plane.engine import open_engine
from optimizer.control_plane.schema import migrate

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
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a control plane with its catalog, to be copied: to migrate takes longer than most tests."""
    path = tmp_path_factory.mktemp("catalog") / "control_plane.db"
    engine = open_engine(f"sqlite:///{path}")
    migrate(engine)
    fill_catalog(engine)
    engine.dispose()
    return path


@pytest.fixture
def market(store: ObjectStore, catalog: Path, tmp_path: Path) -> Market:
    """Return a market in which nothing is published yet."""
    copied = shutil.copy(catalog, tmp_path)
    return Market(open_engine(f"sqlite:///{copied}"), store, f"s3://{BUCKET}/{next(_numbers)}/", tmp_path)


@pytest.fixture
def server(memcached: Client) -> Memcached:
    """Return the emptied memcached as the bidder uses it."""
    memcached.flush_all()
    return Memcached([memcached.server], timeout_s=2.0)


@pytest.fixture(params=["in process", "memcached"])
def served_from(request: pytest.FixtureRequest) -> Memcached | None:
    """Return None, or the memcached that holds the bids."""
    return request.getfixturevalue("server") if request.param == "memcached" else None
