"""One replay of live days for the whole test session, in a schema and a control plane of its own."""

from dataclasses import dataclass
from datetime import date, timedelta

import pytest
from reporting.stories import without_pictures
from servers.embedded import connect_schema, load_events, start_systems
from sqlalchemy import update

from lab import history
from lab.history import History, LiveClient
from lab.history.story import SHORTEST_DAYS
from lab.stack.catalogue import ensure_values, load_catalogue
from optimizer.artifacts.store import ObjectStore
from optimizer.control_plane import tables
from optimizer.control_plane.engine import open_engine, transaction
from optimizer.control_plane.schema import migrate
from optimizer.runs.systems import Systems

UNTIL = date(2026, 3, 2)
FIRST_DAY = UNTIL - timedelta(days=SHORTEST_DAYS)
LOG_DAYS = 24
"""Days of the log before the first live day."""

BIDS_A_DAY = 7_000
"""With fewer, chance decides whether the canary is on target after its last step."""

MISTAKEN_ENTITY = "nativo_consumer"

_BUCKET = _SCHEMA = "replayed"
_REPLAYED = pytest.StashKey["Replayed"]()


@dataclass(frozen=True)
class Replayed:
    """The systems after a replay; tests read them and change nothing."""

    systems: Systems
    client: LiveClient
    history: History


@pytest.fixture(scope="session")
def replayed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    """Return the session's replay of live days; it is made for the first test that asks, in about 30 s."""
    stash = request.config.stash
    if _REPLAYED not in stash:
        stash[_REPLAYED] = _replay(request.config, tmp_path_factory)
    return stash[_REPLAYED]


def _replay(config: pytest.Config, folders: pytest.TempPathFactory) -> Replayed:
    stack = start_systems(config)
    stack.ensure_bucket(_BUCKET)
    engine = open_engine(f"sqlite:///{folders.mktemp('replayed') / 'control_plane.db'}")
    migrate(engine)
    load_catalogue(engine)
    ensure_values(engine, history.ENTITY, history.VALUES)
    with transaction(engine) as connection:
        own_prefix = f"s3://{_BUCKET}/" + tables.entities.c.entity_code + "/"
        connection.execute(update(tables.entities).values(s3_base_path=own_prefix))
    systems = Systems(engine, ObjectStore(stack.connect_objects()), lambda: connect_schema(stack, _SCHEMA))
    client = history.create_client(first_day=FIRST_DAY - timedelta(days=LOG_DAYS), bids_a_day=BIDS_A_DAY)
    with systems.connect_warehouse() as connection:
        log = history.generate_log(client, until=FIRST_DAY)
        load_events(connection, log, folder=folders.mktemp("log"))
    with without_pictures():
        found = history.replay_history(
            systems,
            client,
            days=SHORTEST_DAYS,
            until=UNTIL,
            mistaken_entity=MISTAKEN_ENTITY,
        )
    return Replayed(systems, client, found)
