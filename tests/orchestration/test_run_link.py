"""The link from a task to the run, as Airflow asks for it; in a process of its own, where Airflow has its settings."""

import json

import pytest
from orchestration.airflow_process import run_script

SCRIPT = """
import json, sys
from airflow import plugins_manager
from airflow.sdk import DAG, task
from airflow.serialization.serialized_objects import DagSerialization
from types import SimpleNamespace
from optimizer.plugin import OptimizerPlugin

plugin = OptimizerPlugin()
plugins_manager.get_global_operator_extra_links = lambda: list(plugin.global_operator_extra_links)
found = {}
for dag_id in ("optimize__drugs_hcp", "monitor"):
    with DAG(dag_id, schedule=None) as dag:
        @task
        def train_models(): ...
        train_models()
    read = DagSerialization.from_dict(DagSerialization.to_dict(dag)).get_task("train_models")
    key = SimpleNamespace(dag_id=dag_id, run_id="scheduled__2026-02-04T06:00:00+00:00", task_id="train_models")
    found[dag_id] = {name: read.get_extra_links(SimpleNamespace(key=key), name) for name in read.extra_links}
tabs = [view for view in plugin.external_views if view.get("destination") == "dag_run"]
print("RESULT" + json.dumps({"links": found, "tabs": [view["url_route"] for view in tabs]}))
"""


@pytest.mark.parametrize(
    ("base_url", "below"), [("https://airflow.example.com/team", "/team"), ("http://localhost:8080/", "")]
)
def test_tasks_of_entities_lead_to_the_tab_of_their_dag_run_and_others_nowhere(base_url, below):
    done = run_script(SCRIPT, environment={"AIRFLOW__API__BASE_URL": base_url})
    assert "RESULT" in done.stdout, done.stderr[-3000:]
    found = json.loads(done.stdout.partition("RESULT")[2])
    tab = f"{below}/dags/optimize__drugs_hcp/runs/scheduled__2026-02-04T06%3A00%3A00%2B00%3A00/plugin/optimizer_run"
    assert found["links"] == {"optimize__drugs_hcp": {"Optimizer run": tab}, "monitor": {"Optimizer run": ""}}
    assert found["tabs"] == ["optimizer_run"]
