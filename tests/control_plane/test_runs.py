from datetime import UTC, datetime, timedelta

import pytest
from control_plane.catalog import NOW, SNAPSHOT, complete_sample, open_sample, start_sample
from sqlalchemy import Engine, insert, text, update

from optimizer.control_plane import tables
from optimizer.control_plane.audit import Author
from optimizer.control_plane.engine import transaction
from optimizer.control_plane.runs import (
    adopt_run,
    cancel_run,
    fail_run,
    list_runs,
    list_unclaimed,
    note_error,
    read_run,
    read_run_by_dag_run,
    read_run_values,
    require_running,
)
from optimizer.errors import ConfigError, RunStateError

LATER = NOW + timedelta(minutes=5)


def insert_ui_run(engine: Engine, run_id: str = "20260203_150000", **columns) -> None:
    with transaction(engine) as connection:
        connection.execute(insert(tables.runs).values(run_id=run_id, entity_id=1, version_id=5, **columns))


def test_a_run_takes_its_utc_timestamp_as_id_and_code(engine):
    run = open_sample(engine)
    assert (run.run_id, run.run_code, run.status) == ("20260203_150000", "20260203_150000", "pending")
    assert run.created_at == NOW and run.created_at.tzinfo is UTC


def test_a_retried_dag_run_finds_its_run_again(engine):
    first = open_sample(engine)
    assert open_sample(engine, now=LATER) == first
    assert read_run_by_dag_run(engine, dag_id=first.dag_id, dag_run_id=first.dag_run_id) == first
    assert len(list_runs(engine)) == 1


def test_another_entity_in_the_same_second_gets_its_code_in_the_run_id(engine):
    open_sample(engine)
    other = open_sample(engine, entity_id=2, entity_code="drugs_com", dag_id="optimize__drugs_com")
    assert (other.run_id, other.run_code) == ("20260203_150000_drugs_com", "20260203_150000")


def test_the_same_entity_in_the_same_second_gets_the_next_free_one(engine):
    ids = [open_sample(engine, dag_run_id).run_id for dag_run_id in ("first", "second", "third")]
    assert ids == ["20260203_150000", "20260203_150001", "20260203_150002"]


def test_a_code_too_long_for_the_run_id_gets_the_next_free_second(engine):
    open_sample(engine)
    other = open_sample(engine, entity_id=2, entity_code="x" * 60, dag_id="optimize__long")
    assert other.run_id == "20260203_150001"


def test_a_moment_without_time_zone_is_refused(engine):
    with pytest.raises(Exception, match="no time zone"):
        open_sample(engine, now=datetime(2026, 1, 1))  # noqa: DTZ001


def test_a_version_that_does_not_exist_is_refused(engine):
    with pytest.raises(ConfigError, match="version_id=99"):
        open_sample(engine, version_id=99)


def test_a_row_of_the_ui_gets_its_run_id_as_code(engine):
    insert_ui_run(engine, "by hand")
    assert read_run(engine, "by hand").run_code == "by hand"


@pytest.mark.parametrize(("word", "status"), [("queued", "pending"), ("success", "completed")])
def test_the_old_status_words_are_read_as_the_new_ones(engine, word, status):
    insert_ui_run(engine, status=word)
    assert read_run(engine, "20260203_150000").status == status


@pytest.mark.parametrize("word", ["pending", "queued"])
def test_a_pending_row_of_the_ui_is_adopted_once(engine, word):
    insert_ui_run(engine, status=word)
    assert [run.run_id for run in list_unclaimed(engine)] == ["20260203_150000"]
    dag = {"entity_id": 1, "dag_id": "optimize__drugs_hcp"}
    adopted = adopt_run(engine, "20260203_150000", dag_run_id="pending__1", **dag)
    assert (adopted.dag_id, adopted.dag_run_id, adopted.status) == ("optimize__drugs_hcp", "pending__1", "pending")
    assert adopt_run(engine, "20260203_150000", dag_run_id="pending__1", **dag) == adopted
    assert list_unclaimed(engine) == []
    with pytest.raises(RunStateError, match="pending__1"):
        adopt_run(engine, "20260203_150000", dag_run_id="another", **dag)


def test_the_window_that_the_ui_set_is_kept_on_adoption(engine):
    insert_ui_run(engine, data_start_dt=NOW - timedelta(days=2), data_end_dt=NOW - timedelta(days=1))
    run = adopt_run(engine, "20260203_150000", entity_id=1, dag_id="optimize__drugs_hcp", dag_run_id="a")
    assert (run.data_start_dt, run.data_end_dt) == (NOW - timedelta(days=2), NOW - timedelta(days=1))


@pytest.mark.parametrize(("columns", "entity_id"), [({"status": "cancelled"}, 1), ({}, 2)])
def test_a_cancelled_or_foreign_row_is_not_adopted(engine, columns, entity_id):
    insert_ui_run(engine, **columns)
    with pytest.raises(RunStateError, match="cannot take it"):
        adopt_run(engine, "20260203_150000", entity_id=entity_id, dag_id="d", dag_run_id="a")


def test_a_started_run_keeps_the_snapshot_and_the_window_that_it_began_with(engine):
    run = open_sample(engine)
    started = start_sample(engine, run.run_id)
    assert (started.status, started.started_at, started.config_snapshot) == ("running", NOW, SNAPSHOT)
    assert (started.data_start_dt, started.data_end_dt) == (NOW - timedelta(days=30), NOW)
    assert start_sample(engine, run.run_id, config_snapshot={"business": {}}, data_end_at=LATER, now=LATER) == started


def test_a_queued_row_of_the_ui_can_be_started(engine):
    insert_ui_run(engine, status="queued")
    assert start_sample(engine, "20260203_150000").status == "running"


def test_a_running_run_notes_each_sign_of_life(engine):
    run_id = start_sample(engine, open_sample(engine).run_id).run_id
    for _ in range(2):
        assert require_running(engine, run_id, now=LATER).heartbeat_at == LATER


def test_a_cancelled_run_stops_its_tasks_and_records_why(engine):
    run_id = start_sample(engine, open_sample(engine).run_id).run_id
    assert cancel_run(engine, run_id, author=Author("gaurav@company.com"), now=LATER)
    with pytest.raises(RunStateError, match=r"is cancelled, not running \(cancelled by gaurav.*start a new run"):
        require_running(engine, run_id, now=LATER)
    with pytest.raises(RunStateError, match="is cancelled"):
        start_sample(engine, run_id, now=LATER)


def test_a_failed_run_keeps_its_message_and_cannot_be_revived(engine):
    run_id = open_sample(engine).run_id
    assert fail_run(engine, run_id, message="the window holds no bids", now=NOW)
    assert not fail_run(engine, run_id, message="later", now=LATER)
    assert not cancel_run(engine, run_id, author=Author("anna"), now=LATER)
    note_error(engine, run_id, "a late task")
    run = read_run(engine, run_id)
    assert (run.status, run.error_message, run.completed_at) == ("failed", "the window holds no bids", NOW)


def test_a_completed_run_is_not_failed_by_a_late_task(engine):
    run_id = complete_sample(engine, "first")
    assert not fail_run(engine, run_id, message="late", now=LATER)
    assert read_run(engine, run_id).error_message is None


def test_a_message_too_long_or_broken_still_fits_the_column(engine):
    run_id = open_sample(engine).run_id
    note_error(engine, run_id, "half a character \udce9" + "\N{PILE OF POO}" * 100_000)
    assert read_run(engine, run_id).error_message.startswith("half a character ?\N{PILE OF POO}")


def test_a_run_that_is_not_there_is_named(engine):
    with pytest.raises(RunStateError, match="run 19700101_000000 is not in opt_runs"):
        read_run(engine, "19700101_000000")


def test_runs_are_listed_newest_first_and_by_entity(engine):
    open_sample(engine)
    open_sample(engine, "later", now=LATER)
    open_sample(engine, entity_id=2, entity_code="drugs_com", dag_id="optimize__drugs_com")
    assert [run.run_id for run in list_runs(engine, entity_code="drugs_hcp")] == ["20260203_150500", "20260203_150000"]
    assert len(list_runs(engine)) == 3 and len(list_runs(engine, limit=1)) == 1


def test_the_values_that_the_user_set_are_read_by_key(engine):
    insert_ui_run(engine)
    values = [{"run_id": "20260203_150000", "config_key": key, "config_value": "1"} for key in ("b", "a")]
    with transaction(engine) as connection:
        connection.execute(insert(tables.run_configs), values)
    assert read_run_values(engine, "20260203_150000") == {"a": "1", "b": "1"}


def test_a_run_survives_a_round_trip_through_json(engine):
    run = read_run(engine, complete_sample(engine, "first"))
    assert type(run).model_validate_json(run.model_dump_json()) == run


def test_times_are_stored_as_utc_from_any_time_zone(engine):
    run = open_sample(engine, now=NOW.astimezone(tz=None))
    with transaction(engine) as connection:
        stored = connection.scalar(text("SELECT created_at FROM opt_runs"))
        connection.execute(update(tables.runs).values(started_at=NOW + timedelta(microseconds=1)))
    assert str(stored).startswith("2026-02-03 15:00:00")
    assert read_run(engine, run.run_id).started_at == NOW + timedelta(microseconds=1)
