from datetime import timedelta

import pytest
from control_plane.catalog import NOW, SNAPSHOT, complete_sample, open_sample, sample_results, start_sample
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from optimizer.control_plane.audit import Author
from optimizer.control_plane.deployments import deploy
from optimizer.control_plane.registry import (
    RunFigures,
    read_features,
    read_macro,
    read_metrics,
    read_outputs,
    register_dry_run,
    register_results,
)
from optimizer.control_plane.runs import cancel_run, note_error, read_run
from optimizer.errors import DeploymentError, RunCancelled, RunStateError

LATER = NOW + timedelta(minutes=5)


@pytest.fixture
def running_id(engine) -> str:
    run_id = open_sample(engine).run_id
    start_sample(engine, run_id)
    return run_id


def test_a_registered_run_is_completed_with_its_totals_and_without_its_errors(engine, running_id):
    note_error(engine, running_id, "the warehouse was silent once")
    run = register_results(engine, running_id, results=sample_results(), now=LATER)
    assert (run.status, run.validation_status, run.completed_at) == ("completed", "passed", LATER)
    assert (run.error_message, run.config_snapshot) == (None, SNAPSHOT)
    assert (run.total_segments, run.segments_count, run.segments_in_memcache) == (1454, 541, 93)
    assert (run.bid_min, run.bid_median, run.features_used) == (19.63, 30.0, "geo_region_name,os_code")


def test_a_run_whose_validation_failed_is_completed_and_says_why(engine, running_id):
    failed = sample_results(validation_status="failed", error_message="win rate 0.2 is below 0.3")
    run = register_results(engine, running_id, results=failed, now=LATER)
    assert (run.status, run.validation_status, run.error_message) == (
        "completed",
        "failed",
        "win rate 0.2 is below 0.3",
    )


def test_the_number_of_warnings_is_written_with_the_results(engine):
    run = open_sample(engine)
    start_sample(engine, run.run_id)
    registered = register_results(engine, run.run_id, results=sample_results(validation_warnings=2), now=LATER)
    assert (registered.validation_status, registered.validation_warnings) == ("passed", 2)
    assert registered.outcome == "passed with 2 warnings"


def test_the_checksum_of_the_manifest_is_in_the_row_of_the_run(engine, running_id):
    manifest = {"output_type": "manifest", "s3_bucket": "b", "s3_key": "manifest.json", "sha256": "a" * 64}
    results = sample_results(outputs=(*sample_results().outputs, manifest))
    assert register_results(engine, running_id, results=results, now=LATER).manifest_sha256 == "a" * 64


def test_results_with_an_unknown_field_are_refused():
    with pytest.raises(ValidationError, match="total_bid"):
        sample_results(total_bid=1)


def test_what_the_run_leaves_is_read_back(engine, running_id):
    register_results(engine, running_id, results=sample_results(), now=LATER)
    features = read_features(engine, running_id)
    assert [(row.feature_name, row.is_anchor, row.signal_score, row.macro_id) for row in features] == [
        ("geo_region_name", True, None, 2),
        ("os_code", False, 95.72, 3),
    ]
    assert read_macro(engine, running_id).macro_combination == "[ADX_GEO_STATE]|[ADX_USER_OS]"
    metrics = {row.metric_key: row.metric_value for row in read_metrics(engine, running_id)}
    assert metrics == {"ctr_model_auc": None, "wr_model_auc": 0.6174}
    (output,) = read_outputs(engine, running_id)
    assert (output.output_type, output.row_count, output.byte_count, output.sha256) == ("memcache", 93, 2048, "0" * 64)


def test_registering_again_changes_nothing(engine, running_id):
    first = register_results(engine, running_id, results=sample_results(), now=LATER)
    again = register_results(engine, running_id, results=sample_results(total_bids=1), now=LATER + timedelta(hours=1))
    assert again == first
    assert len(read_features(engine, running_id)) == 2


def test_a_registration_that_breaks_leaves_the_run_running_and_no_rows(engine, running_id):
    twice = sample_results().outputs * 2
    with pytest.raises(DBAPIError):
        register_results(engine, running_id, results=sample_results(outputs=twice), now=LATER)
    assert read_run(engine, running_id).status == "running"
    assert read_features(engine, running_id) == [] and read_macro(engine, running_id) is None


def test_a_registration_touches_no_other_run(engine, running_id):
    other_id = complete_sample(engine, "second")
    register_results(engine, running_id, results=sample_results(features=()), now=LATER)
    assert len(read_features(engine, other_id)) == 2 and read_features(engine, running_id) == []


def test_a_metric_that_is_not_finite_is_stored_as_missing(engine, running_id):
    broken = (("a", "nan", float("nan")), ("a", "inf", float("inf")))
    register_results(engine, running_id, results=sample_results(metrics=broken), now=LATER)
    assert [row.metric_value for row in read_metrics(engine, running_id)] == [None, None]


def test_a_pending_run_cannot_be_registered(engine):
    with pytest.raises(RunStateError, match="is pending, not running; start it first"):
        register_results(engine, open_sample(engine).run_id, results=sample_results(), now=LATER)


def test_a_cancelled_run_cannot_be_registered(engine, running_id):
    cancel_run(engine, running_id, author=Author("anna"), now=NOW)
    with pytest.raises(RunStateError, match="is cancelled"):
        register_results(engine, running_id, results=sample_results(), now=LATER)
    assert read_features(engine, running_id) == []


def test_a_dry_run_ends_cancelled_with_its_numbers_and_no_outputs_and_can_never_be_deployed(engine, running_id):
    figures = RunFigures.model_validate(sample_results().model_dump(include=set(RunFigures.model_fields)))
    run = register_dry_run(engine, running_id, figures=figures, now=LATER)
    assert (run.status, run.validation_status, run.completed_at) == ("cancelled", "passed", LATER)
    assert (run.segments_count, run.bid_median, run.s3_output_path) == (541, 30.0, None)
    assert len(read_features(engine, running_id)) == len(read_metrics(engine, running_id)) == 2
    assert read_outputs(engine, running_id) == []
    with pytest.raises(DeploymentError, match=f"run {running_id} is cancelled"):
        deploy(engine, entity_code="drugs_hcp", split={running_id: 100}, author=Author("test"), now=LATER)
    with pytest.raises(RunCancelled):  # a second copy of the task
        register_dry_run(engine, running_id, figures=figures, now=LATER)
