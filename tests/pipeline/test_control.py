"""The control: what was usual before the optimizer, on a share of the traffic; and a first run that asks a person."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from pipeline.conftest import FinishedRun
from pipeline.driver import ENTITY, NOW, Pipeline

from optimizer.bidder.loading import read_files, read_run_manifest
from optimizer.control_plane import deployments, registry, runs
from optimizer.control_plane.entities import read_definition
from optimizer.control_plane.serving import read_served
from optimizer.control_plane.splits import percents_of
from optimizer.core.records import run_files
from optimizer.runs.published_run import read_published
from optimizer.steps.approve import ApprovalRequest, request_of

LATER = NOW + timedelta(hours=1)


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
    return percents_of(deployments.read_active(pipeline.systems.engine, ENTITY))


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
    rows = {row.run_id: row for row in deployments.read_active(pipeline.systems.engine, ENTITY)}
    assert (rows[control].source, rows[control].is_pinned, rows[run.run_id].source) == ("control", True, "scheduled")
    assert read_definition(pipeline.systems.engine, ENTITY).entity.control_run_id == control
    assert read_definition(pipeline.systems.engine, ENTITY).entity.active_run_id == run.run_id
    assert pipeline.promote(run, approved_by="anna") == result, "a retried task changes nothing"


def test_a_first_run_may_be_tried_beside_the_control_without_a_person(new_pipeline: Any):
    pipeline = new_pipeline(has_control=True)
    pipeline.set_value("promotion", "canary")
    run = pipeline.complete()
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
    second = pipeline.open("second", now=NOW + timedelta(days=1))
    snapshot = pipeline.row(second).config_snapshot
    assert len(snapshot["inputs"]["recent_bids_per_day"]) == 1
    assert snapshot["inputs"]["active_run_id"] == run.run_id


def test_without_a_control_share_there_is_none(new_pipeline: Any):
    pipeline = new_pipeline()
    run = pipeline.complete()
    assert pipeline.promote(run, approved_by="anna")["split"] == {run.run_id: 100}
    assert read_definition(pipeline.systems.engine, ENTITY).entity.control_run_id is None


def test_an_entity_that_was_live_before_gets_no_control_by_itself(new_pipeline: Any, first_run: FinishedRun):
    pipeline = new_pipeline(copy_of=first_run.pipeline)
    second = pipeline.complete("second", now=NOW + timedelta(minutes=5), control_pct=5)
    pipeline.promote(second, now=LATER)
    assert read_definition(pipeline.systems.engine, ENTITY).entity.control_run_id is None
