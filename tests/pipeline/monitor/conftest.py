"""Published bids of a real run, live in simulated markets whose logs are in a real warehouse."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import cache, partial
from typing import Any

import pytest
from pipeline.driver import ENTITY, Pipeline
from pipeline.first_run import FinishedRun
from pipeline.monitor.watching import DEPLOYED, open_second
from pipeline.monitor.worlds import SECOND, LiveWorlds
from pipeline.remembered_log import RememberedLog
from servers.embedded import connect_schema, load_events
from sqlalchemy import select, update

from lab.market.policies import BidTablePolicy
from lab.market.published import read_bid_table
from lab.stack import LocalStack
from optimizer.control_plane import canary_splits, deployments, tables
from optimizer.control_plane.audit import Author
from optimizer.control_plane.engine import transaction
from optimizer.control_plane.promotions import Promotion
from optimizer.core.live.canary_plan import read_plan


@pytest.fixture(scope="session")
def table(first_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> BidTablePolicy:
    """Return what the bidder serves of the first run."""
    folder = tmp_path_factory.mktemp("served")
    store = first_run.pipeline.systems.store
    for key in store.list_keys(first_run.handle.output_uri):
        name = key.rsplit("/", 1)[-1]
        store.get_file(first_run.handle.output_uri + name, folder / name)
    return read_bid_table(folder)


@pytest.fixture(scope="session")
def market(
    systems: LocalStack, table: BidTablePolicy, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Callable[[], Any]]:
    """Return what opens the warehouse of a world of LiveWorlds, which is loaded the first time."""
    worlds = LiveWorlds(table)

    @cache
    def load(world: str) -> Callable[[], Any]:
        with connect_schema(systems, f"live_{world}") as connection:
            load_events(connection, worlds.events(world), folder=tmp_path_factory.mktemp(world))
        return RememberedLog(partial(connect_schema, systems, f"live_{world}"), has_ended=False).connect

    return load


@pytest.fixture
def live(after_first_run: Pipeline, market: Callable[[str], Callable[[], Any]], first_run: FinishedRun):
    """Return what puts the first run live in a world, perhaps with a second one, and gives the pipeline."""
    engine = after_first_run.systems.engine

    def begin(
        world: str, *, split: dict[str, int] | None = None, canary: bool = False, plan: str = "20", **config: str
    ) -> Pipeline:
        with transaction(engine) as connection:
            connection.execute(update(tables.deployments).values(deployed_at=DEPLOYED - timedelta(minutes=10)))
            entity_id = connection.scalar(
                select(tables.entities.c.entity_id).where(tables.entities.c.entity_code == ENTITY)
            )
            for key, value in config.items():
                row = {"entity_id": entity_id, "config_key": key, "config_value": value}
                connection.execute(tables.entity_configs.insert().values(row))
        if split or canary:
            open_second(after_first_run, first_run)
        if split:
            by = {"entity_code": ENTITY, "author": Author("anna"), "now": DEPLOYED}
            deployments.deploy(engine, split=split, **by)
        if canary:
            canary_splits.start_canary(
                engine, Promotion(SECOND), entity_code=ENTITY, canary_plan=read_plan(plan), now=DEPLOYED
            )
        return Pipeline(replace(after_first_run.systems, connect_warehouse=market(world)))

    return begin
