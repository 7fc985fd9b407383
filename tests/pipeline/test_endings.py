"""However a run ends, its row says so: completed, failed or cancelled, with what happened and what to do next."""

from collections.abc import Callable
from typing import Any

import pytest
from control_plane.catalog import sample_results
from pipeline.driver import LATER, NOW, STEPS, Pipeline
from pipeline.first_run import FinishedRun
from servers.embedded import closed_port
from sqlalchemy import insert

from lab.stack import LocalStack
from lab.stack.clients import connect_objects
from optimizer.artifacts.store import ObjectStore
from optimizer.control_plane import alerts, deployment_history, tables, transitions
from optimizer.control_plane.audit import Author
from optimizer.control_plane.engine import transaction
from optimizer.control_plane.registry import RunFigures, register_dry_run, register_results
from optimizer.errors import (
    ArtifactError,
    ConfigError,
    EmptyWindowError,
    RunCancelled,
    RunStateError,
    UnavailableError,
)
from optimizer.runs.systems import Systems


@pytest.fixture(scope="module")
def unvalidated(new_pipeline: Callable[..., Pipeline], first_run: FinishedRun) -> tuple[Pipeline, Any]:
    """Return a run whose validation fails, beside the active first run."""
    pipeline = new_pipeline(copy_of=first_run.pipeline)
    return pipeline, pipeline.complete("strict", now=LATER, max_calibration_error=0.0001, promotion="auto")


def test_a_run_whose_validation_fails_is_completed_and_keeps_its_outputs(unvalidated: tuple[Pipeline, Any]):
    pipeline, run = unvalidated
    row = pipeline.row(run)
    assert (row.status, row.validation_status) == ("completed", "failed")
    assert row.error_message.startswith("calibration_error is 0.")
    assert "must be at most 0.0001: predicted and observed win rates differ on the latest days" in row.error_message
    assert "look for a market change or an incomplete load of VIEWS" in row.error_message
    assert run.output_uri.removeprefix("s3://pipeline/") + "manifest.json" in pipeline.checksums(run.output_uri)


def test_a_run_whose_validation_failed_is_not_promoted_and_the_earlier_run_stays_active(
    unvalidated: tuple[Pipeline, Any],
):
    pipeline, run = unvalidated
    result = pipeline.promote(run)
    assert not result["is_promoted"]
    assert "calibration_error" in result["reason"]
    active = deployment_history.read_active(pipeline.systems.engine, "drugs_hcp")
    assert [item.run_id for item in active] == [pipeline.row_of("first").run_id] != [run.run_id]
    with pytest.raises(RunStateError, match=r"is completed but its validation failed, it was not promoted: calibr"):
        pipeline.close("strict")


def test_a_failed_run_is_an_incident_until_the_next_completed_run(unvalidated: tuple[Pipeline, Any]):
    pipeline, run = unvalidated
    for _ in range(2):
        with pytest.raises(RunStateError):
            pipeline.close("strict")
        (incident,) = alerts.read_open(pipeline.systems.engine, "drugs_hcp")
        assert incident.kind == "run_failed"
        assert incident.message.startswith(f"entity drugs_hcp: run {run.run_id} is completed but its validation failed")
    pipeline.close("first")
    assert alerts.read_open(pipeline.systems.engine, "drugs_hcp") == []


@pytest.mark.parametrize("promotion", ["none", "approval"])
def test_without_automatic_promotion_a_user_deploys(
    new_pipeline: Callable[..., Pipeline], promotion: str, first_run: FinishedRun
):
    pipeline = new_pipeline(copy_of=first_run.pipeline)
    run = pipeline.open("manual", now=LATER, promotion=promotion)
    register_sample(pipeline, run.run_id)
    assert pipeline.promote(run) == {
        "is_promoted": False,
        "reason": f"promotion={promotion}: `optimizer deploy drugs_hcp {run.run_id}=100` gives it the traffic by hand",
    }
    active = deployment_history.read_active(pipeline.systems.engine, "drugs_hcp")
    assert [item.run_id for item in active] == [first_run.handle.run_id]
    assert pipeline.close("manual")["validation_status"] == "passed"


def register_sample(pipeline: Pipeline, run_id: str, **fields: Any) -> None:
    """Complete the run with the results of the documents' example, which passed, and with `fields` in their place."""
    features = ({"feature_name": "os_code", "feature_order": 1},)
    register_results(pipeline.systems.engine, run_id, results=sample_results(features=features, **fields), now=LATER)


def test_wrong_run_values_fail_the_row_with_every_key_value_and_bound(pipeline: Pipeline):
    with pytest.raises(ConfigError) as raised:
        pipeline.open(target_win_rate=1.4, max_features="many", no_such_key=1)
    row = pipeline.row_of("first")
    assert (row.status, row.error_message) == ("failed", str(raised.value))
    for part in ("target_win_rate=1.4", "0.99", "max_features='many'", "no_such_key=1", "drugs_hcp"):
        assert part in row.error_message
    with pytest.raises(RunStateError, match=rf"run {row.run_id} failed: entity drugs_hcp: .*target_win_rate=1\.4"):
        pipeline.close()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"data_start_dt": "2026-02-01", "data_end_dt": "2026-02-01"}, "is not before data_end_dt=2026-02-01"),
        ({"data_start_dt": "yesterday"}, "data_start_dt='yesterday' is not a date; write it as 2026-01-31"),
    ],
)
def test_a_wrong_window_fails_the_row_with_the_date(pipeline: Pipeline, values: dict[str, str], message: str):
    with pytest.raises(ConfigError, match=message):
        pipeline.open(**values)
    assert pipeline.row_of("first").status == "failed"
    assert message in pipeline.row_of("first").error_message


def test_a_window_without_bids_fails_the_run_with_client_window_and_next_step(pipeline: Pipeline):
    run = pipeline.open(data_start_dt="2020-01-01", data_end_dt="2020-02-01")
    with pytest.raises(EmptyWindowError):
        pipeline.step(run, "extract")
    with pytest.raises(RunStateError):
        pipeline.close(failed_tasks=("extract",))
    row = pipeline.row(run)
    assert row.status == "failed"
    assert row.error_message.startswith("extract: BIDS has no bid above zero of object_id 1334 in [2020-01-01")
    assert "check the entity's object_id" in row.error_message


def test_a_cancelled_run_stops_at_its_next_step_and_is_not_revived(pipeline: Pipeline):
    run = pipeline.open()
    pipeline.step(run, "extract")
    transitions.cancel_run(pipeline.systems.engine, run.run_id, author=Author("anna"), now=NOW)
    objects = pipeline.checksums(run.staging_uri)
    for name in STEPS:
        with pytest.raises((RunStateError, ArtifactError)):
            pipeline.step(run, name)
    assert pipeline.checksums(run.staging_uri) == objects
    with pytest.raises(RunStateError, match=f"run {run.run_id} cancelled: cancelled by anna"):
        pipeline.close(failed_tasks=("select_features",))
    row = pipeline.row(run)
    assert (row.status, row.error_message) == ("cancelled", "cancelled by anna")


def test_a_step_before_its_predecessor_names_the_object_that_is_missing(pipeline: Pipeline):
    run = pipeline.open()
    with pytest.raises(ArtifactError):
        pipeline.step(run, "compute_bids")
    assert pipeline.row(run).error_message.startswith(f"compute_bids: reading {run.staging_uri}")


def test_a_run_that_ends_without_an_answer_is_failed_with_the_task_to_look_at(pipeline: Pipeline):
    run = pipeline.open()
    with pytest.raises(RunStateError, match="extract ended without an answer; see its log in Airflow"):
        pipeline.close(failed_tasks=("extract",))
    assert pipeline.row(run).status == "failed"


def test_a_dag_run_without_a_row_points_to_the_task_that_makes_it(pipeline: Pipeline):
    with pytest.raises(RunStateError, match="has no row in opt_runs; see the log of snapshot_config"):
        pipeline.close("never opened")


def test_a_promotion_that_failed_shows_though_the_run_is_completed(after_first_run: Pipeline):
    with pytest.raises(RunStateError, match="is completed but promote failed; see the task's log"):
        after_first_run.close(failed_tasks=("promote",))
    assert after_first_run.row_of("first").status == "completed"


def test_a_silent_object_store_leaves_the_run_running_for_the_retry(pipeline: Pipeline, systems: LocalStack):
    run = pipeline.open()
    settings = systems.settings.model_copy(update={"objects_port": closed_port()})
    client = connect_objects(settings, timeout_s=2, attempts=1)
    silent = Pipeline(Systems(pipeline.systems.engine, ObjectStore(client), pipeline.systems.connect_warehouse))
    with pytest.raises(UnavailableError):
        silent.step(run, "select_features")
    client.close()
    row = pipeline.row(run)
    assert (row.status, row.error_message.split(":")[0]) == ("running", "select_features")


@pytest.mark.parametrize("validation_status", ["passed", "failed"])
def test_a_dry_run_is_a_success_where_its_validation_passed(pipeline: Pipeline, validation_status: str):
    run = pipeline.open(dry_run=True)
    features = ({"feature_name": "os_code", "feature_order": 1},)
    message = f"dry run: validation {validation_status}; it cannot be deployed"
    results = sample_results(features=features, validation_status=validation_status, error_message=message)
    figures = RunFigures.model_validate(results.model_dump(include=set(RunFigures.model_fields)))
    register_dry_run(pipeline.systems.engine, run.run_id, figures=figures, now=NOW)
    with pytest.raises(RunCancelled, match="it cannot be deployed"):
        pipeline.step(run, "register")
    if validation_status == "passed":
        assert pipeline.close() == {
            "run_id": run.run_id,
            "status": "cancelled",
            "validation_status": "passed",
            "validation": "passed",
        }
    else:
        with pytest.raises(RunStateError, match=f"run {run.run_id}: dry run: validation failed"):
            pipeline.close()
    assert pipeline.row(run).error_message == message


def test_a_pending_row_of_the_ui_is_run_with_its_own_values(pipeline: Pipeline):
    with transaction(pipeline.systems.engine) as connection:
        row = {"run_id": "ui-1", "run_code": "ui-1", "entity_id": 1, "version_id": 1, "status": "pending"}
        connection.execute(insert(tables.runs).values(**row, triggered_by="anna", trigger_type="manual"))
        value = {"run_id": "ui-1", "config_key": "target_win_rate", "config_value": "0.4"}
        connection.execute(insert(tables.run_configs).values(**value, config_section="business"))
    run = pipeline.open("from the ui", run_id="ui-1")
    assert (run.run_id, pipeline.row(run).status) == ("ui-1", "running")
    assert pipeline.row(run).config_snapshot["business"]["target_win_rate"] == 0.4
    assert pipeline.row(run).config_snapshot["sources"]["target_win_rate"] == "run"
