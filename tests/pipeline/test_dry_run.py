"""A dry run ends with everything a run has but a chance to be deployed."""

import pytest
from pipeline.driver import ENTITY, NOW
from pipeline.first_run import FinishedRun

from optimizer.artifacts.manifest import read_manifest
from optimizer.control_plane import registry
from optimizer.control_plane.audit import Author
from optimizer.control_plane.deployments import deploy
from optimizer.core.pricing.run_comparison import compare_runs
from optimizer.errors import DeploymentError, RunCancelled
from optimizer.runs.published_run import read_published


def test_it_is_cancelled_and_called_a_dry_run_with_its_files_in_a_folder_of_their_own(dry_run):
    pipeline, run = dry_run
    row, store = pipeline.row(run), pipeline.systems.store
    assert (row.status, row.status_text, row.is_dry_run, row.validation_status) == (
        "cancelled",
        "dry run",
        True,
        "passed",
    )
    assert row.error_message.startswith("dry run: validation passed")
    assert row.s3_output_path == run.output_uri and f"/dry_runs/{run.run_code}/" in run.output_uri
    names = {item.name for item in read_manifest(store, run.output_uri).objects}
    assert {"suggested_bids.csv", "memcache.csv", "metrics.json", "report.html"} <= names
    keys = {output.s3_key for output in registry.read_outputs(pipeline.systems.engine, run.run_id)}
    assert keys == set(store.list_keys(run.output_uri))


def test_it_is_explained_and_compared_as_a_completed_run(dry_run, first_run: FinishedRun):
    pipeline, run = dry_run
    engine, store = pipeline.systems.engine, pipeline.systems.store
    before, after = (read_published(row, engine=engine, store=store) for row in (first_run.handle.run_id, run.run_id))
    assert len(after.bids) == pipeline.row(run).segments_count
    assert compare_runs(before.for_comparison(), after.for_comparison(), top=3)


def test_it_can_never_be_deployed_or_registered(dry_run):
    pipeline, run = dry_run
    with pytest.raises(DeploymentError, match=f"run {run.run_id} is cancelled and a dry run, which can never"):
        deploy(pipeline.systems.engine, entity_code=ENTITY, split={run.run_id: 100}, author=Author("anna"), now=NOW)
    with pytest.raises(RunCancelled):
        pipeline.step(run, "register")


def test_its_dag_run_is_a_success(dry_run):
    pipeline, run = dry_run
    assert pipeline.close("dry")["run_id"] == run.run_id
