"""A small dirty log in the session's warehouse, control planes on SQLite, and the first run of an entity on them.

Pytest makes one fixture of every conftest that imports one of these; log and run are kept where they all find them.
"""

import json
import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from control_plane.databases import new_control_plane
from pipeline.driver import BIDS, DAYS, ENTITY, FIRST_DAY, Pipeline
from pipeline.remembered_log import RememberedLog
from pipeline.trained import shared_folder, train_once
from servers.embedded import connect_schema, load_events

from lab.market.data_quality import TYPICAL_DIRT
from lab.market.events import generate_events
from lab.market.presets import PRESETS
from lab.market.tables import Events
from lab.market.world import World
from lab.stack import LocalStack
from lab.stack.catalogue import load_catalogue
from optimizer.artifacts.store import ObjectStore
from optimizer.control_plane.engine import open_engine
from optimizer.runs.handle import RunHandle
from optimizer.runs.systems import Systems

BUCKET, SCHEMA = "pipeline", "pipeline"
_numbers = count(1)
_LOG = pytest.StashKey[RememberedLog]()
_LOADED = pytest.StashKey[bool]()
_FIRST_RUN = pytest.StashKey["FinishedRun"]()


@pytest.fixture(scope="session")
def world() -> World:
    """Return the market that the log comes from."""
    return World.create(7, settings=replace(PRESETS[ENTITY], first_day=FIRST_DAY, click_rate=0.002))


@pytest.fixture(scope="session")
def log(world: World) -> Events:
    """Return a month of the market with everything that is wrong with real logs."""
    return generate_events(world, start_day=FIRST_DAY, days=DAYS, bids=BIDS, dirt=TYPICAL_DIRT)


@pytest.fixture(scope="session")
def connect(
    request: pytest.FixtureRequest, systems: LocalStack, log: Events, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], Any]:
    """Return what opens a connection to the log."""
    if _LOADED not in request.config.stash:
        with connect_schema(systems, SCHEMA) as connection:
            load_events(connection, log, folder=tmp_path_factory.mktemp("log"))
        systems.ensure_bucket(BUCKET)
        request.config.stash[_LOADED] = True
    remembered = RememberedLog(partial(connect_schema, systems, SCHEMA), has_ended=True)
    return request.config.stash.setdefault(_LOG, remembered).connect


@pytest.fixture(scope="session")
def new_pipeline(
    systems: LocalStack, connect: Callable[[], Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Pipeline]]:
    """Return what makes a pipeline on a new control plane, or on a copy of another's; outputs go to a new prefix."""
    client = systems.connect_objects()

    def make(copy_of: Pipeline | None = None, *, has_control: bool = False) -> Pipeline:
        path = tmp_path_factory.mktemp("control_plane") / "control_plane.db"
        if copy_of is not None:
            with closing(sqlite3.connect(str(copy_of.systems.engine.url.database))) as database:
                database.execute("VACUUM INTO ?", (str(path),))
            engine = open_engine(f"sqlite:///{path}")
        else:
            engine = new_control_plane(path, load_catalogue)
        pipeline = Pipeline(
            Systems(engine, ObjectStore(client), connect),
            run_training=partial(train_once, shared_folder(tmp_path_factory)),
        )
        if copy_of is None and not has_control:
            pipeline.set_value("control_pct", "0")
        pipeline.move_outputs_to(f"s3://{BUCKET}/{next(_numbers)}/")
        return pipeline

    yield make
    client.close()


@dataclass(frozen=True)
class FinishedRun:
    """A run that went all the way, with what was logged meanwhile."""

    pipeline: Pipeline
    handle: RunHandle
    promotion: dict[str, Any]
    log_text: str

    def read(self, name: str) -> bytes:
        return self.pipeline.systems.store.get_bytes(self.handle.output_uri + name)

    def read_json(self, name: str) -> Any:
        return json.loads(self.read(name))

    def save(self, name: str, folder: Path) -> Path:
        return self.pipeline.systems.store.get_file(self.handle.output_uri + name, folder / name)


@pytest.fixture(scope="session")
def first_run(request: pytest.FixtureRequest, new_pipeline: Callable[..., Pipeline]) -> FinishedRun:
    """Return the promoted first run of the entity; tests read it and change nothing."""
    if _FIRST_RUN not in request.config.stash:
        request.config.stash[_FIRST_RUN] = _finish(replace(new_pipeline(), has_pictures=True))
    return request.config.stash[_FIRST_RUN]


def _finish(pipeline: Pipeline) -> FinishedRun:
    records = _Records()
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(records)
    root.setLevel(logging.DEBUG)
    try:
        handle = pipeline.complete()
        promotion = pipeline.promote(handle, approved_by="anna")
    finally:
        root.removeHandler(records)
        root.setLevel(level)
    return FinishedRun(pipeline, handle, promotion, "\n".join(records.lines))


class _Records(logging.Handler):
    """Every record of every logger, as text."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name} {record.getMessage()}")
