"""The funnel: what bidders counted, stage by stage, and what to do about each loss."""

from datetime import timedelta

from console.conftest import TODAY
from pipeline.driver import ENTITY
from playwright.sync_api import expect

from optimizer.control_plane.bidder_counts import HourCount, write_counts
from optimizer.control_plane.live_records import read_days

RUN = "20260203_060000"
PAGE, API = f"/clients/{ENTITY}/funnel", f"/api/clients/{ENTITY}/funnel"
COUNTS = {
    "segment": 700,
    "fallback": 60,
    "no_macro": 40,
    "cap": 50,
    "below_floor": 100,
    "currency": 30,
    "unreadable": 20,
}


def count(console, hours_ago: int = 20) -> None:
    hour = TODAY.replace(minute=0) - timedelta(hours=hours_ago)
    counts = [HourCount(ENTITY, hour, RUN, outcome, number) for outcome, number in COUNTS.items()]
    write_counts(console.business.systems.engine, "bidder", counts, now=TODAY)


def test_each_stage_is_the_one_before_without_its_losses(own_console):
    count(own_console)
    count(own_console, hours_ago=1)  # today does not count
    with own_console.http() as http:
        found = http.get(API).json()
    stages = {stage["name"]: stage["impressions"] for stage in found["stages"]}
    assert list(stages.values())[:6] == [1000, 980, 950, 950, 950, 850]
    days = [day for day in read_days(own_console.business.systems.engine, ENTITY) if f"{day.day}" == "2026-02-11"]
    assert stages["Won"] == sum(day.wins for day in days) and stages["Clicked"] == sum(day.clicks for day in days)
    assert [loss["impressions"] for loss in found["without_segment"]] == [40, 60]
    assert [(hour["asked"], hour["bid"]) for hour in found["hours"]] == [(1000, 850)]


def test_a_loss_stands_beside_its_cure(own_console, browser):
    count(own_console)
    page = browser.open(own_console, PAGE)
    row = page.get_by_role("row", name="Bid, above the floor")
    expect(row).to_contain_text("100 bid below the floor")
    expect(row).to_contain_text("Raise max_bid_cpm or lower target_margin")
    expect(page.locator(".plot canvas")).to_have_count(1)
    page.get_by_role("link", name="7 days").click()
    expect(page).to_have_url(f"{own_console.address}{PAGE}?days=7")


def test_without_counts_the_page_says_what_to_check(console, browser):
    page = browser.open(console, PAGE)
    expect(page.get_by_role("heading", name="No bidder has counted these days")).to_be_visible()
    with console.http() as http:
        assert http.get(f"{API}?days=31").status_code == 422
        assert http.get(API).json()["is_counted"] is False
