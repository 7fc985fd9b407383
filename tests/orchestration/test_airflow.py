"""Airflow on the embedded stack: started, asked, and at last stopped in the middle of a task."""

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from lab.stack import AIRFLOW, SYSTEMS, LocalStack
from lab.stack.programs import PROGRAMS
from lab.stack.supervision import is_living
from optimizer.clients.airflow_api import AirflowApi, RegisteredDag
from optimizer.errors import ConfigError, RunStateError, UnavailableError
from optimizer.names import TRAINING_POOL


def supervised_tree(stack: LocalStack) -> list[psutil.Process]:
    supervisord = psutil.Process(int((stack.home.path / "supervisord.pid").read_text()))
    return [supervisord, *supervisord.children(recursive=True)]


def wait_for_task(airflow: AirflowApi, run_id: str, *, task_id: str, state: str, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while (task_id, state) not in [(task.task_id, task.state) for task in airflow.task_instances("trial", run_id)]:
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_a_started_stack_is_healthy_in_every_part_and_has_the_training_pool(stack: LocalStack, airflow: AirflowApi):
    assert set(stack.status().values()) == {"running"}
    assert set(airflow.health().values()) == {"healthy"}
    assert airflow.execution_health() == "healthy"
    assert airflow.pool_slots(TRAINING_POOL) == 1


def test_airflow_listens_on_the_loopback_only(stack: LocalStack):
    tree = supervised_tree(stack)
    listening = [address for process in tree for address in _listening(process)]
    assert {address.ip for address in listening} == {"127.0.0.1"}
    assert stack.settings.airflow_port in {address.port for address in listening}


def _listening(process: psutil.Process) -> list[Any]:
    """Where the process listens: nowhere, if it ended since it was listed."""
    with suppress(psutil.NoSuchProcess):
        return [c.laddr for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    return []


def test_a_run_is_triggered_followed_and_repeated_through_the_api(airflow: AirflowApi):
    airflow.wait_for_dag("trial", timeout_s=60)
    airflow.unpause("trial")
    run_id = airflow.trigger("trial", conf={"sleep_s": 0})
    assert airflow.wait_for_run("trial", run_id, timeout_s=60) == "success"
    first, second = airflow.task_instances("trial", run_id)
    assert (first.task_id, first.state, first.try_number) == ("read_warehouse", "success", 1)
    assert first.start < first.end <= second.start
    assert 0 < first.duration_s < 60

    airflow.clear("trial", run_id, task_ids=["sleep"])
    assert airflow.wait_for_run("trial", run_id, timeout_s=60) == "success"
    assert [task.try_number for task in airflow.task_instances("trial", run_id)] == [1, 2]


def test_a_file_that_cannot_be_imported_is_reported_with_its_reason(airflow: AirflowApi):
    (error,) = (error for error in airflow.import_errors() if Path(error.filename).name == "broken.py")
    assert "broken on purpose" in error.stack_trace
    with pytest.raises(UnavailableError, match=r"(?s)DAG missing is not registered.*broken on purpose"):
        airflow.wait_for_dag("missing", timeout_s=0)


def test_the_dags_of_entities_are_listed_a_page_at_a_time(airflow: AirflowApi):
    dag_ids = [f"optimize__{code}" for code in ("drugs_com", "drugs_hcp", "nativo_consumer")]
    for dag_id in dag_ids:
        airflow.wait_for_dag(dag_id, timeout_s=120)
    listed = airflow.list_dags(prefix="optimize__", page_rows=2)  # other tests of the session add entities
    assert listed == airflow.list_dags(prefix="optimize__") == sorted(listed, key=lambda dag: dag.dag_id)
    wanted = [RegisteredDag(dag_id, is_paused=False, is_stale=False, has_import_errors=False) for dag_id in dag_ids]
    assert [dag for dag in listed if dag.dag_id in dag_ids] == wanted
    assert airflow.list_dags(prefix="optimize__drugs_h") == wanted[1:2]
    assert airflow.list_dags(prefix="no_such_dag") == []


def test_a_pool_that_a_user_resized_keeps_its_slots(airflow: AirflowApi):
    airflow.ensure_pool("resized", slots=2)
    airflow.ensure_pool("resized", slots=5)
    assert airflow.pool_slots("resized") == 2


def test_what_airflow_does_not_know_and_whom_it_does_not_know_are_errors(stack: LocalStack, airflow: AirflowApi):
    with pytest.raises(RunStateError, match="404"):
        airflow.trigger("missing")
    stranger = LocalStack(stack.home, settings=stack.settings.model_copy(update={"airflow_password": "wrong"}))
    with stranger.connect_airflow() as denied, pytest.raises(ConfigError, match="refused the password of admin"):
        denied.import_errors()


def test_an_expired_token_is_renewed(stack: LocalStack):
    url, login = f"http://127.0.0.1:{stack.settings.airflow_port}", stack.settings
    with AirflowApi(url, user=login.airflow_user, password=login.airflow_password, token="expired") as airflow:
        assert airflow.pool_slots(TRAINING_POOL) == 1


def test_the_airflow_password_is_in_no_log(stack: LocalStack):
    logs = [path for path in stack.home.logs.rglob("*.log") if path.is_file()]
    secrets = stack.settings.airflow_password, stack.settings.warehouse_password, stack.settings.objects_secret_key
    assert len(logs) > len(PROGRAMS)
    assert not [path for path in logs for secret in secrets if secret in path.read_text(errors="replace")]


def test_a_stop_in_the_middle_of_a_task_leaves_no_process(stack: LocalStack, airflow: AirflowApi):
    run_id = airflow.trigger("trial", conf={"sleep_s": 600})
    wait_for_task(airflow, run_id, task_id="sleep", state="running")
    tree = supervised_tree(stack)
    assert len(tree) > len(PROGRAMS) + 1
    stack.stop(*AIRFLOW)
    assert [stack.status()[name] for name in PROGRAMS] == ["running"] * len(SYSTEMS) + ["stopped"] * len(AIRFLOW)
    stack.stop()
    assert not any(map(is_living, tree))
