"""Compare: which of two runs is better, by how much money, how sure that is, and what changed."""

import pytest
from console.asking import ask
from pipeline.driver import ENTITY
from playwright.sync_api import expect

from optimizer.control_plane.live_records import read_days
from optimizer.core.live.savings import measure_savings
from optimizer.deployment.live_policy import daily_table
from optimizer.presentation.formats import amount, percent, points, signed_amount

API, PAGE = f"/api/clients/{ENTITY}/compare", f"/clients/{ENTITY}/compare"


@pytest.fixture(scope="module")
def answer(console):
    with console.http() as http:
        return http.get(API).json()


def test_is_the_new_run_better_by_how_much_money_and_how_sure_is_that(console, business, browser):
    first, second = business.first.run_id, business.second.run_id
    totals = daily_table(read_days(business.systems.engine, ENTITY))
    found = measure_savings(totals[totals["run_id"] == second], totals[totals["run_id"] == first])
    whole = (found.policy_bids + found.control_bids) / found.policy_bids / found.days
    page = browser.open(console, f"/clients/{ENTITY}/runs")
    page.get_by_role("link", name=second).click()
    page.get_by_role("link", name="Compare").click()
    expect(page.get_by_role("heading", name=f"From {first} to {second}")).to_be_visible()
    live = page.locator(".evidence .card").filter(has_text="Measured live")
    expect(live).to_contain_text(f"{signed_amount(found.gained * whole)} a day")
    expect(live).to_contain_text(
        f"95 %: {signed_amount(found.gained_low * whole)} to {signed_amount(found.gained_high * whole)}"
    )
    expect(live).to_contain_text("Not clear which is better")
    expect(live).to_contain_text(f"Measured on {found.days} days on which both runs bid")
    expect(live).to_contain_text("50 clicks of each are needed")


def test_the_numbers_are_those_of_optimizer_diff(console, business, systems, browser, answer):
    first, second = business.first.run_id, business.second.run_id
    told = ask(business, systems, "diff", first, second)
    assert (answer["earlier"], answer["later"], answer["live_run_id"]) == (first, second, first)
    assert answer["comparison"] == told
    figures = {item["name"]: item for item in told["figures"]}
    page = browser.open(console, PAGE)
    row = page.get_by_role("region", name="Forecasts side by side").get_by_role("row", name="win rate")
    before, after = (figures["expected_win_rate"][side] for side in ("before", "after"))
    for text in (percent(before), percent(after), points(after - before)):
        expect(row).to_contain_text(text)
    settings = page.get_by_role("region", name="Changed settings").get_by_role("row")
    expect(settings).to_have_count(1 + len(told["config"]))


def test_served_bids_are_those_that_bidders_find_and_the_rest_is_summed(console, business, browser, answer):
    served = answer["served"]
    with console.http() as http:
        bids = [
            {row["segment_key"]: row["suggested_bid_cpm"] for row in found["rows"]}
            for found in (
                http.get(f"/api/runs/{run.run_id}/segments", params={"most": 1000}).json()
                for run in (business.first, business.second)
            )
        ]
        last = http.get(API, params={"page": served["pages"]}).json()["served"]
    for row in served["rows"][:5]:
        assert (row["before_cpm"], row["after_cpm"]) == tuple(side[row["segment_key"]] for side in bids)
        assert row["cause"] and row["meaning"] and row["has_before"] and row["has_after"]
    stakes = [abs(row["spend_change"]) for row in served["rows"]]
    assert stakes == sorted(stakes, reverse=True) and served["at_stake"] >= sum(stakes)
    shown = sum(row["spend_change"] for row in served["rows"])
    assert shown + served["rest_spend_change"] == pytest.approx(served["spend_change"])
    assert sum(cause["spend_change"] for cause in served["causes"]) == pytest.approx(served["spend_change"])
    assert last["rest_segments"] + len(last["rows"]) == served["total"]
    page = browser.open(console, PAGE)
    largest = page.get_by_role("region", name="Segments with most money at stake").get_by_role("row").nth(1)
    expect(largest).to_contain_text(signed_amount(served["rows"][0]["spend_change"]))
    largest.get_by_role("link", name=amount(served["rows"][0]["after_cpm"])).click()
    expect(page.locator(".answer")).to_contain_text(f"It bids {amount(served['rows'][0]['after_cpm'])} CPM")


def test_the_changes_of_the_later_runs_spend_sum_to_that_of_the_forecasts(answer):
    """Both read the later run's curves; the earlier run's forecast was made on its own."""
    spend = next(one for one in answer["forecasts"] if one["name"] == "spend a day")
    assert answer["served"]["spend_change"] == pytest.approx(spend["change"], rel=0.5)
    assert answer["served"]["at_stake"] < spend["after"]["value"]


def test_a_run_against_itself_changes_nothing(console, business):
    run_id = business.first.run_id
    with console.http() as http:
        same = http.get(API, params={"earlier": run_id, "later": run_id}).json()
        page = http.get(PAGE, params={"earlier": run_id, "later": run_id})
    assert (same["served"]["total"], same["comparison"]["config"]) == (0, [])
    assert "No served bid changes." in page.text and "The settings are the same." in page.text


def test_only_the_clients_own_readable_runs_are_compared(console, business):
    run_id = business.first.run_id
    with console.http("other") as http:
        assert http.get(API).status_code == 404
        assert http.get("/api/clients/rx_web/compare", params={"earlier": run_id, "later": run_id}).status_code == 404
    with console.http() as http:
        alien = http.get("/api/clients/rx_web/compare", params={"earlier": run_id, "later": run_id})
        empty = http.get("/clients/drugs_com/compare")
    assert alien.status_code == 404 and "has no run" in alien.json()["detail"]
    assert empty.status_code == 200 and "There are not two runs to compare" in empty.text
    with console.http(None) as http:
        assert http.get(API).status_code == 401
