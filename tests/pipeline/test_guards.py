"""What keeps a run from doing harm: old windows, copies of tasks, stale messages, what does not fit together."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from pipeline.driver import DAG_ID, LATER, NOW, STEPS, Pipeline
from pipeline.first_run import FinishedRun
from pipeline.test_endings import register_sample
from sqlalchemy import delete, update

from optimizer.control_plane import deployment_history, tables, transitions
from optimizer.control_plane.engine import transaction
from optimizer.core.records import run_files
from optimizer.errors import ConfigError, RunStateError, UnavailableError
from optimizer.lifecycle.guard import guarded
from optimizer.runs.systems import Systems


def test_a_run_on_an_old_window_does_not_go_live_by_itself(after_first_run: Pipeline):
    run = after_first_run.open("old", now=LATER, data_end_dt="2026-01-20")
    register_sample(after_first_run, run.run_id)
    result = after_first_run.promote(run)
    assert not result["is_promoted"]
    assert "ended 2026-01-20, 15 days before it started, more than max_data_age_days=2" in result["reason"]
    active = deployment_history.read_active(after_first_run.systems.engine, "drugs_hcp")
    assert run.run_id not in [deployment.run_id for deployment in active]


def test_a_run_on_an_old_window_goes_live_where_it_was_asked_to(after_first_run: Pipeline):
    run = after_first_run.open("old", now=LATER, data_end_dt="2026-02-04", promote_old_window=True, max_data_age_days=1)
    register_sample(after_first_run, run.run_id)
    assert after_first_run.promote(run)["is_promoted"]


def test_promoting_an_earlier_run_again_does_not_bring_it_back(after_first_run: Pipeline):
    first, second = after_first_run.row_of("first"), after_first_run.open("second", now=LATER)
    register_sample(after_first_run, second.run_id)
    assert after_first_run.promote(second)["is_promoted"]
    again = after_first_run.promote(second.model_copy(update={"run_id": first.run_id, "run_code": first.run_code}))
    assert not again["is_promoted"] and first.run_id in again["reason"]
    active = deployment_history.read_active(after_first_run.systems.engine, "drugs_hcp")
    assert [deployment.run_id for deployment in active] == [second.run_id]


def test_a_run_that_is_not_completed_is_not_promoted(pipeline: Pipeline):
    run = pipeline.open()
    assert pipeline.promote(run) == {
        "is_promoted": False,
        "reason": f"run {run.run_id} is running; only a completed run can be promoted",
    }


def test_a_run_reads_the_log_once(pipeline: Pipeline):
    run = pipeline.open()
    first = pipeline.step(run, "extract")
    before = pipeline.checksums(run.staging_uri)

    def away() -> None:
        raise AssertionError("the log was read a second time")

    offline = Pipeline(type(pipeline.systems)(pipeline.systems.engine, pipeline.systems.store, away))
    assert offline.step(run, "extract") == first
    assert pipeline.checksums(run.staging_uri) == before


def test_an_error_leaves_the_row_when_a_later_try_succeeds(pipeline: Pipeline):
    run = pipeline.open()

    def silent(own: Systems) -> dict:
        raise UnavailableError("the warehouse did not answer")

    with pytest.raises(UnavailableError):
        guarded(run, silent, name="extract", systems=pipeline.systems, now=NOW)
    assert pipeline.row(run).error_message == "extract: the warehouse did not answer"
    guarded(run, lambda own: {}, name="extract", systems=pipeline.systems, now=NOW)
    assert pipeline.row(run).error_message is None
    with pytest.raises(RunStateError, match="train_models ended without an answer"):
        pipeline.close(failed_tasks=("train_models",))


def test_a_time_out_is_noted_though_it_is_not_an_exception(pipeline: Pipeline):
    class TaskTimeout(BaseException):
        pass

    def slow(own: Systems) -> dict:
        raise TaskTimeout("Timeout, 7200 s")

    run = pipeline.open()
    with pytest.raises(TaskTimeout):
        guarded(run, slow, name="extract", systems=pipeline.systems, now=NOW)
    assert pipeline.row(run).error_message == "extract: Timeout, 7200 s"


def test_a_run_that_outlived_its_dag_run_is_failed_by_the_next_and_a_living_one_is_not(pipeline: Pipeline):
    outlived, living = pipeline.open("outlived", now=NOW - timedelta(hours=7)), pipeline.open("living", now=NOW)
    pipeline.open("next", now=NOW + timedelta(minutes=1))
    assert pipeline.row(outlived).status == "failed"
    assert "outlived its DAG run" in pipeline.row(outlived).error_message
    assert pipeline.row(living).status == "running"
    assert (
        transitions.fail_outlived(
            pipeline.systems.engine, dag_id=DAG_ID, started_before=NOW - timedelta(hours=6), message="again", now=NOW
        )
        == 0
    )


def test_a_version_that_lacks_a_key_of_this_code_fails_the_run_before_anything_is_read(pipeline: Pipeline):
    keys = tables.version_configs
    with transaction(pipeline.systems.engine) as connection:
        connection.execute(delete(keys).where(keys.c.config_key == "max_bid_cpm"))
        connection.execute(update(tables.versions).values(supported_configs=None))
        connection.execute(delete(tables.entity_configs))
    with pytest.raises(ConfigError, match="max_bid_cpm has no row in opt_version_configs; run `optimizer migrate`"):
        pipeline.open()
    assert "max_bid_cpm" in pipeline.row_of("first").error_message


def test_bounds_that_are_wider_than_the_codes_do_not_let_a_value_through(pipeline: Pipeline):
    keys = tables.version_configs
    with transaction(pipeline.systems.engine) as connection:
        connection.execute(update(keys).where(keys.c.config_key == "target_win_rate").values(max_value="1.0"))
    with pytest.raises(ConfigError, match=r"target_win_rate=1\.0: Input should be less than or equal to 0\.99"):
        pipeline.open(target_win_rate=1.0)


def test_an_entity_on_another_version_is_not_run_with_this_code(pipeline: Pipeline):
    with transaction(pipeline.systems.engine) as connection:
        connection.execute(update(tables.versions).values(version_code="v2"))
    with pytest.raises(ConfigError, match="its version v2 is not v3, which this code implements"):
        pipeline.open()


def test_an_active_run_whose_files_are_gone_fails_validation_and_not_the_run(
    new_pipeline: Callable[..., Pipeline], first_run: FinishedRun
):
    pipeline = new_pipeline(copy_of=first_run.pipeline)
    with transaction(pipeline.systems.engine) as connection:
        connection.execute(update(tables.runs).values(s3_output_path=first_run.handle.output_uri + "lost/"))
    run = pipeline.open("second", now=LATER)
    for name in STEPS:
        pipeline.step(run, name, now=LATER)
    row = pipeline.row(run)
    assert (row.status, row.validation_status) == ("completed", "failed")
    assert f"the bids of the active run {first_run.handle.run_id} cannot be read" in row.error_message
    assert run.staging(pipeline.systems).get_json(run_files.BID_FIGURES)["compared_segments"] == 0
