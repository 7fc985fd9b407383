"""The spend guard: a run that costs far more than forecast is taken off on the first morning."""

from datetime import UTC, datetime, timedelta

import pytest
from control_plane.catalog import sample_results
from pipeline.driver import ENTITY
from pipeline.first_run import FinishedRun
from pipeline.monitor.watching import DEPLOYED, FIRST_MORNING, active, lose_files, open_second, watch
from pipeline.monitor.worlds import SECOND
from sqlalchemy import update

from optimizer.control_plane import canaries, deployment_history, deployments, tables
from optimizer.control_plane.alerts import read_open
from optimizer.control_plane.audit import Author
from optimizer.control_plane.engine import transaction
from optimizer.control_plane.registry import register_results
from optimizer.errors import DeploymentError


def test_a_run_at_three_times_its_cpm_is_taken_off_on_the_first_morning(live, first_run: FinishedRun):
    run_id = first_run.handle.run_id
    pipeline = live("beside_tripled", split={run_id: 80, SECOND: 20})
    found = watch(pipeline, now=FIRST_MORNING)
    assert active(pipeline) == {run_id: 100}
    (row,) = deployment_history.read_active(pipeline.systems.engine, ENTITY)
    assert (row.deployed_by, row.source) == ("airflow:monitor", "rollback")
    assert row.comment.startswith(f"spend guard: run {SECOND} (20 % of the traffic) had a")
    (alert,) = found["alerts"]
    assert f"run {SECOND} (20 % of the traffic) had a" in alert and "The last good split is live again" in alert
    assert [row.kind for row in read_open(pipeline.systems.engine, ENTITY)] == ["spend_guard"]


def test_the_spend_guard_wins_over_a_canary(live, first_run: FinishedRun):
    pipeline = live("beside_tripled", canary=True, plan="20@1d, 50@1d, 100")
    watch(pipeline, now=datetime(2026, 2, 6, 2, 30, tzinfo=UTC))
    assert active(pipeline) == {first_run.handle.run_id: 100}
    assert canaries.read_open(pipeline.systems.engine, ENTITY) is None


def test_a_pinned_split_is_not_exempt_and_the_alert_says_so(live, first_run: FinishedRun):
    run_id = first_run.handle.run_id
    pipeline = live("beside_tripled", split={run_id: 80, SECOND: 20})
    deployments.set_pinned(
        pipeline.systems.engine, entity_code=ENTITY, is_pinned=True, author=Author("anna"), now=DEPLOYED
    )
    (alert,) = watch(pipeline, now=FIRST_MORNING)["alerts"]
    assert active(pipeline) == {run_id: 100} and "though the other one was pinned" in alert


def test_without_an_earlier_split_the_control_bids_for_all_traffic(live, first_run: FinishedRun):
    pipeline = live("tripled")
    open_second(pipeline, first_run)
    deployments.set_control(
        pipeline.systems.engine, entity_code=ENTITY, run_id=SECOND, author=Author("anna"), now=DEPLOYED
    )
    (alert,) = watch(pipeline, now=FIRST_MORNING)["alerts"]
    assert active(pipeline) == {SECOND: 100} and "The control has all the traffic now" in alert
    (row,) = deployment_history.read_active(pipeline.systems.engine, ENTITY)
    assert row.source == "control" and row.comment.startswith("spend guard: ")


def test_without_an_earlier_split_and_a_control_the_alert_says_what_to_do(live, first_run: FinishedRun):
    pipeline, run_id = live("tripled"), first_run.handle.run_id
    (alert,) = watch(pipeline, now=FIRST_MORNING)["alerts"]
    assert active(pipeline) == {run_id: 100}
    assert "there is no earlier split to go back to" in alert and "the entity has no control" in alert
    assert f"deploy one with `optimizer deploy {ENTITY} RUN=100`" in alert
    assert alert.endswith("Deploy a run that bids less, or stop the bidder for this client")


def test_a_control_that_cannot_be_served_is_not_deployed(live, first_run: FinishedRun):
    pipeline = live("tripled")
    open_second(pipeline, first_run)
    deployments.set_control(
        pipeline.systems.engine, entity_code=ENTITY, run_id=SECOND, author=Author("anna"), now=DEPLOYED
    )
    lose_files(pipeline, SECOND)
    (alert,) = watch(pipeline, now=FIRST_MORNING)["alerts"]
    assert active(pipeline) == {first_run.handle.run_id: 100}
    assert f"the files of run {SECOND} cannot be served" in alert


def test_max_overspend_is_the_bound_of_the_guard(live, first_run: FinishedRun):
    run_id = first_run.handle.run_id
    pipeline = live("beside_tripled", split={run_id: 80, SECOND: 20}, max_overspend="10")
    assert watch(pipeline, now=FIRST_MORNING)["alerts"] == []
    assert active(pipeline) == {run_id: 80, SECOND: 20}


def test_the_spend_guard_acts_on_a_known_forecast_where_the_files_are_gone(live, first_run: FinishedRun):
    run_id = first_run.handle.run_id
    pipeline = live("beside_tripled", split={run_id: 80, SECOND: 20}, max_overspend="10")
    watch(pipeline, now=FIRST_MORNING)
    with transaction(pipeline.systems.engine) as connection:
        bound = tables.entity_configs.c.config_key == "max_overspend"
        connection.execute(update(tables.entity_configs).where(bound).values(config_value="0.5"))
    lose_files(pipeline, SECOND)
    found = watch(pipeline, now=FIRST_MORNING)
    assert active(pipeline) == {run_id: 100}
    assert [row.kind for row in read_open(pipeline.systems.engine, ENTITY)] == ["forecast_unreadable", "spend_guard"]
    assert f"the forecast of run {SECOND} cannot be read" in found["alerts"][0]


def test_the_spend_guard_acts_while_new_runs_fail_their_validation(live, first_run: FinishedRun):
    run_id = first_run.handle.run_id
    pipeline = live("beside_tripled", split={run_id: 80, SECOND: 20})
    failed = pipeline.open("failed", now=datetime(2026, 2, 5, tzinfo=UTC))
    features = ({"feature_name": "os_code", "feature_order": 1},)
    results = sample_results(features=features, s3_output_path=first_run.handle.output_uri, validation_status="failed")
    register_results(pipeline.systems.engine, failed.run_id, results=results, now=FIRST_MORNING - timedelta(hours=1))
    with pytest.raises(DeploymentError, match="validation_status failed"):
        deployments.deploy(
            pipeline.systems.engine,
            entity_code=ENTITY,
            split={failed.run_id: 100},
            author=Author("anna"),
            now=FIRST_MORNING,
        )
    watch(pipeline, now=FIRST_MORNING)
    assert active(pipeline) == {run_id: 100}
    assert [row.kind for row in read_open(pipeline.systems.engine, ENTITY)] == ["spend_guard"]
