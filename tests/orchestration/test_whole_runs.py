"""Whole runs through Airflow's scheduler, workers and API, on real servers."""

import time
from pathlib import Path

import pytest
from control_plane.catalog import NOW, open_sample, start_sample
from orchestration.definitions import TASKS
from orchestration.driving import dag_of, finish, row_count, row_of, run_dag, tasks_of, trigger
from sqlalchemy import delete, insert, select, update

from optimization_tracking.client import ClientSettings, TrackingClient
from optimization_tracking.client.abandoned import send_abandoned
from optimizer.artifacts.manifest import read_manifest, read_verified
from optimizer.artifacts.store import ObjectStore
from optimizer.control_plane import deployment_history, registry, runs, tables
from optimizer.control_plane.engine import transaction
from optimizer.control_plane.splits import percents_of
from optimizer.errors import ConfigError
from optimizer.names import PENDING_RUNS_DAG


def parse_again(airflow, entity_code: str) -> None:
    """Have the DAG file parsed out of turn, and return when its DAGs are stored."""
    path = f"/dags/{dag_of(entity_code)}"
    before = airflow.request("GET", path)
    airflow.request("PUT", f"/parseDagFile/{before['file_token']}")
    deadline = time.monotonic() + 60
    while airflow.request("GET", path)["last_parsed_time"] == before["last_parsed_time"]:
        assert time.monotonic() < deadline, "the file is not parsed"
        time.sleep(0.2)


def test_two_entities_run_at_once_and_neither_touches_the_other(airflow, engine, stack, first_runs):
    store = ObjectStore(stack.connect_objects())
    spans = []
    for entity, dag_run_id in first_runs.items():
        tasks = tasks_of(airflow, entity, dag_run_id)
        assert list(tasks) == TASKS
        assert {task.state for task in tasks.values()} == {"success"}
        spans.append((tasks["snapshot_config"].start, tasks["close_run"].end))
        row = row_of(engine, entity, dag_run_id)
        assert (row.status, row.validation_status, row.error_message) == ("completed", "passed", None)
        split = {row.run_id: 95, f"control_{row.run_id}": 5} if entity == "drugs_hcp" else {row.run_id: 100}
        assert percents_of(deployment_history.read_active(engine, entity)) == split
        manifest = read_manifest(store, row.s3_output_path)
        assert (manifest.run_id, manifest.entity_code) == (row.run_id, entity)
        for item in manifest.objects:
            content = read_verified(store, output_uri=row.s3_output_path, manifest=manifest, name=item.name)
            if item.name.endswith(".csv"):
                assert content.count(b"\n") == item.row_count + 1
        assert {o.s3_key.rsplit("/", 1)[1] for o in registry.read_outputs(engine, row.run_id)} == {
            "manifest.json",
            *(item.name for item in manifest.objects),
        }
    assert spans[0][0] < spans[1][1] and spans[1][0] < spans[0][1], "the runs did not overlap"


def test_every_run_is_in_the_tracking_of_the_same_stack(engine, stack, first_runs):
    variables = stack.environment()
    names = ("OPTIMIZER_TRACKING_API_URL", "OPTIMIZER_TRACKING_KEY", "OPTIMIZER_TRACKING_QUEUE")
    address, key, queue = (variables[name] for name in names)
    with TrackingClient(ClientSettings(address, key, queue_folder=Path(queue))) as client:
        list(send_abandoned(client))  # a task does not wait longer than some seconds for a busy service
        tracked = {run.run_name: run for run in client.iterate_runs(optimizer_type=["rtb"])}
        for entity, dag_run_id in first_runs.items():
            run = tracked[f"{entity} {row_of(engine, entity, dag_run_id).run_code}"]
            assert (run.status, run.iterations, run.metadata["validationStatus"]) == ("completed", 1, "passed")
            assert next(client.iterate_samples(run.id)).expected_output.keys() == {"winRate"}


def test_a_value_out_of_bounds_is_refused_by_the_trigger_form(airflow):
    airflow.wait_for_dag(dag_of("drugs_com"), timeout_s=90)
    with pytest.raises(ConfigError, match=r"1\.4 is greater than the maximum of 0\.99"):
        airflow.trigger(dag_of("drugs_com"), conf={"target_win_rate": 1.4})


def test_a_run_whose_validation_fails_keeps_its_outputs_and_the_active_run(airflow, engine, stack, first_runs):
    active = deployment_history.read_active(engine, "drugs_com")
    dag_run_id = trigger(airflow, "drugs_com", max_calibration_error=0.0001)
    assert finish(airflow, "drugs_com", dag_run_id) == "failed"
    row, tasks = row_of(engine, "drugs_com", dag_run_id), tasks_of(airflow, "drugs_com", dag_run_id)
    assert (row.status, row.validation_status) == ("completed", "failed")
    assert row.error_message.startswith("calibration_error is 0.") and "at most 0.0001" in row.error_message
    assert (tasks["promote"].state, tasks["close_run"].state) == ("skipped", "failed")
    assert tasks["close_run"].try_number == 1
    assert read_manifest(ObjectStore(stack.connect_objects()), row.s3_output_path).run_id == row.run_id
    assert deployment_history.read_active(engine, "drugs_com") == active


def test_a_wrong_entity_value_fails_the_run_at_once_with_key_value_and_bound(airflow, engine):
    values = {"config_key": "target_margin", "config_value": "7", "updated_by": "test"}
    with transaction(engine) as connection:
        entity_id = connection.scalar(
            select(tables.entities.c.entity_id).where(tables.entities.c.entity_code == "nativo_consumer")
        )
        connection.execute(insert(tables.entity_configs).values(entity_id=entity_id, **values))
    try:
        dag_run_id = trigger(airflow, "nativo_consumer")
        assert finish(airflow, "nativo_consumer", dag_run_id) == "failed"
    finally:
        with transaction(engine) as connection:
            own = tables.entity_configs.c.entity_id == entity_id
            connection.execute(
                delete(tables.entity_configs).where(own, tables.entity_configs.c.config_key == "target_margin")
            )
    row, tasks = row_of(engine, "nativo_consumer", dag_run_id), tasks_of(airflow, "nativo_consumer", dag_run_id)
    assert row.status == "failed"
    assert "entity nativo_consumer: target_margin=7.0 is above its maximum 0.95" in row.error_message
    assert tasks["snapshot_config"].try_number == 1 and tasks["extract"].state == "upstream_failed"


def test_a_silent_run_that_airflow_does_not_know_is_failed_and_one_that_works_is_left_until_a_user_fails_it(
    airflow, engine
):
    dag_run_id = trigger(airflow, "nativo_consumer")
    deadline = time.monotonic() + 120
    while (row := row_of(engine, "nativo_consumer", dag_run_id)) is None or row.status != "running":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    lost = start_sample(engine, open_sample(engine, "lost").run_id)
    with transaction(engine) as connection:  # neither has given a sign of life for long
        silent = update(tables.runs).where(tables.runs.c.run_id.in_([row.run_id, lost.run_id]))
        connection.execute(silent.values(heartbeat_at=NOW))
    assert run_dag(airflow, PENDING_RUNS_DAG)[0] == "success"
    found = runs.read_run(engine, lost.run_id)
    reason = f"Airflow has no DAG run lost of {dag_of('drugs_hcp')}; last sign of life {NOW:%Y-%m-%d %H:%M:%S} UTC"
    assert found.status == "failed" and reason in found.error_message
    assert row_of(engine, "nativo_consumer", dag_run_id).status == "running"
    airflow.mark_failed(dag_of("nativo_consumer"), dag_run_id)
    while (row := row_of(engine, "nativo_consumer", dag_run_id)).status == "running":
        assert time.monotonic() < deadline, "close_run did not run"
        time.sleep(0.2)
    assert row.status == "failed" and row.error_message


def test_clearing_a_finished_run_does_not_revive_it(airflow, engine, first_runs):
    dag_run_id = first_runs["drugs_com"]
    before = row_of(engine, "drugs_com", dag_run_id)
    airflow.clear(dag_of("drugs_com"), dag_run_id, task_ids=["snapshot_config"])
    assert finish(airflow, "drugs_com", dag_run_id) == "failed"
    assert row_of(engine, "drugs_com", dag_run_id) == before
    assert row_count(engine, dag_run_id) == 1


def test_a_new_entity_is_a_dag_within_a_minute_and_a_broken_one_takes_no_other_away(airflow, engine):
    with transaction(engine) as connection:
        model = (
            connection.execute(select(tables.entities).where(tables.entities.c.entity_code == "drugs_com"))
            .mappings()
            .one()
        )
        shared = {key: model[key] for key in ("opt_id", "object_type", "current_version_id")}
        rows = [
            {
                **shared,
                "entity_code": code,
                "entity_name": code,
                "object_id": 1500,
                "s3_base_path": f"s3://vet/{prefix}/",
            }
            for code, prefix in (("vetmed", "good"), ("no blanks please", "broken"))
        ]
        connection.execute(insert(tables.entities), rows)
    airflow.wait_for_dag(dag_of("vetmed"), timeout_s=60)
    for entity in ("drugs_hcp", "drugs_com", "nativo_consumer"):
        airflow.wait_for_dag(dag_of(entity), timeout_s=5)
    assert [Path(error.filename).name for error in airflow.import_errors()] == ["broken.py"]
    with transaction(engine) as connection:
        connection.execute(
            update(tables.entities)
            .where(tables.entities.c.entity_code.in_(["vetmed", "no blanks please"]))
            .values(status="I")
        )


def test_dags_stay_while_the_control_plane_is_away(airflow, stack):
    files = [stack.home.control_plane.with_name(stack.home.control_plane.name + end) for end in ("", "-wal", "-shm")]
    away = {file: file.with_name(file.name + ".away") for file in files if file.exists()}
    for file, hidden in away.items():
        file.rename(hidden)
    try:
        stack.home.control_plane.write_bytes(b"this is not a database, it is out of order")
        for _ in range(2):  # the first may have begun before
            parse_again(airflow, "drugs_hcp")
        assert [Path(error.filename).name for error in airflow.import_errors()] == ["broken.py"]
        for entity in ("drugs_hcp", "drugs_com", "nativo_consumer"):
            airflow.wait_for_dag(dag_of(entity), timeout_s=1)
    finally:
        for file, hidden in away.items():
            hidden.replace(file)
