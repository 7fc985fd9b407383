"""The console inside Airflow's UI, in a real browser, with the user's login and rights."""

import json
import os
import re
import subprocess
from pathlib import Path
from urllib.parse import unquote

from orchestration.driving import dag_of
from playwright.sync_api import Page, expect
from servers.http import open_client

from lab.stack.catalogue import ENTITY_NAMES
from optimizer.control_plane.entity_values import read_values
from optimizer.control_plane.runs import read_run_by_dag_run
from optimizer.names import CONSOLE_PREFIX

ENTITY = "drugs_hcp"
DOCS = Path(__file__).parents[2] / "docs"


def test_the_console_is_in_the_navigation_and_changes_a_setting(page: Page, address, engine):
    page.goto(address)
    page.get_by_role("link", name="Optimizer").click()
    frame = page.frame_locator("iframe[title=Optimizer]")
    frame.get_by_role("link", name=ENTITY).click()
    frame.get_by_role("link", name="Settings").click()
    frame.get_by_label("Canary traffic").fill("12")
    frame.get_by_role("button", name="Review the changes").click()
    frame.get_by_label("Why").fill("a larger trial")
    frame.get_by_role("button", name="Save").click()
    expect(frame.get_by_role("status")).to_contain_text("Saved")
    kept = read_values(engine, ENTITY)["canary_traffic_pct"]
    assert (kept.config_value, kept.updated_by) == ("12", "admin")
    page.reload()
    expect(frame.get_by_role("heading", name="Settings")).to_be_visible()
    frame.get_by_role("link", name="DAG in Airflow").click()
    page.wait_for_url(f"**/dags/{dag_of(ENTITY)}**")
    expect(page.get_by_role("heading", name=dag_of(ENTITY)).first).to_be_visible()


def test_an_entitys_dag_has_a_tab_with_its_client(page: Page, address):
    page.goto(f"{address}/dags/{dag_of(ENTITY)}")
    page.locator("a[href*=optimizer_client]").click()
    frame = page.frame_locator("iframe[title=Optimizer]")
    expect(frame.get_by_role("link", name=ENTITY)).to_be_visible()
    expect(frame.get_by_role("heading", name="Runs")).to_be_visible()


def test_a_task_leads_to_the_tab_with_its_run_and_the_run_back_to_the_tasks_log(
    page: Page, address, engine, first_runs
):
    dag_id, dag_run_id = dag_of(ENTITY), first_runs[ENTITY]
    task = f"/dags/{dag_id}/runs/{dag_run_id}/tasks/compute_bids"
    page.goto(f"{address}{task}/details")
    page.get_by_role("link", name="Optimizer run").click()
    page.wait_for_url("**/plugin/optimizer_run**")
    row = read_run_by_dag_run(engine, dag_id=dag_id, dag_run_id=dag_run_id)
    frame = page.frame_locator("iframe[title=Optimizer]")
    expect(frame.get_by_role("heading", name=f"Run {row.run_id}")).to_be_visible()
    expect(frame.get_by_role("link", name="Training in tracking")).to_be_visible()
    with page.context.expect_page() as opened:
        frame.get_by_role("link", name="Report", exact=True).click()
    expect(opened.value.get_by_text(row.run_id).first).to_be_visible()
    opened.value.close()
    frame.get_by_text("Tasks of the DAG run").click()
    done = frame.get_by_role("row", name="compute_bids")
    expect(done).to_contain_text("success")
    done.get_by_role("link", name="log in Airflow").click()
    page.wait_for_url(lambda url: task in unquote(url))


def test_the_documents_example_of_the_api_lists_the_clients(stack, address):
    page = (DOCS / "console.md").read_text(encoding="utf-8")
    (example,) = [
        block for block in re.findall(r"```console\n(.*?)```", page, flags=re.DOTALL) if "/auth/token" in block
    ]
    login = json.dumps({"username": stack.settings.airflow_user, "password": stack.settings.airflow_password})
    given = {"AIRFLOW": address, "LOGIN": login}
    lines = [line.removeprefix("$ ") for line in example.splitlines()]
    script = "\n".join(line for line in lines if line.partition("=")[0] not in given)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env={**os.environ, **given, "NO_PROXY": "*"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found = json.loads(done.stdout)
    assert found["total"] == len(found["rows"]) and sum(found["states"].values()) == len(ENTITY_NAMES)
    assert all(row["state"] == "off target" for row in found["rows"])


def test_without_a_login_nothing_is_shown_or_written(address):
    with open_client(address + CONSOLE_PREFIX) as http:
        for path in ("/", "/api/clients", f"/clients/{ENTITY}", f"/clients/{ENTITY}/settings"):
            answer = http.get(path)
            assert answer.status_code == 401 and ENTITY not in answer.text.replace(path, "")
        wanted = {"set": {"target_win_rate": "0.35"}, "comment": "x"}
        refused = http.patch(f"/api/clients/{ENTITY}/settings", json=wanted, headers={"Origin": address})
        assert refused.status_code == 401
