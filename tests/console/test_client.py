"""The page of a client: yesterday against target, whether it is a trend, and what the control says."""

import pytest
from pipeline.driver import ENTITY
from playwright.sync_api import expect
from servers.browser import expect_drawn

from optimizer.control_plane.live_records import read_days
from optimizer.control_plane.live_rows import LiveDay

PAGE, API = f"/clients/{ENTITY}", f"/api/clients/{ENTITY}"


def test_yesterday_stands_beside_the_target_and_the_days_are_drawn(console, browser):
    page = browser.open(console, PAGE)
    expect(page.locator(".tiles").first).to_contain_text("target 33.0 %")
    expect_drawn(page, charts=5)
    page.get_by_text("The days as a table").click()
    expect(page.locator("details.table tbody tr")).to_have_count(8)


def test_the_days_are_the_sums_of_the_measured_runs(console):
    with console.http() as http:
        days = http.get(API).json()["days"]
    measured = read_days(console.business.systems.engine, ENTITY)
    for shown in days:
        rows: list[LiveDay] = [row for row in measured if f"{row.day}" == shown["day"]]
        bids, wins = sum(row.bids for row in rows), sum(row.wins for row in rows)
        assert shown["win_rate"] == pytest.approx(wins / bids)
        assert shown["win_rate_low"] < shown["win_rate"] < shown["win_rate_high"]
        assert shown["cpm"] == pytest.approx(1000 * sum(row.spend or 0 for row in rows) / wins)
        assert shown["forecast_win_rate"] is not None


def test_a_client_without_a_day_says_what_to_do(console, browser):
    page = browser.open(console, "/clients/drugs_com")
    expect(page.locator("main")).to_contain_text("no run has ended yet")
    expect(page.locator("main")).to_contain_text("measures live runs every morning")
    expect(page.locator("main")).to_contain_text("trigger the client's DAG")


def test_the_money_goes_where_the_live_run_expects_it(console, browser):
    page = browser.open(console, PAGE)
    expect(page.get_by_role("heading", name="internal_adspace_id")).to_be_visible()
    with console.http() as http:
        found = http.get(f"{API}/spend").json()
        numbers = http.get(f"/api/runs/{console.business.first.run_id}").json()["numbers"]
    assert found["run_id"] == console.business.first.run_id and found["problem"] is None
    totals = {one["feature"]: sum(row["spend"] for row in one["values"]) for one in found["features"]}
    (forecast,) = (number["value"] for number in numbers if number["name"] == "expected_spend_per_day")
    assert len(totals) > 1 and list(totals.values()) == pytest.approx([forecast] * len(totals))


def test_the_tab_on_a_dag_leads_to_its_client(console):
    with console.http() as http:
        answer = http.get(f"/dags/optimize__{ENTITY}")
        assert (answer.status_code, answer.headers["location"]) == (303, f"/optimizer/clients/{ENTITY}")
        other = http.get("/dags/monitor")
        assert other.status_code == 404 and "belongs to no client" in other.text


def test_the_page_fits_a_phone(console, open_browser):
    for path in ("/", PAGE, f"{PAGE}/settings"):
        page = open_browser(viewport={"width": 390, "height": 844}).open(console, path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
