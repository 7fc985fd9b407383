"""Runs below target: an alert, and where `auto_rollback` is on the way back to the split before."""

from datetime import UTC, datetime, timedelta

from pipeline.driver import ENTITY, NOW
from pipeline.first_run import FinishedRun
from pipeline.monitor.watching import active, in_snapshot, lose_files, open_second, verdicts, watch
from pipeline.monitor.worlds import SECOND
from sqlalchemy import update

from optimizer.control_plane import deployment_history, deployments, tables
from optimizer.control_plane.audit import Author
from optimizer.control_plane.engine import transaction


def test_halved_bids_are_an_alert_with_the_figures_and_nothing_is_undone_by_default(live, first_run: FinishedRun):
    pipeline = live("halved")
    found = watch(pipeline)
    (alert,) = found["alerts"]
    assert f"entity drugs_hcp: run {first_run.handle.run_id} (100 % of the traffic) is below its forecast" in alert
    assert "win_rate" in alert and "short by more than 10 %" in alert
    assert verdicts(pipeline, first_run.handle.run_id)["win_rate"].verdict == "below target"
    assert active(pipeline) == {first_run.handle.run_id: 100} and found["actions"] == []


def test_auto_rollback_without_an_earlier_split_is_reported(live, first_run: FinishedRun):
    pipeline = live("halved", auto_rollback="true")
    alerts = watch(pipeline)["alerts"]
    assert any("there is no earlier split to go back to" in alert for alert in alerts)
    assert active(pipeline) == {first_run.handle.run_id: 100}


def test_auto_rollback_goes_back_to_the_split_before_where_a_run_is_below_its_control(live, first_run: FinishedRun):
    pipeline = live("beside_halved", split={first_run.handle.run_id: 80, SECOND: 20}, auto_rollback="true")
    found = watch(pipeline)
    assert any(
        f"run {SECOND} (20 % of the traffic) is below its control, run {first_run.handle.run_id}" in text
        for text in found["alerts"]
    )
    assert active(pipeline) == {first_run.handle.run_id: 100}
    (row,) = deployment_history.read_active(pipeline.systems.engine, ENTITY)
    assert (row.deployed_by, row.source) == ("airflow:monitor", "rollback")
    assert "auto_rollback" in found["actions"][0]
    assert in_snapshot(pipeline) == {first_run.handle.run_id: 100}
    assert verdicts(pipeline, SECOND, "split")["win_rate"].verdict == "below target"


def test_auto_rollback_passes_over_a_split_whose_files_are_gone(live, first_run: FinishedRun):
    run_id = first_run.handle.run_id
    pipeline = live("beside_halved", split={run_id: 80, SECOND: 20}, auto_rollback="true")
    lose_files(pipeline, run_id)
    alerts = watch(pipeline)["alerts"]
    assert any(f"the files of run {run_id} cannot be served" in alert for alert in alerts)
    assert active(pipeline) == {run_id: 80, SECOND: 20}


def test_auto_rollback_goes_back_once_and_then_needs_a_user(live, first_run: FinishedRun):
    pipeline, run_id = live("halved", auto_rollback="true"), first_run.handle.run_id
    open_second(pipeline, first_run)
    with transaction(pipeline.systems.engine) as connection:
        connection.execute(update(tables.deployments).values(source="rollback"))
        earlier = {"run_id": SECOND, "entity_id": 1, "traffic_pct": 100, "is_active": False, "deployed_by": "anna"}
        moments = {"deployed_at": NOW - timedelta(days=9), "deactivated_at": NOW - timedelta(days=8)}
        connection.execute(tables.deployments.insert().values(deployment_id=0, **earlier, **moments))
    found = watch(pipeline)
    assert found["actions"] == [] and active(pipeline) == {run_id: 100}
    assert any(f"auto_rollback went back to run {run_id}, which is below" in text for text in found["alerts"])


def test_a_run_that_was_taken_off_and_brought_back_is_judged_again(live, first_run: FinishedRun):
    pipeline, run_id = live("halved", auto_rollback="true"), first_run.handle.run_id
    engine = pipeline.systems.engine
    open_second(pipeline, first_run)
    for split, day in (({SECOND: 100}, 7), ({run_id: 100}, 8)):
        moment = datetime(2026, 2, day, tzinfo=UTC)
        deployments.deploy(engine, entity_code=ENTITY, split=split, author=Author("anna"), now=moment)
    found = watch(pipeline)
    assert (found["alerts"], found["actions"]) == ([], [])
    assert verdicts(pipeline, run_id)["win_rate"].days == 2 and active(pipeline) == {run_id: 100}
