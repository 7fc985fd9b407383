"""Live days one after another: the monitor looks, a run goes live, its bids meet the auctions of the day."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from snowflake.connector.errors import OperationalError
from threadpoolctl import threadpool_limits

from lab.history.bidding import LiveBidder
from lab.history.client import LiveClient
from lab.history.morning_runs import RunOrder, make_run
from lab.history.story import morning_of
from lab.history.traffic import LiveTraffic
from lab.market.epochs import standard_epochs
from lab.market.tables import Events, concat_events
from lab.stack.warehouse_loading import load_parquet
from optimizer.control_plane import canaries, deployment_history
from optimizer.control_plane.records import Run
from optimizer.deployment.monitor import list_watched, monitor_entity
from optimizer.runs.systems import Systems

LOOKED_AT, RUN_AT, MISTAKEN_AT = time(2, 30, tzinfo=UTC), time(6, tzinfo=UTC), time(17, tzinfo=UTC)
"""When the monitor looks and the daily run starts, as the schedules of their DAGs say; and a user's mistake."""

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class History:
    """What a replay left.

    Attributes:
        first_day, until: the days that were replayed, from the first up to the day before `until`.
        runs: the runs of the entity, in order, as they ended.
        canary_run_id: the run that was tried on a part of the traffic last; None where none was.
        mistaken_run_id: the failed run of another entity, whose incident is open; None without one.
    """

    entity_code: str
    first_day: date
    until: date
    runs: tuple[Run, ...]
    canary_run_id: str | None
    mistaken_run_id: str | None


def replay_history(
    systems: Systems,
    client: LiveClient,
    *,
    days: int,
    until: date,
    since: date | None = None,
    mistaken_entity: str | None = None,
    on_day: Callable[[date], None] = lambda day: None,
) -> History:
    """Make the last `days` days before `until` live days of the client, and return what was left.

    All that it leaves comes from the code that runs in production, at the moments of those days: the monitor looks
    every morning, then the run of the day is made, approved or promoted, and its published bids, those of the control
    included, meet the auctions of the day, whose events are loaded. `story` says on which days something else happens.
    While a canary is tried no run is made. A day can be replayed again after an interruption.

    Args:
        systems: their warehouse holds the client's log from the market's first day up to the first live day.
        days: of the whole history; the first run goes live on the first.
        until: the day after the last; its morning is the monitor's last look.
        since: the first day to replay, where those before it were replayed already; None: all.
        mistaken_entity: an entity of which a user starts a run of an empty window on the last day.
        on_day: is called before each day.

    Raises:
        OptimizerError: the entity's config is wrong, or a system does not answer.
    """
    live_days = _LiveDays(systems, client, until - days * _DAY)
    made: list[Run] = []
    # The matrices are small: more threads would spend most of their time waiting for each other.
    with threadpool_limits(limits=1):
        for day in _days(since or live_days.first_day, until):
            on_day(day)
            made += live_days.replay(day)
        live_days.look(until)
    mistaken = None if mistaken_entity is None else _start_mistaken_run(systems, mistaken_entity, day=until - _DAY)
    return History(
        entity_code=client.entity_code,
        first_day=since or live_days.first_day,
        until=until,
        runs=tuple(made),
        canary_run_id=live_days.find_canary(),
        mistaken_run_id=None if mistaken is None else mistaken.run_id,
    )


def serve_again(systems: Systems, client: LiveClient, *, first_day: date, until: date) -> Events:
    """Return the events of live days that were replayed before, by the splits that the control plane has of them.

    Args:
        first_day: of the whole history.
        until: the day after the last, later than `first_day`.
    """
    live_days = _LiveDays(systems, client, first_day)
    return concat_events(live_days.serve(day) for day in _days(first_day, until))


class _LiveDays:
    """The live days of a client: what happens on each, its auctions, and who bids on them."""

    def __init__(self, systems: Systems, client: LiveClient, first_day: date) -> None:
        self.first_day = first_day
        self._systems, self._client = systems, client
        start_day = client.world.settings.first_day
        before = standard_epochs(client.world, start_day=start_day, days=(first_day - start_day).days)[-1].policy
        self._bidder = LiveBidder(systems, client, usual=before)
        self._traffic = LiveTraffic(client, first_day)

    def replay(self, day: date) -> list[Run]:
        """Let the monitor look, make the run of the day, if there is one, and load the events; return the run."""
        self.look(day)
        made = self._start_run(day)
        _load(self._systems, self.serve(day))
        return made

    def look(self, day: date) -> None:
        """Let the monitor look in the morning of the day, where something of the client is live."""
        if self._client.entity_code in list_watched(self._systems.engine):
            monitor_entity(self._client.entity_code, systems=self._systems, now=datetime.combine(day, LOOKED_AT))

    def serve(self, day: date) -> Events:
        """Return the events of the day."""
        return self._bidder.serve(self._traffic.of_day(day))

    def find_canary(self) -> str | None:
        """Return the run that was tried on a part of the traffic last, if one was."""
        splits = deployment_history.read_splits(self._systems.engine, self._client.entity_code)
        return next((split.canary_run_id for split in splits if split.canary_run_id is not None), None)

    def _start_run(self, day: date) -> list[Run]:
        """The run of the day, or none."""
        systems, code = self._systems, self._client.entity_code
        if canaries.read_open(systems.engine, code) is not None:
            return []
        morning = morning_of((day - self.first_day).days, is_canary_over=self.find_canary() is not None)
        if morning is None:
            return []
        order = RunOrder(code, at=datetime.combine(day, RUN_AT), values=morning.values)
        if morning.is_warehouse_away:
            systems = replace(systems, connect_warehouse=_no_answer)
        return [make_run(order, systems=systems)]


def _days(first_day: date, until: date) -> Iterator[date]:
    return (first_day + number * _DAY for number in range((until - first_day).days))


def _start_mistaken_run(systems: Systems, entity_code: str, *, day: date) -> Run:
    """A run that a user starts by hand on the day, with dates of the wrong year."""
    start, end = (date(day.year - 1, 1, number).isoformat() for number in (1, 31))
    order = RunOrder(
        entity_code,
        at=datetime.combine(day, MISTAKEN_AT),
        values={"data_start_dt": start, "data_end_dt": end},
        triggered_by="ben",
        trigger_type="manual",
    )
    return make_run(order, systems=systems)


def _load(systems: Systems, events: Events) -> None:
    """Append the events to the warehouse's tables."""
    with TemporaryDirectory(prefix="optimizer-") as folder, systems.connect_warehouse() as connection:
        for name, file in events.write_parquet(Path(folder)).items():
            load_parquet(connection, table=name.upper(), files=[file])


def _no_answer() -> Any:
    raise OperationalError("connection refused")
