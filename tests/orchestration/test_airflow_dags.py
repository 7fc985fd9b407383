from pathlib import Path

import pytest
from orchestration.definitions import define

from optimizer.orchestration.airflow_dags import build_dags
from optimizer.orchestration.definitions import load_definitions, snapshot_path


@pytest.fixture(autouse=True)
def snapshot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The last good list of entities; the control plane itself cannot be reached."""
    monkeypatch.setenv("OPTIMIZER_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("AIRFLOW_CONN_OPTIMIZER_CONTROL_PLANE", '{"conn_type": "sqlite", "host": "/missing/file.db"}')
    load_definitions(lambda: ([define("drugs_com"), define("drugs_hcp")], []), path=snapshot_path())


def test_one_call_builds_the_dags_of_all_five_dag_files():
    dags = build_dags()
    assert set(dags) == {"optimize__drugs_com", "optimize__drugs_hcp", "deploy", "monitor", "pending_runs", "retention"}
    assert all(dag.dag_id == dag_id for dag_id, dag in dags.items())


@pytest.mark.parametrize("dag_id", ["optimize__drugs_hcp", "deploy", "monitor", "pending_runs", "retention"])
def test_a_running_task_builds_only_its_own_dag(monkeypatch: pytest.MonkeyPatch, dag_id: str):
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", dag_id)
    assert set(build_dags()) == {dag_id}


@pytest.mark.parametrize("days", [None, "90"])
def test_retention_starts_paused_unless_its_days_are_set(monkeypatch: pytest.MonkeyPatch, days: str | None):
    monkeypatch.delenv("OPTIMIZER_RETENTION_DAYS", raising=False)
    if days is not None:
        monkeypatch.setenv("OPTIMIZER_RETENTION_DAYS", days)
    assert build_dags()["retention"].is_paused_upon_creation is (days is None)
