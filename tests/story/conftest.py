"""The systems of the story, real servers all: MariaDB with its three accounts, warehouse, objects and memcached."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from control_plane.statements import split_statements
from pymemcache.client.base import Client
from servers.embedded import connect_schema, load_events, systems
from servers.mariadb import SqlServer, mariadb_server
from servers.memcached import memcached
from sqlalchemy import Engine, insert, update
from story.market import SimulatedMarket
from story.systems import ACCOUNTS, StorySystems

from lab.stack import LocalStack
from lab.stack.catalogue import load_catalogue
from optimizer.artifacts.store import ObjectStore
from optimizer.bidder.memcached import Memcached
from optimizer.control_plane import tables
from optimizer.control_plane.engine import open_engine, transaction
from optimizer.control_plane.schema import migrate
from optimizer.core.config.settings import CONFIG_VERSION

__all__ = ["mariadb_server", "memcached", "systems"]

BUCKET = "story"
GRANTS_SQL = Path(__file__).parents[2] / "include/sql/mysql/grants.sql"


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest) -> str:
    """Return the name of the module's story: its schema in the warehouse, and its folder in the bucket."""
    return str(request.module.__name__).rpartition("test_")[2]


@pytest.fixture(scope="module")
def entity_values(request: pytest.FixtureRequest) -> dict[str, str]:
    """Return the entity's own config values: what the module's ENTITY_VALUES says."""
    return dict(request.module.ENTITY_VALUES)


@pytest.fixture(scope="module")
def engines(mariadb_server: SqlServer, place: str, entity_values: dict[str, str]) -> Iterator[dict[str, Engine]]:
    """Return the engine of each account, over a control plane whose ids are those of the documents."""
    with mariadb_server.database() as database:
        root = open_engine(mariadb_server.url(database))
        migrate(root)
        _fill(root, base_uri=f"s3://{BUCKET}/{place}/", entity_values=entity_values)
        mariadb_server.execute(*(f"CREATE USER '{name}'@'%' IDENTIFIED BY 'test only'" for name in ACCOUNTS))
        mariadb_server.execute(*split_statements(GRANTS_SQL.read_text(encoding="utf-8")), database=database)
        urls = {name: mariadb_server.url(database, user=name, password="test only") for name in ACCOUNTS}
        opened = {name: open_engine(url) for name, url in urls.items()}
        yield opened
        for engine in (root, *opened.values()):
            engine.dispose()
        mariadb_server.execute(*(f"DROP USER '{name}'@'%'" for name in ACCOUNTS))


def _fill(root: Engine, *, base_uri: str, entity_values: dict[str, str]) -> None:
    """Load the catalogue, in which the version has the number 5, as in the documents."""
    with transaction(root) as connection:
        connection.execute(
            insert(tables.optimizers).values(opt_id=1, opt_code="rtb_optimizer", opt_name="RTB Optimizer")
        )
        version = {"version_id": 5, "opt_id": 1, "version_code": CONFIG_VERSION, "version_name": "Landscape optimizer"}
        connection.execute(insert(tables.versions).values(version))
    load_catalogue(root)
    with transaction(root) as connection:
        connection.execute(update(tables.entities).values(s3_base_path=base_uri))
        for key, value in entity_values.items():
            row = {"entity_id": 1, "config_key": key, "config_value": value}
            connection.execute(insert(tables.entity_configs).values(row))


@pytest.fixture(scope="module")
def market() -> SimulatedMarket:
    """Return a market in which prices rise by 70 % after the earlier run's window and before the new one's."""
    return SimulatedMarket.create()


@pytest.fixture(scope="module")
def story_systems(
    engines: dict[str, Engine],
    systems: LocalStack,
    memcached: Client,
    market: SimulatedMarket,
    place: str,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[StorySystems]:
    """Return the systems, with the market's history in the warehouse and nothing run yet."""
    history = market.history(jitter_sd=request.module.JITTER_SD)
    with connect_schema(systems, place) as connection:
        load_events(connection, history, folder=tmp_path_factory.mktemp("history"))
    systems.ensure_bucket(BUCKET)
    client = systems.connect_objects()
    server = Memcached([memcached.server], timeout_s=2.0)
    yield StorySystems(engines, ObjectStore(client), server, lambda: connect_schema(systems, place))
    client.close()
