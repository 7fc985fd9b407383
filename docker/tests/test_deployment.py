"""docker-compose.yaml from build to removal, on whatever Docker engine `docker` reaches: `make test-compose`.

The tests are steps of one story: each needs the ones before it, and the first that fails ends the run.
"""

import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from control_plane.statements import read_printed
from project.compose import ONE_SHOT, PRODUCTION, PROJECT, SERVICES
from servers.containers import Answer, Container, Containers, docker
from servers.waiting import Found, wait_until

from optimization_tracking.keys import KEY_PREFIX
from optimizer.names import CLAIM_PREFIX, DAG_PREFIX, TRACKING_PREFIX

log = logging.getLogger(__name__)

ENTITY = "drugs_hcp"
DAG = DAG_PREFIX + ENTITY
SERVER, API, BIDDER = "airflow-api-server", "http://127.0.0.1:8080", "http://127.0.0.1:8100"
LASTING = {name for name in SERVICES if name not in ONE_SHOT}
UI_SQL = read_printed("example_flow.sql")
RUN, EARLIER = "20260203_150000", "20260201_120000"
"""The statements of the UI's team, character for character, and the runs that they are about."""

OF_A_VOLUME = re.findall(
    r"^ *\| `(\w+_PASSWORD)` \| `docker compose exec (\w+) (\w+) --user(?:name)?=(\w+).*?` \| `(.+?)` \|$",
    PRODUCTION.read_text(),
    re.MULTILINE,
)
"""Passwords that a database keeps in its volume, as documented: variable, service, program, account, statement."""

SLOW_S, RUN_S = 900, 1500
"""Bounds for what takes a minute and for a whole run, on a machine that does other things."""

READ_VERSIONS = """
import importlib.metadata, json
print(json.dumps({one.name: one.version for one in importlib.metadata.distributions()}))
"""


def test_the_image_is_built_with_the_versions_of_the_locks(containers: Containers):
    containers.compose("build", timeout_s=1700, is_shown=True)
    printed = docker("run", "--rm", "--entrypoint", "python", containers.image, "-c", READ_VERSIONS)
    installed = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in json.loads(printed).items()}
    locks = ((PROJECT / name).read_text() for name in ("requirements.txt", "docker/requirements.txt"))
    # A pin with a marker may be for another Python.
    pinned = dict(re.findall(r"^([a-z0-9._-]+)==(\S+) \\$", "\n".join(locks), re.MULTILINE))
    assert len(pinned) > 200
    assert {name: installed.get(name) for name in pinned} == pinned


def test_from_nothing_every_service_becomes_healthy_and_none_runs_as_root(containers: Containers):
    containers.up()
    wait_for(lambda: are_healthy(containers, LASTING - {"bidder"}), "every service is healthy")
    for name in ("airflow-init", "optimizer-init"):
        assert (containers.containers()[name].is_running, containers.containers()[name].exit_code) == (False, 0)
    owners = {
        name: containers.compose("exec", "--no-TTY", name, "stat", "-c", "%u", "/proc/1").strip() for name in LASTING
    }
    assert "0" not in owners.values(), owners


def test_the_demo_log_is_loaded_while_the_warehouse_and_all_others_run_on(containers: Containers):
    before = containers.containers()
    containers.compose("run", "--rm", "--no-TTY", "demo-log", timeout_s=SLOW_S, is_shown=True)
    after = containers.containers()
    assert {name: (it.id, it.restarts) for name, it in after.items()} == {
        name: (it.id, it.restarts) for name, it in before.items()
    }


def test_an_entitys_first_run_learns_on_the_worker_and_goes_live_once_it_is_approved(containers: Containers):
    airflow = sign_in(containers)
    wait_for(lambda: airflow.ask("GET", f"/dags/{DAG}").status == 200, f"{DAG} is there")
    dag_run = airflow.ask("POST", f"/dags/{DAG}/dagRuns", {"logical_date": None}).body["dag_run_id"]
    # Soon after the hour of its schedule, a new entity has also had a run of that hour, before there was a log.
    (run,) = wait_for(lambda: runs_of(containers, dag_run), "the run has a row")
    approve(containers, dag_run)
    assert airflow.wait_for_end(dag_run) == "success"
    worker = containers.containers()["airflow-worker"].id
    tasks = airflow.tasks(dag_run)
    assert {(task["state"], task["hostname"]) for task in tasks} == {("success", worker[:12])} and len(tasks) == 11
    assert_completed(containers, run["run_id"], dag_run=dag_run)
    assert live_split(containers) == {run["run_id"]: 95, f"control_{run['run_id']}": 5}
    bidder_answers_with(containers, run["run_id"])
    tracking_has(containers, run["run_id"])


def test_every_secret_can_be_rotated(containers: Containers):
    old, new = containers.secrets, containers.new_secrets()
    # A database learns its own password first; Airflow reads with the old Fernet key until all is encrypted anew.
    assert len(OF_A_VOLUME) == 3
    for name, service, program, account, statement in OF_A_VOLUME:
        changed = statement.replace("…", new[name])
        if program == "mysql":
            containers.sql(changed, user=account, password=old[name])
        else:
            containers.compose("exec", "--no-TTY", service, program, f"--username={account}", stdin=changed)
    containers.secrets = {**new, "AIRFLOW_FERNET_KEY": f"{new['AIRFLOW_FERNET_KEY']},{old['AIRFLOW_FERNET_KEY']}"}
    containers.up()
    containers.compose("exec", "--no-TTY", "airflow-scheduler", "airflow", "rotate-fernet-key", timeout_s=SLOW_S)
    containers.secrets = new
    containers.up()
    wait_for(lambda: are_healthy(containers, LASTING), "every service is healthy")
    assert log_in(containers, old["AIRFLOW_ADMIN_PASSWORD"]).status == 401
    assert log_in(containers, new["AIRFLOW_ADMIN_PASSWORD"]).status == 201
    for user in ("root", *(f"optimizer_{name}" for name in ("ui", "app", "console", "bidder", "operator"))):
        name = "MYSQL_ROOT_PASSWORD" if user == "root" else f"{user.upper()}_PASSWORD"
        assert containers.sql("SELECT 1", user=user, password=new[name]) == [["1"]]
        with pytest.raises(AssertionError, match="Access denied"):
            containers.sql("SELECT 1", user=user, password=old[name])
    keys, prefix = (old["TRACKING_KEY"], new["TRACKING_KEY"]), KEY_PREFIX + old["TRACKING_KEY"][:6]
    assert [ask_tracking(containers, "/runs", key=key).status for key in keys] == [200, 200]
    containers.compose("exec", "--no-TTY", SERVER, "python", "-m", "optimization_tracking", "keys", "revoke", prefix)
    assert [ask_tracking(containers, "/runs", key=key).status for key in keys] == [401, 200]


def test_a_run_that_the_ui_inserts_goes_live_though_the_worker_is_stopped_meanwhile(containers: Containers):
    run_id, first = f"{datetime.now(UTC):%Y%m%d_%H%M%S}", most_live(containers)
    the_ui_inserts(containers, run_id)
    airflow, dag_run = sign_in(containers), CLAIM_PREFIX + run_id
    wait_for(lambda: airflow.state(dag_run, "extract") == "running", "extract is running")
    containers.compose("stop", "airflow-worker", timeout_s=SLOW_S)
    assert airflow.state(dag_run, "extract") == "success", "the worker ended its task before itself"
    containers.compose("start", "airflow-worker")
    assert airflow.wait_for_end(dag_run) == "success"
    tasks = airflow.tasks(dag_run)
    assert {task["try_number"] for task in tasks} == {1}
    # The UI asks for more than the log can vouch for, so the run does not go live by itself.
    assert [task["task_id"] for task in tasks if task["state"] != "success"] == ["promote"]
    the_ui_splits_the_traffic(containers, run_id, beside=first)
    assert_completed(containers, run_id, dag_run=dag_run)
    assert live_split(containers) == {run_id: 80, first: 20}
    bidder_answers_with(containers, run_id)
    tracking_has(containers, run_id)


def test_every_service_that_ends_is_started_again_and_all_is_consistent(containers: Containers):
    before = containers.containers()
    for name in sorted(LASTING):
        containers.signal(name, "TERM")
    wait_for(lambda: are_restarted(containers, before), "every service was started again")
    wait_for(lambda: are_healthy(containers, LASTING), "every service is healthy")
    bidder_answers_with(containers, most_live(containers))
    # It reads the control plane, Airflow and the object store, and fails where it finds anything.
    containers.compose("run", "--rm", "--no-TTY", "optimizer", "doctor")


def test_down_and_up_keep_the_runs_and_what_is_live(containers: Containers):
    before, runs = live_split(containers), containers.optimizer("runs")
    containers.down()
    containers.up()
    wait_for(lambda: are_healthy(containers, LASTING), "every service is healthy")
    assert (live_split(containers), containers.optimizer("runs")) == (before, runs)
    bidder_answers_with(containers, most_live(containers))


def test_its_removal_leaves_nothing_behind(containers: Containers):
    assert containers.leftovers() != []
    containers.remove()
    assert containers.leftovers() == []


@dataclass(frozen=True)
class Airflow:
    """Airflow's REST API for one user, asked inside the api-server's container."""

    containers: Containers
    token: str

    def ask(self, method: str, path: str, body: Any = None) -> Answer:
        return self.containers.ask(f"{API}/api/v2{path}", service=SERVER, method=method, body=body, token=self.token)

    def tasks(self, dag_run: str) -> list[dict[str, Any]]:
        """The task instances of a run of the entity's DAG, none where there is no such run."""
        return self.ask("GET", f"/dags/{DAG}/dagRuns/{quote(dag_run)}/taskInstances").body.get("task_instances", [])

    def state(self, dag_run: str, task_id: str) -> str | None:
        return next((task["state"] for task in self.tasks(dag_run) if task["task_id"] == task_id), None)

    def wait_for_end(self, dag_run: str) -> str:
        def ended() -> str | None:
            state = self.ask("GET", f"/dags/{DAG}/dagRuns/{quote(dag_run)}").body["state"]
            return state if state in ("success", "failed") else None

        return wait_for(ended, f"{dag_run} has ended", timeout_s=RUN_S)


def log_in(containers: Containers, password: str) -> Answer:
    return containers.ask(
        f"{API}/auth/token", service=SERVER, method="POST", body={"username": "admin", "password": password}
    )


def sign_in(containers: Containers) -> Airflow:
    return Airflow(containers, log_in(containers, containers.secrets["AIRFLOW_ADMIN_PASSWORD"]).body["access_token"])


def approve(containers: Containers, dag_run: str) -> None:
    """Answer the approval as a person does, who is never quicker than the scheduler (lab/stack/approvals.py)."""
    ended = re.compile(
        rf"TaskInstance Finished: .*task_id=approve, run_id={re.escape(dag_run)}, .*state=awaiting_input"
    )

    def is_waiting() -> bool:
        return ended.search(containers.compose("logs", "--no-color", "airflow-scheduler")) is not None

    wait_for(is_waiting, f"{dag_run} waits for approval", timeout_s=RUN_S)
    path = f"/dags/{DAG}/dagRuns/{quote(dag_run)}/taskInstances/approve/-1/hitlDetails"
    body = {"chosen_options": ["Approve"], "params_input": {"reason": "as tested"}}
    assert sign_in(containers).ask("PATCH", path, body).status == 200


def the_ui_inserts(containers: Containers, run_id: str) -> None:
    """Write the run and its values as the UI does, for the version that it read before."""
    ((entity_id, _, version_id, _),) = as_the_ui(containers, "ui_reads_entity")
    assert entity_id == "1", "the entity of the printed statements"
    as_the_ui(containers, "ui_inserts_run", {RUN: run_id, "1, 5,": f"1, {version_id},"})
    as_the_ui(containers, "ui_inserts_run_configs", {RUN: run_id})


def the_ui_splits_the_traffic(containers: Containers, run_id: str, *, beside: str) -> None:
    as_the_ui(containers, "ui_deactivates_split")
    as_the_ui(containers, "ui_inserts_split", {RUN: run_id, EARLIER: beside})


def as_the_ui(containers: Containers, name: str, changes: Mapping[str, str] | None = None) -> list[list[str]]:
    """Run a printed statement with other ids, as the UI's account."""
    statement = UI_SQL[name]
    for printed, wanted in (changes or {}).items():
        assert printed in statement
        statement = statement.replace(printed, wanted)
    return containers.sql(statement, user="optimizer_ui", password=containers.secrets["OPTIMIZER_UI_PASSWORD"])


def live_split(containers: Containers) -> dict[str, int]:
    """Return {run: percent of the traffic}, as the UI reads it."""
    return {run_id: int(percent) for run_id, percent in as_the_ui(containers, "ui_reads_split")}


def most_live(containers: Containers) -> str:
    """Return the run that has most of the traffic."""
    split = live_split(containers)
    return max(split, key=split.__getitem__)


def runs_of(containers: Containers, dag_run: str) -> list[dict[str, Any]]:
    """Return the rows of the DAG run: one, and none until it has begun."""
    return [row for row in containers.optimizer("runs", ENTITY) if row["dag_run_id"] == dag_run]


def assert_completed(containers: Containers, run_id: str, *, dag_run: str) -> None:
    (run,) = (row for row in containers.optimizer("runs", ENTITY) if row["run_id"] == run_id)
    assert (run["status"], run["validation_status"], run["dag_run_id"]) == ("completed", "passed", dag_run)


def bidder_answers_with(containers: Containers, run_id: str) -> None:
    """Assert that the bidder gets ready, and prices requests with the run and with others that are live."""

    def ask(path: str, body: Any = None) -> Answer:
        return containers.ask(f"{BIDDER}{path}", service="bidder", method="GET" if body is None else "POST", body=body)

    def prices() -> list[dict[str, Any]] | None:
        asked = {"entity_code": ENTITY, "macros": {"[ADX_PLACEMENT_ID]": "96807"}}
        found = [ask("/price", {**asked, "auction_id": f"auction {number}"}).body for number in range(10)]
        runs = {price["run_id"] for price in found}
        is_served = ask("/ready").status == 200 and run_id in runs and None not in runs  # it may load while it is asked
        return found if is_served else None

    found = wait_for(prices, f"the bidder serves {run_id}")
    assert {price["run_id"] for price in found} <= set(live_split(containers))
    assert all(0 < price["bid_cpm"] <= 60 for price in found)


def tracking_has(containers: Containers, run_id: str) -> None:
    found = ask_tracking(containers, f"/runs?search={run_id}", key=containers.secrets["TRACKING_KEY"])
    assert (found.status, [run["status"] for run in found.body["data"]]) == (200, ["completed"])


def ask_tracking(containers: Containers, path: str, *, key: str) -> Answer:
    return containers.ask(f"{API}{TRACKING_PREFIX}{path}", service=SERVER, token=KEY_PREFIX + key)


def wait_for(condition: Callable[[], Found | None], what: str, *, timeout_s: float = SLOW_S) -> Found:
    began = time.monotonic()
    found = wait_until(condition, f"not within {timeout_s} s: {what}", timeout_s=timeout_s, every_s=3)
    log.info("%s: after %.0f s", what, time.monotonic() - began)
    return found


def are_healthy(containers: Containers, names: set[str]) -> bool:
    found = containers.containers()
    return all(found[name].health == "healthy" for name in names)


def are_restarted(containers: Containers, before: dict[str, Container]) -> bool:
    found = containers.containers()
    return all(found[name].is_running and found[name].restarts > before[name].restarts for name in LASTING)
