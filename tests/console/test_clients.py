"""The page Clients: what a trader sees first."""

import re
from datetime import timedelta

from console.conftest import TODAY
from pipeline.driver import ENTITY
from playwright.sync_api import expect

from optimizer.console.context import Schedule
from optimizer.control_plane.live_records import read_days


def test_a_client_shows_its_state_its_split_and_yesterdays_figures(console, browser):
    page = browser.open(console)
    row = page.get_by_role("row", name=ENTITY)
    expect(row).to_contain_text("80 / 20 %")
    expect(row).to_contain_text("of 33.0 %")
    days = [day for day in read_days(console.business.systems.engine, ENTITY) if f"{day.day}" == "2026-02-11"]
    win_rate = sum(day.wins for day in days) / sum(day.bids for day in days)
    expect(row).to_contain_text(f"{100 * win_rate:.1f} %")
    row.get_by_role("link", name=ENTITY).click()
    expect(page.get_by_role("heading", name="Day by day")).to_be_visible()


def test_what_needs_attention_comes_first_and_filters_stay_in_the_address(console, browser):
    page = browser.open(console)
    page.get_by_label("State").select_option("stale")
    page.get_by_role("button", name="Show").click()
    expect(page).to_have_url(re.compile("state=stale"))
    expect(page.locator("tbody th a")).to_have_text([ENTITY])
    page.get_by_label("Search clients").fill("nothing")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("main")).to_contain_text("No client matches")


def test_the_next_run_is_what_airflow_plans(console):
    console.schedules.known[ENTITY] = Schedule(next_run_at=TODAY + timedelta(hours=3), running_task="train_models")
    with console.http() as http:
        rows = {row["entity_code"]: row for row in http.get("/api/clients").json()["rows"]}
    console.schedules.known.clear()
    assert rows[ENTITY]["next_run_at"] == "2026-02-12T05:30:00Z"
    assert rows["drugs_com"]["next_run_at"] is None


def test_a_user_sees_the_clients_whose_dags_they_may_read(console):
    with console.http("other") as http:
        assert http.get("/api/clients").json()["rows"] == []
        assert http.get(f"/clients/{ENTITY}").status_code == 404
    with console.http(None) as http:
        answer = http.get("/")
        assert answer.status_code == 401 and "Sign in to Airflow" in answer.text


def test_times_can_be_read_in_the_readers_own_zone(console, open_browser):
    page = open_browser(timezone_id="America/New_York").open(console, f"/clients/{ENTITY}/settings")
    changed = page.get_by_role("row", name="try a higher target").locator("time")
    expect(changed).to_have_text("2026-02-04 08:00\N{NO-BREAK SPACE}UTC")
    page.get_by_role("button", name="Times: UTC").click()
    expect(changed).to_have_text("2026-02-04 03:00\N{NO-BREAK SPACE}EST")
    page.reload()
    expect(changed).to_have_text("2026-02-04 03:00\N{NO-BREAK SPACE}EST")
    expect(page.get_by_role("button", name="Times: America/New_York")).to_be_visible()
