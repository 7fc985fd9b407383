"""The demo's log, and the live days of one client that end it: loaded, replayed, and taken up again on a later day."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from sqlalchemy import Engine

from lab import history
from lab.history import LiveClient
from lab.market.tables import Events, concat_events
from lab.stack.catalogue import ensure_values
from lab.stack.demo import LOG_MARKER
from lab.stack.event_log import TABLES, create_tables, write_generated_log
from lab.stack.stack import LocalStack
from lab.stack.warehouse_loading import load_parquet
from optimizer.artifacts.store import ObjectStore
from optimizer.control_plane import deployment_history, entities, runs
from optimizer.runs.systems import Systems

LOG_DAYS, LIVE_DAYS = 60, 21
"""The log of a new stack has this many days, and the last of them are live."""

OTHER_BIDS = {"drugs_com": 60_000, "nativo_consumer": 60_000}
"""Bids in the logs of the entities without live days."""

MISTAKEN_ENTITY = "nativo_consumer"
"""A user starts a run of it with the wrong dates, so its incident is open."""

HISTORY_MARKER = "live_history.json"
"""Which days were replayed; LOG_MARKER says what the tables hold."""


@dataclass(frozen=True, slots=True)
class LiveSpan:
    """The live days of a stack.

    Attributes:
        first_day: the first run went live on it.
        until: the day after the last that was replayed; `first_day` where none was.
    """

    first_day: date
    until: date

    @classmethod
    def of_text(cls, text: str) -> Self:
        """Return the span that `to_text` wrote."""
        return cls(**{name: date.fromisoformat(day) for name, day in json.loads(text).items()})

    def to_text(self) -> str:
        """Return the span as JSON."""
        return json.dumps({"first_day": self.first_day.isoformat(), "until": self.until.isoformat()})


def read_span(stack: LocalStack, engine: Engine, *, end_day: date) -> LiveSpan:
    """Return the live days of the stack, up to now; a new stack has them still to come, before `end_day`.

    A client that was live before there were replays gets no live days.
    """
    marker = stack.home.state / HISTORY_MARKER
    if marker.exists():
        return LiveSpan.of_text(marker.read_text())
    entity_id = entities.read_entity_id(engine, history.ENTITY)
    first_day = end_day if deployment_history.was_live(engine, entity_id) else end_day - timedelta(days=LIVE_DAYS)
    return LiveSpan(first_day, first_day)


def count_missing(span: LiveSpan, *, end_day: date) -> int:
    """Return how many days before `end_day` are still to be replayed, LIVE_DAYS at most."""
    return min(max((end_day - span.until).days, 0), LIVE_DAYS)


def load_log(stack: LocalStack, engine: Engine, *, span: LiveSpan, end_day: date) -> None:
    """Load the log up to the days that are still to be replayed, unless the tables hold all of it already.

    The log of the other entities ends with the day before `end_day`.
    """
    marker = stack.home.state / LOG_MARKER
    if marker.exists() and marker.read_text() == replace(span, until=end_day).to_text():
        return
    marker.unlink(missing_ok=True)
    events = _events_of_client(stack, engine, span)
    with TemporaryDirectory(prefix="optimizer-log-") as folder, stack.connect_warehouse() as connection:
        create_tables(connection)
        logs = [events.write_parquet(Path(folder) / history.ENTITY)]
        for code, bids in OTHER_BIDS.items():
            logs.append(
                write_generated_log(code, end_day=end_day, days=LOG_DAYS, bids=bids, folder=Path(folder) / code)
            )
        for name in TABLES:
            load_parquet(connection, table=name.upper(), files=[files[name] for files in logs], replace=True)


def replay_live_days(
    stack: LocalStack, engine: Engine, *, span: LiveSpan, end_day: date, on_day: Callable[[date], None]
) -> None:
    """Replay the days that are missing before `end_day`.

    An interrupted replay is taken up again at the day that it was in. The log of its steps is logs/replay.log.

    Args:
        on_day: is called before each day.
    """

    def begin(day: date) -> None:
        _note(stack, replace(span, until=day))
        on_day(day)

    missing = count_missing(span, end_day=end_day)
    if missing > 0:
        ensure_values(engine, history.ENTITY, history.VALUES)
        is_new = not runs.list_runs(engine, entity_code=MISTAKEN_ENTITY, limit=1)
        with _logging_to(stack.home.log("replay")):
            history.replay_history(
                _systems(stack, engine),
                _client(span),
                days=(end_day - span.first_day).days,
                until=end_day,
                since=end_day - timedelta(days=missing),
                mistaken_entity=MISTAKEN_ENTITY if is_new else None,
                on_day=begin,
            )
        _note(stack, replace(span, until=end_day))
    (stack.home.state / LOG_MARKER).write_text(replace(span, until=end_day).to_text())


@contextmanager
def _logging_to(file: Path) -> Iterator[None]:
    """Write what the steps log to the file, and not to the terminal."""
    handler, log = logging.FileHandler(file), logging.getLogger("optimizer")
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()


def _note(stack: LocalStack, span: LiveSpan) -> None:
    """Note which days were replayed."""
    (stack.home.state / HISTORY_MARKER).write_text(span.to_text())


def _events_of_client(stack: LocalStack, engine: Engine, span: LiveSpan) -> Events:
    """The client's log before its first live day, and the events of the days that were replayed."""
    client = _client(span)
    log = history.generate_log(client, until=span.first_day)
    if span.until == span.first_day:
        return log
    served = history.serve_again(_systems(stack, engine), client, first_day=span.first_day, until=span.until)
    return concat_events([log, served])


def _client(span: LiveSpan) -> LiveClient:
    return history.create_client(first_day=span.first_day - timedelta(days=LOG_DAYS - LIVE_DAYS))


def _systems(stack: LocalStack, engine: Engine) -> Systems:
    return Systems(engine, ObjectStore(stack.connect_objects()), stack.connect_warehouse)
