"""The control: what was usual before the optimizer, on a share of the traffic; and a first run that asks a person."""

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pipeline.driver import ENTITY, LATER, NEXT_DAY, NOW, Pipeline
from pipeline.first_run import FinishedRun
from pipeline.test_endings import register_sample
from sqlalchemy import update

from optimizer.artifacts.serving_snapshot import read_snapshot, snapshot_uri
from optimizer.bidder.loading import read_files, read_run_manifest
from optimizer.control_plane import deployment_history, deployments, live_records, registry, runs, tables
from optimizer.control_plane.audit import Author, read_audit
from optimizer.control_plane.engine import transaction
from optimizer.control_plane.entities import read_definition
from optimizer.control_plane.live_rows import LiveSavings, LiveVerdict
from optimizer.control_plane.serving import read_served
from optimizer.control_plane.splits import percents_of
from optimizer.core.records import run_files
from optimizer.core.records.estimate import Estimate
from optimizer.deployment.control_notice import read_control_notice
from optimizer.deployment.live_comparison import read_live_comparison
from optimizer.deployment.monitor import monitor_entity
from optimizer.deployment.readiness import read_statuses
from optimizer.reporting.forecast import forecast_of
from optimizer.reporting.report_data import LiveComparison
from optimizer.runs.handle import RunHandle
from optimizer.runs.metrics import metrics_document
from optimizer.runs.published_run import read_published
from optimizer.runs.staged_run import StagedRun
from optimizer.steps.approve import ApprovalRequest, request_of


@pytest.fixture(scope="module")
def with_control(new_pipeline: Any, first_run: FinishedRun) -> tuple[Pipeline, Any]:
    """Return a pipeline whose first run is completed, and not yet live, and the run."""
    pipeline = new_pipeline(has_control=True)
    return pipeline, pipeline.complete()


@pytest.fixture
def fresh(new_pipeline: Any, with_control: tuple[Pipeline, Any]) -> tuple[Pipeline, Any]:
    """Return a copy of it, to change."""
    pipeline, run = with_control
    return new_pipeline(copy_of=pipeline), run


def active(pipeline: Pipeline) -> dict[str, int]:
    return percents_of(deployment_history.read_active(pipeline.systems.engine, ENTITY))


def test_a_first_run_does_not_go_live_by_itself_and_asks_a_person(fresh: tuple[Pipeline, Any]):
    pipeline, run = fresh
    assert isinstance(request_of(run, systems=pipeline.systems), ApprovalRequest)
    result = pipeline.promote(run)
    assert not result["is_promoted"] and active(pipeline) == {}
    assert f"`optimizer deploy {ENTITY} {run.run_id}=100`" in result["reason"]


def test_a_first_run_that_a_person_approved_leaves_the_control_its_share(fresh: tuple[Pipeline, Any]):
    pipeline, run = fresh
    result = pipeline.promote(run, approved_by="anna")
    control = f"control_{run.run_id}"
    assert result["is_promoted"] and active(pipeline) == {run.run_id: 95, control: 5}
    prefix = read_definition(pipeline.systems.engine, ENTITY).entity.s3_base_path
    snapshot = read_snapshot(pipeline.systems.store, snapshot_uri(prefix))
    assert {one.run_id: one.traffic_pct for one in snapshot.runs} == {run.run_id: 95, control: 5}
    rows = {row.run_id: row for row in deployment_history.read_active(pipeline.systems.engine, ENTITY)}
    assert (rows[control].source, rows[control].is_pinned, rows[run.run_id].source) == ("control", True, "scheduled")
    assert read_definition(pipeline.systems.engine, ENTITY).entity.control_run_id == control
    assert read_definition(pipeline.systems.engine, ENTITY).entity.active_run_id == run.run_id
    assert pipeline.promote(run, approved_by="anna") == result, "a retried task changes nothing"


def test_a_first_run_may_be_tried_beside_the_control_without_a_person(fresh: tuple[Pipeline, Any]):
    pipeline, run = fresh
    pipeline.set_promotion(run, "canary")
    assert isinstance(request_of(run, systems=pipeline.systems), str)
    assert pipeline.promote(run)["split"] == {f"control_{run.run_id}": 90, run.run_id: 10}


def test_the_control_bids_what_was_usual_and_the_bidder_loads_it(fresh: tuple[Pipeline, Any]):
    pipeline, run = fresh
    pipeline.promote(run, approved_by="anna")
    control = read_published(f"control_{run.run_id}", engine=pipeline.systems.engine, store=pipeline.systems.store)
    own = run.staging(pipeline.systems).get_frame(run_files.BIDS).set_index("segment_key")
    bids = control.bids.set_index("segment_key")
    assert set(bids.index) == set(own.index) and control.blocked == frozenset()
    usual = own.loc[bids.index, "usual_bid_cpm"]
    assert (bids["suggested_bid_cpm"] - usual).abs().max() <= 0.0051
    assert np.allclose(bids["expected_win_rate"], own.loc[bids.index, "modelled_win_rate"], atol=0.005)
    (served,) = [found for found in read_served(pipeline.systems.engine, [ENTITY]) if found.entity_code == ENTITY]
    deployed = next(found for found in served.runs if found.run_id == control.run_id)
    manifest = read_run_manifest(deployed, entity_code=ENTITY, store=pipeline.systems.store)
    files = read_files(deployed, manifest, store=pipeline.systems.store)
    assert len(files.bids) == len(bids) and files.domain_multipliers == {} and files.npi_multipliers == {}
    assert files.manifest.bidding.fallback_bid_cpm == pytest.approx(
        np.average(usual, weights=own.loc[bids.index, "requests"]), abs=0.01
    )


def test_the_control_is_a_run_of_its_own_in_the_control_plane(fresh: tuple[Pipeline, Any]):
    pipeline, run = fresh
    pipeline.promote(run, approved_by="anna")
    engine, control_id = pipeline.systems.engine, f"control_{run.run_id}"
    row = runs.read_run(engine, control_id)
    assert (row.status, row.validation_status, row.trigger_type, row.dag_run_id) == (
        "completed",
        "passed",
        "control",
        None,
    )
    assert [found.feature_name for found in registry.read_features(engine, control_id)] == [
        found.feature_name for found in registry.read_features(engine, run.run_id)
    ]
    names = {found.s3_key.rsplit("/", 1)[-1] for found in registry.read_outputs(engine, control_id)}
    assert names == {"suggested_bids.csv", "memcache.csv", "metrics.json", "config.json", "manifest.json"}


def test_the_next_run_keeps_the_control_and_does_not_count_it_as_a_run(fresh: tuple[Pipeline, Any]):
    pipeline, run = fresh
    pipeline.promote(run, approved_by="anna")
    second = pipeline.open("second", now=NEXT_DAY)
    snapshot = pipeline.row(second).config_snapshot
    assert len(snapshot["inputs"]["recent_bids_per_day"]) == 1
    assert snapshot["inputs"]["active_run_id"] == run.run_id


def test_without_a_control_share_there_is_none(first_run: FinishedRun):
    assert first_run.pipeline.row(first_run.handle).config_snapshot["business"]["control_pct"] == 0
    assert first_run.promotion["split"] == {first_run.handle.run_id: 100}
    assert read_definition(first_run.pipeline.systems.engine, ENTITY).entity.control_run_id is None


def test_an_entity_that_was_live_before_gets_no_control_by_itself_and_says_so_everywhere(
    new_pipeline: Any, first_run: FinishedRun, caplog: pytest.LogCaptureFixture
):
    pipeline = new_pipeline(copy_of=first_run.pipeline)
    second = pipeline.open("second", now=LATER, control_pct=5)
    register_sample(pipeline, second.run_id, s3_output_path=first_run.handle.output_uri)
    with transaction(pipeline.systems.engine) as connection:
        own = tables.entity_configs.c.config_key == "control_pct"
        connection.execute(update(tables.entity_configs).where(own).values(config_value="5"))
    with caplog.at_level(logging.WARNING):
        pipeline.promote(second, now=LATER)
    assert read_definition(pipeline.systems.engine, ENTITY).entity.control_run_id is None
    assert f"`optimizer control {ENTITY} RUN` makes a run the control" in caplog.text
    (status,) = read_statuses(pipeline.systems.engine, now=LATER, entity_code=ENTITY)
    assert status.control_notice is not None and status.control_notice in caplog.text
    found = monitor_entity(ENTITY, systems=pipeline.systems, now=LATER)
    assert found["opened"] == [status.control_notice] and status.control_notice in found["runs"]
    assert found["alerts"] == [], "a missing control makes no task red"
    by = {"entity_code": ENTITY, "author": Author("anna"), "now": LATER}
    deployments.set_control(pipeline.systems.engine, run_id=first_run.handle.run_id, **by)
    assert monitor_entity(ENTITY, systems=pipeline.systems, now=LATER)["closed"] == [status.control_notice]
    (status,) = read_statuses(pipeline.systems.engine, now=LATER, entity_code=ENTITY)
    assert status.control_notice is None


def test_a_chosen_none_is_a_choice_and_ends_the_notice(new_pipeline: Any, first_run: FinishedRun):
    pipeline = new_pipeline(copy_of=first_run.pipeline)
    engine = pipeline.systems.engine
    with transaction(engine) as connection:
        own = tables.entity_configs.c.config_key == "control_pct"
        connection.execute(update(tables.entity_configs).where(own).values(config_value="5"))
    (notice,) = monitor_entity(ENTITY, systems=pipeline.systems, now=LATER)["opened"]
    assert f"`optimizer control {ENTITY} --none` says that none is wanted" in notice
    by = {"entity_code": ENTITY, "author": Author("anna"), "now": LATER}
    for _ in range(2):
        deployments.set_control(engine, run_id=None, **by)
    assert [row.action for row in read_audit(engine, ENTITY)].count("set_control") == 1
    found = monitor_entity(ENTITY, systems=pipeline.systems, now=LATER)
    assert (found["closed"], found["opened"]) == ([notice], [])
    assert read_control_notice(engine, ENTITY) is None
    (status,) = read_statuses(engine, now=LATER, entity_code=ENTITY)
    assert status.control_notice is None
    deployments.set_control(engine, run_id=first_run.handle.run_id, **by)
    deployments.set_control(engine, run_id=None, **by)
    assert read_control_notice(engine, ENTITY) is None


def test_no_control_is_made_where_a_user_chose_none_before_the_first_run(fresh: tuple[Pipeline, Any]):
    pipeline, run = fresh
    by = {"entity_code": ENTITY, "author": Author("anna"), "now": NOW}
    deployments.set_control(pipeline.systems.engine, run_id=None, **by)
    assert pipeline.promote(run, approved_by="anna")["split"] == {run.run_id: 100}
    assert read_definition(pipeline.systems.engine, ENTITY).entity.control_run_id is None


def priced_beside(run: RunHandle, pipeline: Pipeline, *, live_run_id: str | None) -> StagedRun:
    """Return the staged run as if another one had been live when it was priced."""
    staged = StagedRun.read(run, pipeline.systems)
    inputs = staged.snapshot.inputs.model_copy(update={"active_run_id": live_run_id})
    return replace(staged, snapshot=staged.snapshot.model_copy(update={"inputs": inputs}))


def compare(run: RunHandle, pipeline: Pipeline, *, live_run_id: str | None) -> LiveComparison | None:
    return read_live_comparison(priced_beside(run, pipeline, live_run_id=live_run_id), systems=pipeline.systems)


def test_a_report_compares_served_bids_with_those_of_the_run_that_was_live(fresh: tuple[Pipeline, Any]):
    pipeline, run = fresh
    pipeline.promote(run, approved_by="anna")
    control_id = f"control_{run.run_id}"
    with_itself = compare(run, pipeline, live_run_id=run.run_id)
    assert with_itself.changes.empty and with_itself.problem is None
    assert with_itself.live.forecast == forecast_of(metrics_document(StagedRun.read(run, pipeline.systems)))
    assert with_itself.control.run_id == control_id and with_itself.control.forecast["expected_win_rate"] > 0
    with_control = compare(run, pipeline, live_run_id=control_id)
    assert with_control.control is None, "the control is not compared with itself"
    bids = run.staging(pipeline.systems).get_frame(run_files.BIDS).set_index("segment_key")
    found = with_control.changes.set_index("segment_key")
    assert len(found) > 100
    assert (found["before_cpm"] - bids.loc[found.index, "usual_bid_cpm"]).abs().max() <= 0.0051
    assert np.array_equal(found["after_cpm"], bids.loc[found.index, "suggested_bid_cpm"])


def test_a_report_shows_what_was_measured_of_the_live_run_and_of_the_control(fresh: tuple[Pipeline, Any]):
    pipeline, run = fresh
    pipeline.promote(run, approved_by="anna")
    control_id, engine, day = f"control_{run.run_id}", pipeline.systems.engine, NOW.date()
    known = {"figure": "win_rate", "verdict": "inconclusive", "days": 4, "first_day": day, "last_day": day}
    own = LiveVerdict(run_id=run.run_id, compared_with="forecast", live=0.3, live_low=0.2, live_high=0.4, **known)
    beside = {"control_run_id": control_id, "control": 0.25, "difference": 0.05, "difference_low": 0.01}
    policy = LiveVerdict(run_id=None, compared_with="control", live=0.3, difference_high=0.09, **beside, **known)
    earlier_control = policy.model_copy(update={"control_run_id": run.run_id, "control": 0.9})
    entity_id = read_definition(engine, ENTITY).entity.entity_id
    live_records.replace_verdicts(engine, entity_id, [own, policy, earlier_control], measured_on=day, now=NOW)
    period = {"run_id": control_id, "period": "month", "first_day": day, "last_day": day, "days": 1}
    live_records.replace_savings(engine, entity_id, [LiveSavings(**period, saved=12.5, policy_spend=99.0)], now=NOW)
    found = compare(run, pipeline, live_run_id=run.run_id)
    assert found.live.measured == {"win_rate": Estimate(0.3, 0.2, 0.4)}
    assert (found.live.days, found.live.last_day) == (4, day)
    assert found.control.measured == {"win_rate": Estimate(0.25)}
    assert found.against_control == {"win_rate": Estimate(0.05, 0.01, 0.09)}
    assert len(found.savings) == 1 and "+12.50 saved on 99.00 spent" in found.savings[0]


def test_without_the_files_of_the_live_run_a_report_says_why_it_has_no_changes(fresh: tuple[Pipeline, Any]):
    pipeline, run = fresh
    found = compare(run, pipeline, live_run_id="20200101_000000")
    assert found.changes is None and "20200101_000000" in found.problem
    assert compare(run, pipeline, live_run_id=None) is None
