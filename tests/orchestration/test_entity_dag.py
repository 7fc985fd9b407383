"""The DAGs as Airflow builds them; in a process of their own, because Airflow is configured once a process."""

import itertools
import json
from pathlib import Path

import pytest
from orchestration.airflow_process import run_script
from orchestration.definitions import TASKS, define

from optimizer.orchestration.definitions import SNAPSHOT_NAME, write_snapshot

SCRIPT = """
import json, sys
from airflow.serialization.serialized_objects import DagSerialization
from optimizer.orchestration import entity_dag

def describe(dag):
    return {
        "dag_id": dag.dag_id,
        "serialized": DagSerialization.to_dict(dag),
        "order": [task.task_id for task in dag.topological_sort()],
        "params": {name: {"value": dag.params[name], **dag.params.get_param(name).schema} for name in dag.params},
        "max_active_runs": dag.max_active_runs,
        "doc": dag.doc_md,
        "valid": dag.params.validate(),
        "tasks": {
            task.task_id: {
                "retries": task.retries,
                "timeout_s": task.execution_timeout.total_seconds(),
                "pool": task.pool,
                "pool_slots": task.pool_slots,
                "rule": str(task.trigger_rule.value),
                "teardown": [task.is_teardown, task.on_failure_fail_dagrun],
                "policy": task.retry_policy.serialize(),
                "downstream": sorted(task.downstream_task_ids),
            }
            for task in dag.tasks
        },
    }

only = sys.argv[1] or None
print("RESULT" + json.dumps({
    "dags": [describe(dag) for dag in entity_dag.build_entity_dags(only=only)],
    "loaded": sorted({"lightgbm", "pandas", "sklearn", "boto3", "optimization_tracking"} & set(sys.modules)),
}, default=str))
"""


def build(tmp_path: Path, definitions, *, only: str = "") -> dict:
    """Build the DAGs from a last-good snapshot while the control plane is silent."""
    state = tmp_path / "state"
    write_snapshot(state / SNAPSHOT_NAME, definitions)
    silent = {"conn_type": "sqlite", "host": str(tmp_path / "no" / "db")}
    environment = {"OPTIMIZER_STATE_DIR": str(state), "AIRFLOW_CONN_OPTIMIZER_CONTROL_PLANE": json.dumps(silent)}
    done = run_script(SCRIPT, only, environment=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.rsplit("RESULT", 1)[1])


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    definitions = [
        define("bad_schedule", schedule="every now and then"),
        define("drugs_com", status="I"),
        define("drugs_hcp", target_win_rate="0.4", max_bid_cpm="much"),
    ]
    return build(tmp_path_factory.mktemp("dags"), definitions)


@pytest.fixture(scope="module")
def dag(built):
    return built["dags"][0]


def test_active_entities_alone_have_a_dag_and_one_that_cannot_be_built_takes_no_other_away(built):
    assert [dag["dag_id"] for dag in built["dags"]] == ["optimize__drugs_hcp"]


def test_parsing_brings_no_heavy_library(built):
    assert built["loaded"] == []


def test_the_tasks_are_one_chain_in_the_order_of_the_runs_life(dag):
    assert dag["order"] == TASKS
    following = {task: [after] for task, after in itertools.pairwise(TASKS)}
    assert {name: task["downstream"] for name, task in dag["tasks"].items()} == {**following, "close_run": []}
    assert dag["tasks"]["close_run"]["rule"] == "all_done_setup_success"


def test_close_run_is_a_teardown_whose_failure_fails_the_dag_run(dag):
    assert dag["tasks"]["close_run"]["teardown"] == [True, True]


def test_every_task_has_a_timeout_and_retries_but_not_for_what_a_retry_cannot_fix(dag):
    for task in dag["tasks"].values():
        assert task["timeout_s"] > 0 and task["retries"] == 3
        assert task["policy"]["default"] == "fail"
        assert [rule["action"] for rule in task["policy"]["rules"]] == ["retry"]


def test_only_what_can_pass_is_retried():
    code = (
        "from optimizer.errors import *\n"
        "from airflow.sdk.exceptions import AirflowTaskTimeout\n"
        "from optimizer.orchestration.task_defaults import RETRY_WHAT_CAN_PASS as policy\n"
        "errors = [UnavailableError(), AirflowTaskTimeout(), ConnectionResetError(), ConfigError(), KeyError()]\n"
        "print([policy.evaluate(error, 1, 4).action.value for error in errors])"
    )
    done = run_script(code)
    assert done.stdout.splitlines()[-1] == "['retry', 'retry', 'retry', 'fail', 'fail']"


def test_training_alone_waits_for_the_training_pool(dag):
    assert {name for name, task in dag["tasks"].items() if task["pool"] == "optimizer_training"} == {"train_models"}


def test_training_takes_as_many_slots_as_the_entity_says(tmp_path, dag):
    assert {task["pool_slots"] for task in dag["tasks"].values()} == {1}
    (wide,) = build(tmp_path, [define("drugs_hcp", training_slots="4")])["dags"]
    assert {name: task["pool_slots"] for name, task in wide["tasks"].items() if task["pool_slots"] > 1} == {
        "train_models": 4
    }


def test_one_run_of_an_entity_at_a_time_and_a_page_that_explains_it(dag):
    assert dag["max_active_runs"] == 1
    for word in ("drugs_hcp", "1334", "s3://bucket/optimizer/drugs_hcp/", "Rerun"):
        assert word in dag["doc"]


def test_the_form_shows_the_entitys_value_with_title_bounds_and_section(dag):
    field = dag["params"]["target_win_rate"]
    assert field == {
        "value": 0.4,
        "type": ["string", "number"],
        "examples": [],
        "title": "Target win rate",
        "description_md": "Share of auctions to win (0.3: 30 %). From 0.01 to 0.99. *target_win_rate*",
        "section": "Business",
        "allOf": [{"minimum": 0.01, "maximum": 0.99}],
    }
    assert dag["params"]["win_rate_scope"]["enum"] == ["portfolio", "segment"]
    assert dag["params"]["data_end_dt"]["value"] is None


def test_the_form_begins_with_the_window_and_then_with_what_people_set_most_often(dag):
    assert list(dag["params"])[:4] == ["data_start_dt", "data_end_dt", "target_win_rate", "target_margin"]


def test_the_form_shows_the_default_where_the_entitys_value_cannot_be_used(dag):
    assert dag["params"]["max_bid_cpm"]["value"] == 30.0


def test_every_field_of_the_form_takes_its_own_value(dag):
    assert dag["valid"] == {name: field["value"] for name, field in dag["params"].items()}


def test_no_task_repeats_the_fields_of_the_form(dag):
    tasks = {task["__var"]["task_id"]: task["__var"] for task in dag["serialized"]["dag"]["tasks"]}
    assert [name for name, task in tasks.items() if task.get("params")] == ["approve"]


def test_keys_that_the_ui_does_not_show_are_not_on_the_form(dag):
    assert "floor_available" not in dag["params"] and "schedule" not in dag["params"]


def test_a_dag_that_is_being_run_is_built_though_its_entity_was_switched_off(tmp_path):
    definitions = [define("drugs_com", status="I"), define("drugs_hcp")]
    built = build(tmp_path, definitions, only="optimize__drugs_com")
    assert [dag["dag_id"] for dag in built["dags"]] == ["optimize__drugs_com"]


def test_an_answer_has_one_field_its_reason_and_none_of_the_trigger_form(dag):
    tasks = {task["__var"]["task_id"]: task["__var"] for task in dag["serialized"]["dag"]["tasks"]}
    assert [name for name, _ in tasks["approve"]["params"]] == ["reason"]


def test_two_parses_give_the_same_dag(tmp_path):
    first, second = (build(tmp_path, [define("drugs_hcp")])["dags"][0]["serialized"] for _ in range(2))
    assert first == second


def test_a_request_that_is_rejected_or_not_answered_skips_the_task_and_says_who_rejected_it_why_and_what_stays():
    code = (
        "from datetime import timedelta\n"
        "from airflow.sdk.exceptions import AirflowSkipException\n"
        "from optimizer.orchestration import task_bodies\n"
        "from optimizer.orchestration.approval import PromotionApproval, answer_form\n"
        "class Ti:\n"
        "    def xcom_pull(self, task_ids):\n"
        "        return {'snapshot_config': {'entity_code': 'drugs_hcp', 'run_id': 'R'}}[task_ids]\n"
        "def record(run, answer, *, is_approved):\n"
        "    print('recorded', run['run_id'], is_approved, task_bodies.reason_of(answer))\n"
        "task_bodies.record_answer = record\n"
        "task = PromotionApproval(task_id='approve', longest_wait=timedelta(hours=1), params=answer_form())\n"
        "print(task.defaults, task.response_timeout)\n"
        "anna, reason = {'id': '7', 'name': 'anna'}, {'reason': ' too dear '}\n"
        "for user, form, timedout in ((None, {}, True), (anna, {}, False), (anna, reason, False)):\n"
        "    event = {'chosen_options': task.defaults, 'responded_by_user': user, 'timedout': timedout}\n"
        "    try:\n"
        "        task.execute_complete({'ti': Ti()}, {**event, 'params_input': form})\n"
        "    except AirflowSkipException as skipped:\n"
        "        print(skipped)\n"
    )
    done = run_script(code)
    rest = "what was live stays. `optimizer deploy drugs_hcp R=100` gives it the traffic by hand"
    assert done.stdout.splitlines()[-7:] == [
        "['Reject'] 1:00:00",
        "recorded R False ",
        f"entity drugs_hcp: run R does not go live: it was not answered in time; {rest}",
        "recorded R False ",
        f"entity drugs_hcp: run R does not go live: anna rejected it; {rest}",
        "recorded R False too dear",
        f"entity drugs_hcp: run R does not go live: anna rejected it (too dear); {rest}",
    ]
