"""What `monitor` costs on a fleet: each client's live run and control, judged part by part as the DAG does."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

import duckdb
from sqlalchemy import Engine

from lab.benchmarks.console.fleet import BUCKET, Fleet, fill
from lab.benchmarks.console.published import BigRuns
from lab.benchmarks.figures import Figure
from lab.stack import LocalStack
from lab.stack.environment import WAREHOUSE_DATABASE, WAREHOUSE_SCHEMA
from lab.stack.event_log import create_tables
from optimizer.artifacts.store import ObjectStore
from optimizer.control_plane.deployment_history import list_active
from optimizer.control_plane.engine import open_engine
from optimizer.control_plane.entities import read_definitions
from optimizer.control_plane.runs import read_run
from optimizer.control_plane.schema import migrate
from optimizer.deployment.monitor import list_watched, monitor_entities
from optimizer.runs.systems import Systems

LIVE_DAYS = 7
MAX_ENTITY_S = 0.6
"""A thousand clients take ten minutes at most, one part after the other."""

MAX_STATEMENTS = 8
"""Of a part, however many clients it has."""

_SYSTEMS = ("warehouse", "objects")
_RUNS, _DAYS = 4, 20
_SEGMENTS = 200
_BIDS_A_DAY = {95: 190, 5: 10}
"""Share of the traffic, in percent: the bids of such a run."""

_BIDS_SQL = """
INSERT INTO bids BY NAME
SELECT
    object_id || '_' || run_id || '_' || number AS bid_id,
    $since + to_seconds(CAST(number * 86400 / bids_a_day AS BIGINT)) AS bid_ts,
    object_id, run_id,
    'adspace_' || number % 3 AS internal_adspace_id, 'CA' AS geo_region_name, '1' AS os_code, '1' AS browser_code,
    '1' AS device_type, 'example.com' AS domain,
    5.0 AS bid_cpm, 5.0 AS base_bid_cpm, 1.0 AS domain_multiplier, 1.0 AS npi_multiplier
FROM live, unnest(range($days * bids_a_day)) AS numbers (number)
"""
_VIEWS_SQL = """
INSERT INTO views BY NAME
SELECT bid_id, bid_ts + INTERVAL 5 SECONDS AS view_ts, bid_cpm AS cost_cpm, 0.01 AS revenue
FROM bids
WHERE hash(bid_id) % 10 < 3
"""


@dataclass(frozen=True, slots=True)
class MonitorCost:
    """What looking at the entities took: seconds by the clock, in `parts` parts, and statements of the warehouse."""

    entities: int
    parts: int
    wall_s: float
    statements: int

    def figures(self) -> list[Figure]:
        """Return each beside its bound."""
        most_s, most = self.entities * MAX_ENTITY_S, self.parts * MAX_STATEMENTS
        name = f"`monitor` of {self.entities:,} entities"
        against = f"{MAX_ENTITY_S} s an entity, one after the other"
        statements = f"{MAX_STATEMENTS} for each of {self.parts} parts"
        return [
            Figure(name, self.wall_s, most_s, against, "s", 1.0),
            Figure(f"statements of the warehouse in {name}", self.statements, most, statements, "statements", 1.0),
        ]


def measure_monitor(folder: Path, *, entities: int, now: datetime, tell: Callable[[str], None]) -> MonitorCost:
    """Return what it costs to look at a fleet of that many clients, each with a live run and its control.

    Args:
        folder: a new one, where the fleet, its log and its runs' files are written.
        now: the morning on which the live runs went live.
        tell: is called with what is being done.

    Raises:
        RuntimeError: a client could not be looked at.
    """
    folder.mkdir()
    engine, stack = _fill(folder, entities=entities, now=now), LocalStack.open(folder / "stack")
    with stack.serving(*_SYSTEMS), closing(stack.connect_warehouse()) as connection:
        create_tables(connection)
    _append_log(stack, engine, since=now)
    with stack.serving(*_SYSTEMS):
        stack.ensure_bucket(BUCKET)
        store = ObjectStore(stack.connect_objects())
        tell(f"publishing the live runs of {entities:,} entities")
        _publish(engine, store)
        tell(f"looking at {entities:,} entities")
        cost = _look(Systems(engine, store, stack.connect_warehouse), now=now + timedelta(days=LIVE_DAYS, hours=1))
    engine.dispose()
    return cost


@dataclass(slots=True)
class _Counting:
    """Opens connections to the warehouse, and counts the statements that are asked of them."""

    connect: Callable[[], Any]
    statements: list[str] = field(default_factory=list)

    def __call__(self) -> Any:
        connection = self.connect()
        make_cursor = connection.cursor

        def cursor(*options: Any, **named: Any) -> Any:
            made = make_cursor(*options, **named)
            execute = made.execute

            def counted(statement: str, *values: Any, **more: Any) -> Any:
                self.statements.append(statement)
                return execute(statement, *values, **more)

            made.execute = counted
            return made

        connection.cursor = cursor
        return connection


def _look(systems: Systems, *, now: datetime) -> MonitorCost:
    # Importing it loads Airflow, which nothing else in this module needs.
    from optimizer.orchestration.monitor_dag import parts_of

    counting = _Counting(systems.connect_warehouse)
    systems, started = replace(systems, connect_warehouse=counting), perf_counter()
    parts = parts_of(list_watched(systems.engine))
    reports = [report for part in parts for report in monitor_entities(part, systems=systems, now=now)]
    wall_s = perf_counter() - started
    if failed := [report for report in reports if not report["runs"]]:
        raise RuntimeError(f"{len(failed)} of {len(reports)} entities were not judged, first: {failed[0]['alerts']}")
    return MonitorCost(len(reports), len(parts), wall_s, len(counting.statements))


def _fill(folder: Path, *, entities: int, now: datetime) -> Engine:
    engine = open_engine(f"sqlite:///{folder / 'control_plane.db'}")
    migrate(engine)
    fill(engine, Fleet(entities, _RUNS, _DAYS, now))
    return engine


def _append_log(stack: LocalStack, engine: Engine, *, since: datetime) -> None:
    """Append the bids of a week, a third of them won, to the warehouse's file, which nothing else may have open."""
    objects = {one.entity.entity_code: one.entity.object_id for one in read_definitions(engine)[0]}
    live = [
        (objects[code], row.run_id, _BIDS_A_DAY[row.traffic_pct])
        for code, rows in list_active(engine).items()
        for row in rows
    ]
    path = stack.home.warehouse / f"{WAREHOUSE_DATABASE}.db"
    with duckdb.connect(str(path)) as database:
        database.execute(f"USE {WAREHOUSE_DATABASE}.{WAREHOUSE_SCHEMA}")
        database.execute("CREATE TEMP TABLE live (object_id BIGINT, run_id VARCHAR, bids_a_day BIGINT)")
        database.executemany("INSERT INTO live VALUES (?, ?, ?)", live)
        database.execute(_BIDS_SQL, {"since": since.astimezone(UTC).replace(tzinfo=None), "days": LIVE_DAYS})
        database.execute(_VIEWS_SQL)


def _publish(engine: Engine, store: ObjectStore) -> None:
    market = BigRuns.of(store, segments=_SEGMENTS)
    for code, rows in list_active(engine).items():
        for row in rows:
            market.publish(read_run(engine, row.run_id), entity_code=code, target_win_rate=0.3)
