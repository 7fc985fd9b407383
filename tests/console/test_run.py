"""A run's page: its life, numbers, checks, live days, files and settings, and what it says where something is away."""

import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest
from console.conftest import TODAY, serve_console
from pipeline.driver import DAG_ID, ENTITY, NOW, Pipeline
from playwright.sync_api import expect
from servers.embedded import closed_port
from sqlalchemy import update

from lab.stack.clients import connect_objects
from optimizer.artifacts.store import ObjectStore
from optimizer.console.context import TaskTime
from optimizer.control_plane import runs, tables
from optimizer.control_plane.engine import transaction
from optimizer.control_plane.live_records import read_verdicts
from optimizer.presentation.formats import amount, percent
from optimizer.runs.published_run import read_published

WAITING = "manual__2026-02-12T02:00:00+00:00"
HOSTILE = "<img src=x onerror=alert(1)>\u202e evil " + "x" * 2_000


@pytest.fixture(scope="module")
def run_id(business):
    return business.second.run_id


def test_the_page_shows_what_the_run_forecast_and_what_it_did(console, business, browser, run_id):
    published = read_published(run_id, engine=business.systems.engine, store=business.systems.store)
    forecast = {**published.metrics["bidding"], **published.metrics["forecast"]}
    page = browser.open(console, f"/runs/{run_id}")
    tiles = page.locator(".tiles").first
    for name, write in (("expected_win_rate", percent), ("expected_cpm", amount), ("expected_spend_per_day", amount)):
        expect(tiles).to_contain_text(write(forecast[name]))
        expect(tiles).to_contain_text(f"95 %: {write(forecast[f'{name}_low'])} to {write(forecast[f'{name}_high'])}")
    checks = page.get_by_role("region", name="Checks").locator("tbody tr")
    expect(checks).to_have_count(sum(not check.is_passed for check in published.checks))
    expect(checks.first).to_contain_text("warning")
    passed = sum(check.is_passed for check in published.checks)
    expect(page.get_by_text(f"The {passed} checks that passed")).to_be_visible()
    verdicts = [one for one in read_verdicts(business.systems.engine, ENTITY) if one.run_id == run_id]
    rows = page.get_by_role("region", name="Verdicts").locator("tbody tr")
    expect(rows).to_have_count(len(verdicts))
    expect(rows.first).to_contain_text(percent(verdicts[0].live))
    expect(page.get_by_text("try a higher target")).to_be_visible()
    settings = page.get_by_role("region", name="Settings")
    expect(settings.get_by_role("row", name="target_win_rate")).to_contain_text("run")
    expect(page.locator(".plot canvas")).to_have_count(3)


def test_the_api_has_the_same_run(console, business, run_id):
    row = runs.read_run(business.systems.engine, run_id)
    with console.http() as http:
        run, files = (http.get(f"/api/runs/{run_id}{path}").json() for path in ("", "/files"))
    assert (run["run_id"], run["entity_code"], run["outcome"]) == (run_id, ENTITY, row.outcome)
    assert (run["traffic_pct"], run["missing"]) == (20, [])
    assert run["files"] == files and {file["name"] for file in files} > {"report.html", "memcache.csv"}
    settings = {one["key"]: (one["value"], one["source"]) for one in run["settings"]}
    assert settings["target_win_rate"] == (0.33, "run") and settings["auction_type"][1] == "default"
    assert [check["verdict"] for check in run["checks"]][:2] == ["warning", "passed"]


def test_a_run_is_found_by_its_dag_run_and_leads_to_airflow_and_back(console, browser, run_id):
    began = NOW + timedelta(minutes=1)
    console.schedules.tasks[DAG_ID, "second"] = [
        TaskTime("extract", "success", began, began + timedelta(seconds=90)),
        TaskTime("train_models", "failed", began, None, tries=3),
    ]
    page = browser.open(console, f"/dags/{DAG_ID}/runs/second")
    expect(page.get_by_role("heading", name=f"Run {run_id}")).to_be_visible()
    dag_run = page.get_by_role("link", name="DAG run in Airflow")
    expect(dag_run).to_have_attribute("href", f"/dags/{DAG_ID}/runs/second")
    page.get_by_text("Tasks of the DAG run").click()
    log = page.get_by_role("row", name="train_models").get_by_role("link")
    expect(log).to_have_attribute("href", f"/dags/{DAG_ID}/runs/second/tasks/train_models")
    expect(page.get_by_role("row", name="extract")).to_contain_text("90")
    page.get_by_role("link", name=ENTITY).first.click()
    page.wait_for_url(f"**/clients/{ENTITY}")


def test_a_replayed_run_has_no_link_to_a_dag_run_that_airflow_does_not_have(console):
    first = console.business.first.run_id
    with console.http() as http:
        page, run = http.get(f"/runs/{first}").text, http.get(f"/api/runs/{first}").json()
    assert not run["is_in_airflow"] and run["steps"] == []
    assert f"Airflow has no DAG run {run['dag_run_id']}" in page and f"/dags/{DAG_ID}/runs/" not in page


def test_a_dag_run_without_a_run_says_why_and_what_to_do(console):
    console.schedules.tasks[DAG_ID, "refused"] = [TaskTime("snapshot_config", "failed", NOW, NOW)]
    console.schedules.tasks[DAG_ID, WAITING] = [TaskTime("snapshot_config", None, None, None)]
    texts = {
        "refused": "Its task snapshot_config, which opens the run, failed",
        WAITING: "it has not ended",
        "unknown": "Airflow knows no DAG run unknown",
    }
    with console.http() as http:
        for dag_run_id, text in texts.items():
            page = http.get(f"/dags/{DAG_ID}/runs/{dag_run_id}")
            assert page.status_code == 200 and text in page.text
        assert http.get("/dags/monitor/runs/x").status_code == 404
    with console.http("other") as http:
        assert http.get(f"/dags/{DAG_ID}/runs/second").status_code == 404


def test_files_come_as_they_were_published_with_their_checksum(console, business, run_id):
    store, uri = business.systems.store, business.second.output_uri
    with console.http() as http:
        listed = {file["name"]: file for file in http.get(f"/api/runs/{run_id}/files").json()}
        for name in ("suggested_bids.csv", "metrics.json"):
            file = http.get(f"/runs/{run_id}/files/{name}")
            assert file.content == store.get_bytes(uri + name)
            assert hashlib.sha256(file.content).hexdigest() == listed[name]["sha256"]
            assert file.headers["ETag"] == f'"{listed[name]["sha256"]}"'
            assert file.headers["Content-Disposition"].startswith("attachment")
        report = http.get(f"/runs/{run_id}/report")
        assert report.content == store.get_bytes(uri + "report.html")
        assert report.headers["Content-Security-Policy"].startswith("sandbox allow-scripts")
        assert "allow-same-origin" not in report.headers["Content-Security-Policy"]
        for name in ("manifest.json", "nothing.csv", "..%2Fmetrics.json", "%0d%0aX-Evil:1"):
            assert http.get(f"/runs/{run_id}/files/{name}").status_code == 404


def test_identifiers_of_professionals_are_nowhere(console, business, run_id):
    table = business.systems.store.get_bytes(business.second.output_uri + "npi_multipliers.csv").decode()
    npis = [line.split(",")[0] for line in table.splitlines()[1:]]
    assert len(npis) > 100
    with console.http() as http:
        refused = http.get(f"/runs/{run_id}/files/npi_multipliers.csv")
        pages = [http.get(f"/runs/{run_id}{path}") for path in ("", "/figures", "/segments")]
    assert refused.status_code == 403 and "identifies professionals" in refused.text
    assert "NPI multipliers" in pages[1].text
    for page in pages:
        assert page.status_code == 200 and not any(f">{npi}<" in page.text or f'"{npi}"' in page.text for npi in npis)


def test_the_figures_are_drawn_and_lead_to_segments(console, browser, run_id):
    page = browser.open(console, f"/runs/{run_id}/figures")
    expect(page.locator(".plot canvas")).to_have_count(5 + 6)
    expect(page.get_by_role("heading", name="Predicted and observed win rates")).to_be_visible()
    page.locator("figure h3 a").first.click()
    expect(page.locator(".answer")).to_contain_text("It is served.")


def test_without_the_object_store_the_page_shows_the_control_planes_part(business, run_id, systems):
    settings = systems.settings.model_copy(update={"objects_port": closed_port()})
    store = ObjectStore(connect_objects(settings, timeout_s=2, attempts=1))
    silent = replace(business, systems=replace(business.systems, store=store))
    with serve_console(silent) as console, console.http() as http:
        page, run = http.get(f"/runs/{run_id}"), http.get(f"/api/runs/{run_id}").json()
        segments, compare = http.get(f"/runs/{run_id}/segments"), http.get(f"/clients/{ENTITY}/compare")
        api = http.get(f"/api/runs/{run_id}/segments")
    assert page.status_code == 200 and "The page lacks its forecast, checks and files" in page.text
    assert run["outcome"] == "passed with 1 warning" and "did not answer" in run["missing"][0]["why"]
    assert run["numbers"][0]["value"] == pytest.approx(0.31, abs=0.05)
    assert {file["name"] for file in run["files"]} > {"memcache.csv"} and run["days"] and run["settings"]
    store.client.close()
    for answer in (segments, compare, api):
        assert answer.status_code == 503
    assert "Segments cannot be shown" in segments.text and "did not answer" in compare.text


def test_a_run_that_failed_early_says_so_and_has_no_empty_sections(own_console, browser):
    engine = own_console.business.systems.engine
    pipeline = Pipeline(own_console.business.systems)
    handle = pipeline.open("third", now=NOW + timedelta(hours=5))
    runs.fail_run(engine, handle.run_id, message=HOSTILE, now=NOW + timedelta(hours=5))
    page = browser.open(own_console, f"/runs/{handle.run_id}")
    expect(page.locator(".notice.bad")).to_contain_text("<img src=x onerror=alert(1)>")
    for text in ("ended before it had a forecast", "ended before its validation", "ended before it published files"):
        expect(page.get_by_text(text)).to_be_visible()
    expect(page.get_by_text("The run was never live")).to_be_visible()
    page.get_by_role("link", name="Segments", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("is failed and has no bids")
    with own_console.http() as http:
        listed = http.get(f"/api/clients/{ENTITY}/runs", params={"kind": "failed"}).json()
    assert [row["run_id"] for row in listed["rows"]] == [handle.run_id] and listed["total"] == 1


def test_a_dry_run_is_shown_with_its_bids_and_cannot_go_live(own_console, run_id):
    """A dry run's row as `register_dry_run` leaves it."""
    engine = own_console.business.systems.engine
    with transaction(engine) as connection:
        dry = {"status": "cancelled", "is_dry_run": True}
        connection.execute(update(tables.runs).where(tables.runs.c.run_id == run_id).values(**dry))
    with own_console.http() as http:
        run = http.get(f"/api/runs/{run_id}").json()
        page = http.get(f"/runs/{run_id}/segments", params={"search": "ios"})
    assert run["status"] == "dry run" and "can never be deployed" in run["going_live"]
    assert run["files"] and page.status_code == 200 and "match" in page.text


def test_a_run_whose_files_were_removed_keeps_its_numbers_in_the_control_plane(own_console, run_id):
    engine = own_console.business.systems.engine
    with own_console.http() as http:
        assert http.get(f"/api/runs/{run_id}/segments").status_code == 200
        with transaction(engine) as connection:
            connection.execute(
                update(tables.runs).where(tables.runs.c.run_id == run_id).values(outputs_removed_at=TODAY)
            )
        run, segments = http.get(f"/api/runs/{run_id}").json(), http.get(f"/runs/{run_id}/segments")
    assert run["files"] == [] and "were removed on" in run["missing"][0]["why"]
    assert run["numbers"][0]["value"] is not None and segments.status_code == 409


PATHS = ("", "/figures", "/segments", "/report", "/files/memcache.csv")
API_PATHS = ("", "/files", "/segments", "/segment?key=x")


@pytest.mark.parametrize(("user", "status"), [(None, 401), ("stranger", 404), ("other", 404)])
def test_only_those_who_may_read_the_clients_dag_see_its_runs(console, run_id, user, status):
    paths = [f"/runs/{run_id}{path}" for path in PATHS] + [f"/api/runs/{run_id}{path}" for path in API_PATHS]
    with console.http(user) as http:
        assert {http.get(path).status_code for path in [*paths, f"/clients/{ENTITY}/runs"]} == {status}
    with console.http("viewer") as http:
        assert http.get(f"/runs/{run_id}").status_code == 200


def test_runs_are_listed_the_newest_first_and_found_by_how_they_begin(console, business, browser):
    first, second = business.first.run_id, business.second.run_id
    with console.http() as http:
        found = http.get(f"/api/clients/{ENTITY}/runs").json()
        assert [(row["run_id"], row["traffic_pct"]) for row in found["rows"]] == [(second, 20), (first, 80)]
        warned = http.get(f"/api/clients/{ENTITY}/runs", params={"kind": "warned"}).json()
        assert [row["run_id"] for row in warned["rows"]] == [second]
        none = http.get(f"/clients/{ENTITY}/runs", params={"search": "%"})
        assert "No run matches" in none.text
        assert http.get(f"/api/clients/{ENTITY}/runs", params={"page": 2}).json()["rows"] == []
    page = browser.open(console, f"/clients/{ENTITY}/runs")
    page.get_by_role("searchbox", name="Runs whose").fill(first)
    page.get_by_role("button", name="Show").click()
    expect(page.locator("tbody tr")).to_have_count(1)
