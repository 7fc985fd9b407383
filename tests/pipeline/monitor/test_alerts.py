"""Alerts: opened once and closed once, also by two monitors at the same time."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from pipeline.driver import ENTITY
from pipeline.first_run import FinishedRun
from pipeline.monitor.watching import active, daily, watch
from pipeline.monitor.worlds import LIVE_DAYS, MORNING, SECOND
from sqlalchemy import update

from optimizer.control_plane import tables
from optimizer.control_plane.engine import transaction
from optimizer.deployment.monitor import list_watched


def test_an_alert_is_new_once_and_over_once(live, first_run: FinishedRun):
    pipeline = live("halved")
    first, again = watch(pipeline), watch(pipeline)
    assert first["opened"] == first["alerts"] and (again["opened"], again["closed"]) == ([], [])
    over = watch(pipeline, now=datetime(2026, 2, 5, 2, 30, tzinfo=UTC))
    assert over["alerts"] == [] and over["closed"] == first["alerts"]


def test_the_alerts_of_an_entity_that_is_live_no_more_are_closed(live, first_run: FinishedRun):
    pipeline = live("halved")
    engine, opened = pipeline.systems.engine, watch(pipeline)["opened"]
    with transaction(engine) as connection:
        connection.execute(update(tables.deployments).values(is_active=False, deactivated_at=MORNING))
    assert active(pipeline) == {} and list_watched(engine) == [ENTITY]
    assert watch(pipeline)["closed"] == opened
    assert list_watched(engine) == []


def test_two_monitors_at_once_write_each_figure_once_and_act_once(live, first_run: FinishedRun):
    pipeline = live("beside_halved", canary=True)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: watch(pipeline), range(2)))
    assert active(pipeline) == {first_run.handle.run_id: 100}
    assert sum("is below target: now live" in action for report in found for action in report["actions"]) == 1
    assert len(daily(pipeline, SECOND)) == LIVE_DAYS
    opened = [message for report in found for message in report["opened"]]
    assert len(opened) == len(set(opened)) > 0
