"""The console's benchmark on a small fleet: every page answers, and a larger fleet needs no more statements."""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from servers.embedded import systems
from servers.mariadb import SqlServer, mariadb_server
from sqlalchemy import Engine, event, func, select

from lab.benchmarks.console.fleet import BUCKET, Fleet, fill
from lab.benchmarks.console.models import STATES
from lab.benchmarks.console.pages import PAGES, RUN_PAGES, PageCost, Pages, figures_of
from lab.benchmarks.console.published import publish_runs
from lab.stack import LocalStack
from optimizer.artifacts.store import ObjectStore
from optimizer.control_plane import tables
from optimizer.control_plane.engine import open_engine, reading
from optimizer.control_plane.entity_outlines import read_outlines
from optimizer.control_plane.schema import migrate
from optimizer.deployment.readiness import read_statuses, word_of

__all__ = ["mariadb_server", "systems"]

NOW = datetime(2026, 6, 1, 8, tzinfo=UTC)
SEGMENTS = 300
FLEET = Fleet(entities=100, runs=24, days=120, now=NOW)
GROWING = {
    table.name
    for table in (
        tables.runs,
        tables.deployments,
        tables.live_daily,
        tables.live_verdicts,
        tables.audit,
        tables.bidder_counts,
    )
}
"""Tables that get rows with each run or day of a client."""


@pytest.fixture
def store(systems: LocalStack) -> ObjectStore:
    systems.ensure_bucket(BUCKET)
    return ObjectStore(systems.connect_objects())


@pytest.fixture(scope="module")
def fleet_engine(mariadb_server: SqlServer) -> Iterator[Engine]:
    """Return a control plane on MariaDB with a hundred clients."""
    with mariadb_server.database() as database:
        engine = open_engine(mariadb_server.url(database))
        migrate(engine)
        fill(engine, FLEET)
        mariadb_server.execute(*(f"ANALYZE TABLE {name}" for name in sorted(GROWING)), database=database)
        yield engine
        engine.dispose()


def measure(folder: Path, store: ObjectStore, *, size: int) -> list[PageCost]:
    """Return what the pages of a fleet on SQLite cost."""
    engine = open_engine(f"sqlite:///{folder}/{size}.db")
    migrate(engine)
    fleet = Fleet(entities=size, runs=2 * size, days=3 * size, now=NOW)
    fill(engine, fleet)
    pages = Pages(engine, store, fleet, repeats=1)
    return pages.measure() + pages.measure_runs(publish_runs(engine, store, fleet, segments=SEGMENTS))


def test_a_page_sends_as_many_statements_for_a_fleet_as_for_a_few(tmp_path, store):
    few, many = (measure(tmp_path, store, size=size) for size in (2, 12))
    for costs in (few, many):
        figures = figures_of(costs, segments=SEGMENTS)
        assert [figure.what for figure in figures if not figure.is_kept and "statements" in figure.what] == []
    assert {cost.name: cost.statements for cost in few} == {cost.name: cost.statements for cost in many}
    assert {cost.name for cost in few} == PAGES.keys() | RUN_PAGES.keys()


def test_the_copied_clients_are_in_the_states_of_those_that_they_are_like(fleet_engine):
    expected = {code: STATES[number % len(STATES)] for number, code in enumerate(FLEET.codes())}
    assert {one.entity_code: word_of(one, now=NOW) for one in read_outlines(fleet_engine)} == expected
    assert {one.entity_code: one.readiness.word for one in read_statuses(fleet_engine, now=NOW)} == expected


def test_every_client_has_rows_of_its_own(fleet_engine):
    days = tables.live_daily
    by_entity = select(days.c.entity_id, func.count()).group_by(days.c.entity_id)
    foreign = (
        select(func.count())
        .select_from(days.join(tables.entities, tables.entities.c.entity_id == days.c.entity_id))
        .where(~days.c.run_id.startswith(tables.entities.c.entity_code))
    )
    with reading(fleet_engine) as connection:
        assert Counter(count for _, count in connection.execute(by_entity)) == {2 * FLEET.days: FLEET.entities}
        assert connection.scalar(foreign) == 0


def test_no_page_of_a_fleet_scans_a_table_that_grows_with_runs_or_days(fleet_engine, store):
    sent: dict[str, object] = {}

    def note(connection: object, cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.startswith("SELECT") and " FROM opt_" in " ".join(statement.split()):
            sent[statement] = parameters

    event.listen(fleet_engine, "before_cursor_execute", note)
    Pages(fleet_engine, store, FLEET, repeats=1).measure()
    event.remove(fleet_engine, "before_cursor_execute", note)
    assert len(sent) > 20
    assert [
        found for statement, parameters in sent.items() for found in scans(fleet_engine, statement, parameters)
    ] == []


def scans(engine: Engine, statement: str, parameters: object) -> list[str]:
    """Return the growing tables that MariaDB reads from end to end, each with the statement."""
    with engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).mappings().all()
    names = {alias: name for name, alias in re.findall(r"(opt_\w+) AS (\w+)", statement)}
    read = {names.get(row["table"], row["table"]) for row in plan if row["type"] in ("ALL", "index")}
    return [f"{name}: {statement}" for name in sorted(read & GROWING)]
