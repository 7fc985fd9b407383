"""Approval, deployments and the monitor through Airflow, on runs that were made before, one of them with a retry."""

import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from orchestration.driving import RUN_TIMEOUT_S, dag_of, finish, row_count, row_of, run_dag, tasks_of, trigger
from playwright.sync_api import Page, expect
from sqlalchemy import Engine, update

from lab.stack import LocalStack, approvals
from optimizer.clients.airflow_api import AirflowApi
from optimizer.control_plane import deployment_history, live_records, runs, tables
from optimizer.control_plane.audit import read_audit
from optimizer.control_plane.engine import transaction
from optimizer.control_plane.entities import read_definition
from optimizer.control_plane.records import Run
from optimizer.control_plane.serving_snapshots import list_behind
from optimizer.control_plane.splits import percents_of
from optimizer.core.live.live_window import first_unsettled_day

ENTITY = "drugs_com"


def active(engine: Engine) -> dict[str, int]:
    return percents_of(deployment_history.read_active(engine, ENTITY))


def wait_for_request(airflow: AirflowApi, stack: LocalStack, dag_run_id: str) -> dict[str, Any]:
    """Return Airflow's human-in-the-loop request of the run, once its task waits and the scheduler knows it."""
    target = {"dag_id": dag_of(ENTITY), "dag_run_id": dag_run_id}
    deadline = time.monotonic() + RUN_TIMEOUT_S
    while not approvals.is_waiting(approve := tasks_of(airflow, ENTITY, dag_run_id).get("approve"), stack, **target):
        assert time.monotonic() < deadline and (
            approve is None or approve.state not in ("failed", "skipped", "upstream_failed")
        ), approve
        time.sleep(0.5)
    return approvals.read_request(airflow, **target)


def answer(airflow: AirflowApi, dag_run_id: str, option: str, *, reason: str) -> None:
    approvals.answer(airflow, option, dag_id=dag_of(ENTITY), dag_run_id=dag_run_id, reason=reason)


def answers(engine: Engine, run_id: str) -> list[tuple[str, str, str]]:
    """Return the audited answers to the run's requests, the newest first: action, name and reason."""
    return [
        (row.action, row.actor, row.comment)
        for row in read_audit(engine, ENTITY)
        if row.run_id == run_id and row.action in ("approve", "reject")
    ]


def log_of(airflow: AirflowApi, dag_id: str, dag_run_id: str, task_id: str) -> str:
    """Return the log of the task's last try."""
    (task,) = (task for task in airflow.task_instances(dag_id, dag_run_id) if task.task_id == task_id)
    path = f"/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/logs/{task.try_number}"
    return str(airflow.request("GET", path, params={"full_content": True}))


@pytest.fixture(scope="module")
def first_run_id(engine: Engine, first_runs: dict[str, str]) -> str:
    return row_of(engine, ENTITY, first_runs[ENTITY]).run_id


@pytest.fixture(scope="module")
def interrupted(stack: LocalStack, engine: Engine, first_run_id: str) -> tuple[str, Run]:
    """Return the dag_run_id of a run whose extract found the warehouse away, and its row at that time.

    The warehouse is back at once: the number of tries is limited.
    """
    stack.stop("warehouse")
    try:
        with stack.connect_airflow() as airflow:
            dag_run_id = trigger(airflow, ENTITY, promotion="approval")
        deadline = time.monotonic() + 120
        while (row := row_of(engine, ENTITY, dag_run_id)) is None or row.error_message is None:
            assert time.monotonic() < deadline, "extract has not failed"
            time.sleep(0.1)
    finally:
        stack.start("warehouse")
    return dag_run_id, row


@pytest.fixture(scope="module")
def waiting(stack: LocalStack, interrupted: tuple[str, Run]) -> tuple[str, dict[str, Any]]:
    """Return the dag_run_id of a run that waits for a person, and the request."""
    with stack.connect_airflow() as airflow:
        return interrupted[0], wait_for_request(airflow, stack, interrupted[0])


@pytest.fixture(scope="module")
def approved_run_id(engine: Engine, waiting: tuple[str, dict[str, Any]]) -> str:
    return row_of(engine, ENTITY, waiting[0]).run_id


def test_a_task_that_found_the_warehouse_away_tries_again_and_its_run_goes_on(
    airflow: AirflowApi, engine: Engine, interrupted: tuple[str, Run], waiting: tuple[str, dict[str, Any]]
):
    dag_run_id, at_that_time = interrupted
    assert at_that_time.status == "running" and "the warehouse did not answer" in at_that_time.error_message
    assert tasks_of(airflow, ENTITY, dag_run_id)["extract"].try_number > 1
    row = row_of(engine, ENTITY, dag_run_id)
    assert (row.status, row.validation_status, row.error_message) == ("completed", "passed", None)
    assert row_count(engine, dag_run_id) == 1


def test_a_run_waits_for_approval_and_shows_its_numbers_next_to_the_active_runs(
    engine: Engine, waiting: tuple[str, dict[str, Any]], first_run_id: str, approved_run_id: str
):
    request, row = waiting[1], runs.read_run(engine, approved_run_id)
    assert request["subject"] == f"{ENTITY}: put run {approved_run_id} live?"
    assert (request["options"], request["defaults"]) == (["Approve", "Reject"], ["Reject"])
    for text in (
        f"Approved, run `{approved_run_id}` gets",
        f"Live now: run `{first_run_id}` with 100 %",
        "| this run | live | change |",
        "money at stake",
        "expected CPM",
        "Backtest",
    ):
        assert text in request["body"]
    assert (row.status, row.validation_status) == ("completed", "passed")
    assert active(engine) == {first_run_id: 100}


def test_the_numbers_and_the_buttons_of_a_request_are_on_the_first_screen(
    page: Page, address: str, waiting: tuple[str, dict[str, Any]]
):
    page.goto(f"{address}/dags/{dag_of(ENTITY)}/runs/{waiting[0]}/tasks/approve/required_actions")
    for shown in (
        page.get_by_role("cell", name="expected CPM"),
        page.get_by_role("columnheader", name="change"),
        page.get_by_role("button", name="Approve"),
    ):
        expect(shown).to_be_in_viewport(ratio=1)


def test_a_refused_run_leaves_the_active_one_and_says_who_refused(
    airflow: AirflowApi,
    engine: Engine,
    waiting: tuple[str, dict[str, Any]],
    first_run_id: str,
    approved_run_id: str,
):
    assert list(waiting[1]["params"]) == ["reason"]
    answer(airflow, waiting[0], "Reject", reason="look at the margin first")
    ended = finish(airflow, ENTITY, waiting[0])
    states = {name: task.state for name, task in tasks_of(airflow, ENTITY, waiting[0]).items()}
    assert ended == "success", states
    assert (states["approve"], states["promote"], states["close_run"]) == ("skipped", "skipped", "success")
    log = log_of(airflow, dag_of(ENTITY), waiting[0], "approve")
    assert "rejected it (look at the margin first); what was live stays" in log
    assert answers(engine, approved_run_id) == [("reject", "admin", "look at the margin first")]
    assert active(engine) == {first_run_id: 100}


def test_a_cleared_request_is_asked_again_and_an_approved_run_goes_live_in_the_persons_name(
    airflow: AirflowApi,
    engine: Engine,
    stack: LocalStack,
    waiting: tuple[str, dict[str, Any]],
    approved_run_id: str,
):
    airflow.clear(dag_of(ENTITY), waiting[0], task_ids=["approve"])
    wait_for_request(airflow, stack, waiting[0])
    answer(airflow, waiting[0], "Approve", reason="margin is fine")
    assert finish(airflow, ENTITY, waiting[0]) == "success"
    (row,) = deployment_history.read_active(engine, ENTITY)
    assert (row.run_id, row.traffic_pct) == (approved_run_id, 100)
    assert row.deployed_by.endswith(" (approved in Airflow)") and not row.deployed_by.startswith(("airflow:", " "))
    assert answers(engine, approved_run_id)[0] == ("approve", "admin", "margin is fine")


def test_the_deploy_dag_splits_refuses_and_rolls_back(
    airflow: AirflowApi, engine: Engine, first_run_id: str, approved_run_id: str
):
    state, _ = run_dag(airflow, "deploy", entity=ENTITY, split=f"{first_run_id}=80 {approved_run_id}=20")
    assert (state, active(engine)) == ("success", {first_run_id: 80, approved_run_id: 20})
    assert list_behind(engine) == []
    state, dag_run_id = run_dag(airflow, "deploy", entity=ENTITY, split={first_run_id: 80, approved_run_id: 30})
    assert (state, active(engine)) == ("failed", {first_run_id: 80, approved_run_id: 20})
    reason = f"entity {ENTITY}: the split cannot be deployed: the percents sum to 110; make them sum to 100"
    assert reason in log_of(airflow, "deploy", dag_run_id, "deploy_split")
    state, _ = run_dag(airflow, "deploy", entity=ENTITY, rollback=True)
    assert (state, active(engine)) == ("success", {approved_run_id: 100})


def test_the_monitor_dag_writes_live_numbers_and_is_red_where_a_run_wins_less_than_its_forecast(
    airflow: AirflowApi, engine: Engine, stack: LocalStack, approved_run_id: str
):
    row = runs.read_run(engine, approved_run_id)
    settled = datetime.combine(first_unsettled_day(datetime.now(UTC)), datetime.min.time(), UTC)
    since = min(row.data_end_dt, settled) - timedelta(days=5)
    with transaction(engine) as connection:
        long_ago = {"deployed_at": since - timedelta(hours=1)}
        connection.execute(update(tables.deployments).where(tables.deployments.c.is_active).values(long_ago))
    log_hardly_a_win(stack, engine, run_id=approved_run_id, since=since)
    state, dag_run_id = run_dag(airflow, "monitor", entity=ENTITY)
    assert state == "failed"
    assert f"run {approved_run_id} (100 % of the traffic) is below its forecast" in log_of(
        airflow, "monitor", dag_run_id, "raise_alerts"
    )
    found = live_records.read_verdicts(engine, ENTITY)
    (win_rate,) = [row for row in found if (row.run_id, row.figure) == (approved_run_id, "win_rate")]
    assert (win_rate.days, win_rate.verdict) == (5, "below target")
    assert 0 < win_rate.live < win_rate.expected / 2
    assert active(engine) == {approved_run_id: 100}


def log_hardly_a_win(stack: LocalStack, engine: Engine, *, run_id: str, since: datetime) -> None:
    """Have the log say that the run priced the bids since then that lost, and one in fifty of those that won."""
    entity = read_definition(engine, ENTITY).entity
    with closing(stack.connect_warehouse()) as connection, connection.cursor() as cursor:
        cursor.execute(
            "UPDATE BIDS SET run_id = %(run_id)s WHERE object_id = %(object_id)s AND bid_ts >= %(since)s"
            " AND (bid_id NOT IN (SELECT bid_id FROM VIEWS) OR MOD(ABS(HASH(bid_id)), 50) = 0)",
            {"run_id": run_id, "object_id": entity.object_id, "since": since},
        )
