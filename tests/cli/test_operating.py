"""cancel and doctor, against the rows of the control plane."""

import json
from typing import Any

import pytest
from cli.conftest import Command
from control_plane.catalog import open_sample, start_sample
from sqlalchemy import Engine, select

from optimizer.control_plane import runs, tables
from optimizer.control_plane.engine import reading
from optimizer.control_plane.entities import list_codes
from optimizer.control_plane.entity_removals import read_confirmed_count
from optimizer.control_plane.records import AuditRow, read_rows


@pytest.mark.parametrize("is_running", [False, True], ids=["pending", "running"])
def test_an_open_run_is_cancelled_and_says_by_whom(engine: Engine, optimizer_json: Any, is_running: bool):
    run_id = open_sample(engine, "open").run_id
    if is_running:
        start_sample(engine, run_id)
    shown = optimizer_json("cancel", run_id, "--by", "anna")
    row = runs.read_run(engine, run_id)
    assert (
        (shown["status"], shown["error_message"])
        == (row.status, row.error_message)
        == ("cancelled", "cancelled by anna")
    )


def test_a_cancellation_leaves_a_row_in_the_audit_with_its_author_and_reason(engine: Engine, optimizer: Command):
    run_id = open_sample(engine, "open").run_id
    for _ in range(2):  # the second one changes nothing and leaves no row
        optimizer("cancel", run_id, "--by", "anna", "--comment", "wrong window")
    run = runs.read_run(engine, run_id)
    assert run.error_message == "cancelled by anna: wrong window"
    with engine.connect() as connection:
        of_run = select(tables.audit).where(tables.audit.c.run_id == run_id)
        (row,) = read_rows(AuditRow, connection.execute(of_run).mappings())
    assert (row.action, row.actor, row.is_person, row.comment) == ("cancel", "anna", True, "wrong window")
    assert (row.entity_id, row.before_value, row.after_value) == (
        run.entity_id,
        {"status": "pending"},
        {"status": "cancelled"},
    )


def test_a_finished_run_cannot_be_cancelled_and_stays_what_it_is(engine: Engine, optimizer: Command):
    done = next(run for run in runs.list_runs(engine) if run.status == "completed")
    result = optimizer("cancel", done.run_id)
    assert result.exit_code == 1
    assert f"run {done.run_id} is completed, not pending or running" in result.stderr
    assert runs.read_run(engine, done.run_id) == done


def test_doctor_prints_each_finding_with_what_to_do_and_ends_with_status_1(
    engine: Engine, optimizer: Command, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    start_sample(engine, open_sample(engine, "lost").run_id)
    result = optimizer("doctor", "--json")
    assert (result.exit_code, result.stderr) == (1, "")
    found = {finding["subject"]: finding for finding in json.loads(result.stdout)}
    assert "set OPTIMIZER_AIRFLOW_URL" in found["Airflow"]["problem"]
    assert "the object store did not answer" in found["object store"]["problem"]
    assert "its version v5 is not v3, which this code implements" in found["entity drugs_com"]["problem"]
    assert all(finding["todo"] for finding in found.values())
    assert "runs without a row and snapshots were not looked up" in optimizer("doctor", "--objects", "--json").stdout
    text = optimizer("doctor").stdout
    assert f"{len(found)} findings" in text and all(subject in text for subject in found)


def test_a_person_confirms_how_many_entities_there_are(engine: Engine, optimizer: Command):
    with reading(engine) as connection:
        present = len(list_codes(connection))
    refused = optimizer("confirm-entities", "99", "--by", "anna")
    assert refused.exit_code == 1 and f"opt_entities has {present} rows and not 99" in " ".join(refused.output.split())
    assert read_confirmed_count(engine) is None
    confirmed = optimizer("confirm-entities", str(present), "--by", "anna", "--comment", "two clients left")
    assert confirmed.exit_code == 0 and f"Confirmed: opt_entities has {present} rows" in confirmed.output
    assert read_confirmed_count(engine) == present
