"""The steps of a canary: given more traffic, paused, rolled back, or left at its step."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.driver import ENTITY, Pipeline
from pipeline.first_run import FinishedRun
from pipeline.monitor.watching import DEPLOYED, active, lose_files, open_second, watch
from pipeline.monitor.worlds import MORNING, SECOND

from optimizer.control_plane import canaries, canary_splits, deployment_history, deployments, tables
from optimizer.control_plane.audit import Author
from optimizer.control_plane.engine import transaction
from optimizer.control_plane.promotions import Promotion
from optimizer.core.live.canary_plan import read_plan


def test_a_canary_on_target_gets_all_the_traffic(live, first_run: FinishedRun):
    pipeline = live("beside", canary=True)
    assert active(pipeline) == {first_run.handle.run_id: 80, SECOND: 20}
    waiting = watch(pipeline, now=datetime(2026, 2, 6, 2, 30, tzinfo=UTC))
    assert (waiting["actions"], waiting["alerts"]) == ([], [])
    found = watch(pipeline)
    assert found["alerts"] == [] and f"run {SECOND}, tried on 20 % of the traffic, is on target" in found["actions"][0]
    assert active(pipeline) == {SECOND: 100}


def test_a_canary_gets_more_traffic_step_by_step_and_the_whole_once_it_is_on_target(live, first_run: FinishedRun):
    pipeline, run_id = live("stepped", canary=True, plan="20@1d, 50@4d, 100"), first_run.handle.run_id
    early = watch(pipeline, now=datetime(2026, 2, 5, 2, 30, tzinfo=UTC))
    assert early["actions"] == [] and active(pipeline) == {run_id: 80, SECOND: 20}
    second_day = watch(pipeline, now=datetime(2026, 2, 6, 2, 30, tzinfo=UTC))
    assert "has had step 1 of 2" in second_day["actions"][0] and active(pipeline) == {run_id: 50, SECOND: 50}
    assert watch(pipeline, now=datetime(2026, 2, 7, 2, 30, tzinfo=UTC))["actions"] == []
    found = watch(pipeline)
    assert f"run {SECOND}, tried on 50 % of the traffic, is on target" in found["actions"][0]
    assert active(pipeline) == {SECOND: 100} and canaries.read_open(pipeline.systems.engine, ENTITY) is None


def test_a_canary_whose_files_are_gone_gets_no_further_step(live, first_run: FinishedRun):
    pipeline = live("beside", canary=True, plan="20@1d, 50@4d, 100")
    lose_files(pipeline, SECOND)
    found = watch(pipeline, now=datetime(2026, 2, 6, 2, 30, tzinfo=UTC))
    assert found["actions"] == [] and active(pipeline) == {first_run.handle.run_id: 80, SECOND: 20}


def test_a_canary_that_a_person_paused_stays_at_its_step(live, first_run: FinishedRun):
    pipeline = live("beside", canary=True, plan="20@1d, 100")
    engine = pipeline.systems.engine
    canary_splits.pause_canary(engine, entity_code=ENTITY, author=Author("anna"), now=DEPLOYED)
    found = watch(pipeline)
    assert "is paused by anna" in found["actions"][0]
    assert active(pipeline) == {first_run.handle.run_id: 80, SECOND: 20}


def test_a_canary_that_is_below_target_in_clicks_alone_is_paused_and_asks(live, first_run: FinishedRun):
    pipeline = live("clicks_lost", canary=True, plan="20@1d, 50@1d, 100")
    (alert,) = (text for text in watch(pipeline)["alerts"] if "is paused" in text)
    assert alert == (
        f"entity {ENTITY}: run {SECOND}, tried on 20 % of the traffic, is below target in ctr; run {SECOND} is paused "
        f"at step 1: `optimizer canary {ENTITY} resume` lets it go on, `optimizer canary {ENTITY} abort` takes it off"
    )
    assert active(pipeline) == {first_run.handle.run_id: 80, SECOND: 20}
    tried = canaries.read_open(pipeline.systems.engine, ENTITY)
    assert (tried.status, tried.step, tried.changed_by) == ("paused", 1, "airflow:monitor")
    again = watch(pipeline, now=MORNING + timedelta(days=1))
    assert alert in again["alerts"] and alert not in again["opened"], "it stays open until a person decides"
    by_hand = {"entity_code": ENTITY, "author": Author("anna"), "now": MORNING + timedelta(days=1)}
    canary_splits.abort_canary(pipeline.systems.engine, run_id=SECOND, **by_hand)
    assert alert in watch(pipeline, now=MORNING + timedelta(days=2))["closed"]


def test_a_canary_below_target_is_rolled_back_and_alerts(live, first_run: FinishedRun):
    pipeline = live("beside_halved", canary=True)
    found = watch(pipeline)
    assert active(pipeline) == {first_run.handle.run_id: 100}
    assert any(
        f"run {SECOND} (20 % of the traffic) is below its control, run {first_run.handle.run_id}" in text
        for text in found["alerts"]
    )
    assert not any(f"run {first_run.handle.run_id}" in text.split("is below")[0] for text in found["alerts"])


def test_a_first_run_below_target_leaves_all_traffic_to_the_control(live, first_run: FinishedRun):
    pipeline = live("beside_halved")
    engine = pipeline.systems.engine
    open_second(pipeline, first_run)
    with transaction(engine) as connection:
        connection.execute(tables.deployments.delete())
    control = {"entity_code": ENTITY, "run_id": first_run.handle.run_id, "author": Author("anna"), "now": DEPLOYED}
    deployments.set_control(engine, **control)
    plan = read_plan("20")
    canary_splits.start_canary(engine, Promotion(SECOND), entity_code=ENTITY, canary_plan=plan, now=DEPLOYED)
    assert active(pipeline) == {first_run.handle.run_id: 80, SECOND: 20}
    (action,) = watch(pipeline)["actions"]
    assert f"run {SECOND}, tried on 20 % of the traffic, is below target: now live run" in action
    assert active(pipeline) == {first_run.handle.run_id: 100}
    (row,) = deployment_history.read_active(engine, ENTITY)
    assert row.source == "control"


def test_a_canary_that_stays_undecided_is_reported_since_it_keeps_others_from_being_tried(live):
    found = watch(live("beside", canary=True, monitor_min_days="30"), now=MORNING + timedelta(days=10))
    assert any("is not decided after 14 days" in alert for alert in found["alerts"])


def test_a_canary_whose_files_are_gone_gets_no_more_traffic(live, first_run: FinishedRun):
    pipeline = live("beside", canary=True)
    lose_files(pipeline, SECOND)
    found = watch(pipeline)
    assert active(pipeline) == {first_run.handle.run_id: 80, SECOND: 20} and found["actions"] == []
    assert any(f"the forecast of run {SECOND} cannot be read" in alert for alert in found["alerts"])


def test_a_split_that_a_user_changed_while_it_was_measured_stays(live, first_run: FinishedRun):
    pipeline = live("beside", canary=True)
    engine, connect = pipeline.systems.engine, pipeline.systems.connect_warehouse

    def meanwhile() -> Any:
        by = {"entity_code": ENTITY, "author": Author("ben"), "now": MORNING}
        deployments.deploy(engine, split={first_run.handle.run_id: 50, SECOND: 50}, **by)
        return connect()

    found = watch(Pipeline(replace(pipeline.systems, connect_warehouse=meanwhile)))
    assert active(pipeline) == {first_run.handle.run_id: 50, SECOND: 50}
    (action,) = found["actions"]
    assert action == f"nothing was done: entity drugs_hcp: the canary of run {SECOND} was ended meanwhile"
