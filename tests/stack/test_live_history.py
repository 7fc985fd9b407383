"""Which days of a stack are live, and which are still to be replayed."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert

from lab import history
from lab.stack import LocalStack
from lab.stack.catalogue import load_catalogue
from lab.stack.live_history import HISTORY_MARKER, LIVE_DAYS, LiveSpan, count_missing, read_span
from optimizer.control_plane import entities, runs, tables
from optimizer.control_plane.engine import open_engine, transaction
from optimizer.control_plane.schema import migrate

END_DAY = date(2026, 3, 2)
FIRST_DAY = END_DAY - timedelta(days=LIVE_DAYS)


@pytest.fixture
def stack(tmp_path: Path) -> LocalStack:
    return LocalStack.open(tmp_path / "home")


@pytest.fixture
def engine(stack: LocalStack) -> Engine:
    engine = open_engine(f"sqlite:///{stack.home.control_plane}")
    migrate(engine)
    load_catalogue(engine)
    return engine


def test_a_new_stack_has_three_weeks_to_replay(stack: LocalStack, engine: Engine):
    span = read_span(stack, engine, end_day=END_DAY)
    assert span == LiveSpan(FIRST_DAY, until=FIRST_DAY)
    assert count_missing(span, end_day=END_DAY) == LIVE_DAYS


@pytest.mark.parametrize(("later", "missing"), [(0, 0), (2, 2), (90, LIVE_DAYS)])
def test_on_a_later_day_the_days_since_are_missing_but_three_weeks_at_most(
    stack: LocalStack, engine: Engine, later: int, missing: int
):
    replayed = LiveSpan(FIRST_DAY, until=END_DAY)
    (stack.home.state / HISTORY_MARKER).write_text(replayed.to_text())
    today = END_DAY + timedelta(days=later)
    assert read_span(stack, engine, end_day=today) == replayed
    assert count_missing(replayed, end_day=today) == missing


def test_a_client_that_was_live_before_gets_no_live_days(stack: LocalStack, engine: Engine):
    now = datetime(2026, 2, 27, 12, tzinfo=UTC)
    definition = entities.read_definition(engine, history.ENTITY)
    run = runs.open_run(
        engine,
        entity_id=definition.entity.entity_id,
        version_id=definition.entity.current_version_id,
        entity_code=history.ENTITY,
        origin=runs.RunOrigin("optimize__drugs_hcp", "manual__1", "anna", "manual"),
        now=now,
    )
    row = {"entity_id": definition.entity.entity_id, "run_id": run.run_id, "traffic_pct": 100, "is_active": True}
    with transaction(engine) as connection:
        connection.execute(insert(tables.deployments).values(**row, deployed_at=now, deployed_by="anna"))
    span = read_span(stack, engine, end_day=END_DAY)
    assert span == LiveSpan(END_DAY, until=END_DAY)
    assert count_missing(span, end_day=END_DAY) == 0
