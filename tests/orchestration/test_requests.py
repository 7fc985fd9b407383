"""Runs that a UI inserts, and runs that a person starts from Airflow's form, through the real Airflow."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest
from orchestration.driving import dag_of, finish, row_of, run_dag, tasks_of
from orchestration.form import TriggerForm, open_form
from pipeline.requests import RUN_ID, insert_printed, set_value
from playwright.sync_api import BrowserContext, expect
from servers.waiting import wait_until
from sqlalchemy import Engine

from lab.stack import LocalStack
from optimizer.artifacts.store import ObjectStore
from optimizer.clients.airflow_api import AirflowApi
from optimizer.control_plane import deployment_history, registry, runs, transitions
from optimizer.control_plane.audit import Author
from optimizer.control_plane.entities import read_definition
from optimizer.control_plane.records import Deployment
from optimizer.core.config.merge import ConfigKey
from optimizer.names import PENDING_RUNS_DAG
from optimizer.orchestration.trigger_form import effective_value

ENTITY, FORM_ENTITY = "drugs_hcp", "drugs_com"
WRONG = "20260203_140000"
TIMEOUT_S = 300


@pytest.fixture(scope="module")
def live_before(engine: Engine) -> list[Deployment]:
    """Return what was live before the requests."""
    return deployment_history.read_active(engine, ENTITY)


def scheduled_runs(airflow: AirflowApi) -> list[str]:
    """Return the types of the runs of the DAG `due`, whose one run is due since long."""
    return [run["run_type"] for run in airflow.request("GET", "/dags/due/dagRuns")["dag_runs"]]


@pytest.fixture(scope="module")
def due_before(stack: LocalStack) -> list[str]:
    """Return the runs of `due` once another DAG's run has gone to its end, on a scheduler that obeys no schedule."""
    with stack.connect_airflow() as airflow:
        for dag_id in ("due", "trial"):
            airflow.wait_for_dag(dag_id, timeout_s=90)
        airflow.unpause("trial")
        assert run_dag(airflow, "trial", sleep_s=0)[0] == "success"
        return scheduled_runs(airflow)


@pytest.fixture(scope="module")
def requested(stack: LocalStack, live_before: list[Deployment], due_before: list[str]) -> Iterator[str]:
    """Insert the documents' request as a dry run, and a wrong one, while `pending_runs` is on its schedule.

    Gives the dag_run_id of the first, which runs while the tests of the form do.
    """
    with stack.connect_airflow() as airflow:
        airflow.wait_for_dag(PENDING_RUNS_DAG, timeout_s=120)
    stack.start("airflow-scheduler", with_schedules=True)
    stack.wait_ready(TIMEOUT_S)
    insert_as_a_ui(stack)
    yield f"ui__{RUN_ID}"
    stack.start("airflow-scheduler")
    stack.wait_ready(TIMEOUT_S)


def insert_as_a_ui(stack: LocalStack) -> None:
    """Insert the rows as a program does that knows nothing of us, with the statements that the documents print."""
    with closing(sqlite3.connect(stack.home.control_plane, isolation_level=None)) as ui:
        ui.execute("PRAGMA busy_timeout = 30000")
        ui.create_function("NOW", 0, lambda: f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}")  # MySQL has it, SQLite has not
        insert_printed(ui.execute, run_id=WRONG)
        set_value(ui.execute, "target_margin", "7", run_id=WRONG)
        with_own_values(ui)


def with_own_values(ui: sqlite3.Connection) -> None:
    """Insert the printed request in one transaction, with values that pass validation on this small log."""
    ui.execute("BEGIN")
    insert_printed(ui.execute)
    for key, value in (("target_win_rate", "0.35"), ("max_bid_cpm", "60"), ("aggressive_exploration", "false")):
        ui.execute(
            "UPDATE opt_run_configs SET config_value = ? WHERE run_id = ? AND config_key = ?", (value, RUN_ID, key)
        )
    set_value(ui.execute, "dry_run", "true")
    ui.execute("COMMIT")


def test_a_request_that_can_never_run_is_failed_with_the_reason_on_its_row(engine: Engine, requested: str):
    wait_until(
        lambda: runs.read_run(engine, WRONG).status != "pending", "the request was not refused", timeout_s=TIMEOUT_S
    )
    row = runs.read_run(engine, WRONG)
    assert (row.status, row.dag_run_id) == ("failed", None)
    assert "target_margin=7.0 is above its maximum 0.95; set it between 0.0 and 0.95" in row.error_message


def test_due_schedules_run_only_on_a_stack_that_is_started_with_schedules(
    airflow: AirflowApi, due_before: list[str], requested: str
):
    assert due_before == []
    wait_until(
        lambda: scheduled_runs(airflow) == ["scheduled"], "the run that is due did not start", timeout_s=TIMEOUT_S
    )


@pytest.fixture(scope="module")
def form(stack: LocalStack, signed_in: BrowserContext, address: str) -> Iterator[TriggerForm]:
    with stack.connect_airflow() as airflow:
        airflow.wait_for_dag(dag_of(FORM_ENTITY), timeout_s=90)
    with open_form(signed_in, address, dag_id=dag_of(FORM_ENTITY)) as form:
        yield form


def test_the_form_shows_every_visible_key_with_title_description_bounds_choices_and_the_entitys_value(
    engine: Engine, form: TriggerForm
):
    definition = read_definition(engine, FORM_ENTITY)
    for section in ("technical", "business"):
        form.open_section(section.capitalize())
        keys = [key for key in definition.config_keys if key.config_section == section and key.is_ui_visible]
        assert keys
        for key in keys:
            text = form.row(key.config_key).inner_text()
            for part in (key.display_name, key.description, key.config_key, *bounds_of(key)):
                assert part in text, key.config_key
            assert shown_value(form, key) == effective_value(key, definition), key.config_key
    hidden = [key.config_key for key in definition.config_keys if not key.is_ui_visible]
    assert hidden and all(form.field(key).count() == 0 for key in hidden)
    assert choices_of(form, "promotion") == ["auto", "approval", "canary", "none"]


def bounds_of(key: ConfigKey) -> list[str]:
    bounds = (key.min_value, key.max_value) if key.data_type in ("int", "float") else ()
    return [f"{float(bound):,.10g}" for bound in bounds if bound is not None]


def shown_value(form: TriggerForm, key: ConfigKey) -> object:
    field = form.field(key.config_key)
    if key.data_type == "bool":
        return field.is_checked()
    text = field.input_value()
    return {"int": int, "float": float, "str": str}[key.data_type](text) if text else None


def choices_of(form: TriggerForm, key: str) -> list[str]:
    form.row(key).get_by_role("combobox").click()
    options = form.page.get_by_role("option")
    options.first.wait_for()
    shown = options.all_inner_texts()
    options.first.click()
    return shown


def test_the_form_cannot_be_sent_while_a_required_value_is_left_out(form: TriggerForm):
    form.open_section("Business")
    before = form.field("target_win_rate").input_value()
    form.field("target_win_rate").fill("")
    expect(form.trigger_button).to_be_disabled()
    form.field("target_win_rate").fill(before)
    expect(form.trigger_button).to_be_enabled()


def test_a_good_value_starts_a_run_that_can_be_cancelled(airflow: AirflowApi, engine: Engine, form: TriggerForm):
    form.open_section("Business")
    win_rate = form.field("target_win_rate")
    win_rate.fill("0.2")
    form.turn("dry_run")
    with form.page.expect_response(is_start) as answer:
        form.trigger()
    dag_run_id = answer.value.json()["dag_run_id"]
    form.page.get_by_text("Dag Run Triggered").first.wait_for()
    form.page.close()  # it would draw the run again every few seconds
    wait_until(lambda: row_of(engine, FORM_ENTITY, dag_run_id) is not None, "the run has no row", timeout_s=TIMEOUT_S)
    wait_until(
        lambda: row_of(engine, FORM_ENTITY, dag_run_id).status == "running",
        "the run does not start",
        timeout_s=TIMEOUT_S,
    )
    row = row_of(engine, FORM_ENTITY, dag_run_id)
    assert row.trigger_type == "manual" and row.triggered_by == "admin"
    own = {key for key, source in row.config_snapshot["sources"].items() if source == "run"}
    assert own == {"target_win_rate", "dry_run"} and row.config_snapshot["business"]["target_win_rate"] == 0.2

    assert transitions.cancel_run(engine, row.run_id, author=Author("anna"), now=datetime.now(UTC))
    assert finish(airflow, FORM_ENTITY, dag_run_id) == "success"
    states = [task.state for task in tasks_of(airflow, FORM_ENTITY, dag_run_id).values()]
    assert "failed" not in states and "skipped" in states
    row = row_of(engine, FORM_ENTITY, dag_run_id)
    assert (row.status, row.error_message) == ("cancelled", "cancelled by anna")


def test_a_value_that_is_not_a_number_or_out_of_bounds_fails_its_run_with_key_value_bound_and_what_to_write(
    airflow: AirflowApi, address: str, engine: Engine, signed_in: BrowserContext
):
    with open_form(signed_in, address, dag_id=dag_of(FORM_ENTITY)) as wrong:
        wrong.open_section("Business")
        for key, text in (("target_win_rate", "0,4"), ("target_margin", "1.4")):
            field = wrong.field(key)
            assert field.evaluate("field => field.tagName") == "INPUT", "one line"
            field.fill(text)
        with wrong.page.expect_response(is_start) as answer:
            wrong.trigger()
        dag_run_id = answer.value.json()["dag_run_id"]
    assert finish(airflow, FORM_ENTITY, dag_run_id) == "failed"
    row = row_of(engine, FORM_ENTITY, dag_run_id)
    assert row.status == "failed"
    assert "target_win_rate='0,4' is not a number; write 0.4; set it between 0.01 and 0.99" in row.error_message
    assert "target_margin=1.4 is above its maximum 0.95; set it between 0.0 and 0.95 (run value)" in row.error_message


def test_a_request_of_the_ui_is_claimed_and_its_dry_run_goes_to_its_end_and_is_not_red(
    airflow: AirflowApi, engine: Engine, stack: LocalStack, live_before: list[Deployment], requested: str
):
    wait_until(
        lambda: runs.read_run(engine, RUN_ID).status != "pending", "the request was not started", timeout_s=TIMEOUT_S
    )
    assert finish(airflow, ENTITY, requested) == "success"
    row = runs.read_run(engine, RUN_ID)
    assert (row.status, row.validation_status, row.triggered_by) == ("cancelled", "passed", "gaurav@company.com")
    assert re.fullmatch(r"dry run: validation passed( with \d+ warnings?)?; it cannot be deployed", row.error_message)
    assert row.config_snapshot["business"]["target_win_rate"] == 0.35
    assert row.segments_in_memcache > 0 and row.bid_median > 0 and registry.read_features(engine, RUN_ID)
    assert row.is_dry_run and "/dry_runs/" in row.s3_output_path and registry.read_outputs(engine, RUN_ID)
    store, base = ObjectStore(stack.connect_objects()), read_definition(engine, ENTITY).entity.s3_base_path
    assert store.list_keys(f"{base}runs/{row.run_code}/") == []
    assert deployment_history.read_active(engine, ENTITY) == live_before
    states = {name: task.state for name, task in tasks_of(airflow, ENTITY, requested).items()}
    assert {name for name, state in states.items() if state == "skipped"} == {
        "upload",
        "register",
        "approve",
        "promote",
    }
    assert "failed" not in states.values() and states["close_run"] == "success"


def is_start(response) -> bool:
    return response.request.method == "POST" and response.url.endswith("/dagRuns") and response.ok
