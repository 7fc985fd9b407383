"""The segments of a run: found in plain words, and explained number by number."""

import re

import pytest
from console.asking import ask
from playwright.sync_api import expect

from optimizer.core.pricing.segment_search import SegmentIndex
from optimizer.presentation.formats import amount, percent

API = "/api/runs/{}/{}"


@pytest.fixture(scope="module")
def run_id(business):
    return business.second.run_id


@pytest.fixture(scope="module")
def texan(console, run_id):
    """The largest segment of android in Texas."""
    with console.http() as http:
        found = http.get(API.format(run_id, "segments"), params={"search": "TEXAS android"}).json()
    return found["rows"][0]["segment_key"]


def test_why_do_we_bid_that_much_on_texas_android(console, business, systems, browser, run_id, texan):
    told = ask(business, systems, "explain", run_id, texan)
    page = browser.open(console, f"/runs/{run_id}")
    page.get_by_role("searchbox", name="Find a segment").fill("Texas android")
    page.get_by_role("button", name="Find").click()
    page.get_by_role("link", name=texan).click()
    answer = page.locator(".answer")
    expect(answer).to_contain_text(told["reason_text"])
    expect(answer).to_contain_text(f"It bids {amount(told['suggested_bid_cpm'])} CPM")
    steps = page.get_by_role("region", name="From the wanted bid").locator("tbody tr")
    expect(steps).to_have_count(len(told["steps"]))
    for place, step in enumerate(told["steps"]):
        cells = steps.nth(place).locator("th, td")
        for column, text in (
            (0, step["name"].replace("_", " ")),
            (1, amount(step["bid_cpm"])),
            (5, percent(step["win_rate"])),
        ):
            expect(cells.nth(column)).to_have_text(text)
    page.locator(".plot canvas").wait_for()


def test_the_api_says_what_optimizer_explain_says(console, business, systems, run_id, texan):
    told = ask(business, systems, "explain", run_id, texan)
    with console.http() as http:
        answer = http.get(API.format(run_id, "segment"), params={"key": texan}).json()
    assert answer["explanation"] == {name: value for name, value in told.items() if name != "run_id"}
    assert answer["run_id"] == told["run_id"] == run_id
    assert answer["values"] == list(told["features"].values())


def test_the_curve_goes_through_the_bid_within_its_interval(console, run_id, texan):
    with console.http() as http:
        answer = http.get(API.format(run_id, "segment"), params={"key": texan}).json()
    curve, explained = answer["curve"], answer["explanation"]
    pairs = list(zip(curve["bid_cpm"], curve["win_rate"], strict=True))
    below = [rate for bid, rate in pairs if bid <= explained["suggested_bid_cpm"]]
    above = [rate for bid, rate in pairs if bid >= explained["suggested_bid_cpm"]]
    assert below[-1] <= explained["expected_win_rate"] <= above[0]
    assert all(low <= high for low, high in zip(curve["low"], curve["high"], strict=True))
    assert curve["seen"]["low"] <= curve["seen"]["win_rate"] <= curve["seen"]["high"]


@pytest.mark.parametrize("search", ["New York ios", "IOS new  york", "york Ios NEW"])
def test_words_find_segments_in_any_order_and_case(console, run_id, search):
    with console.http() as http:
        found = http.get(API.format(run_id, "segments"), params={"search": search}).json()
    assert found["total"] > 1 and found["segments"] > found["total"]
    for row in found["rows"]:
        assert {"New York", "ios"} <= set(row["values"])


def test_a_search_without_a_match_says_what_words_are_matched(console, browser, run_id):
    page = browser.open(console, f"/runs/{run_id}/segments?search=atlantis")
    expect(page.get_by_role("heading", name="No segment matches")).to_be_visible()
    expect(page.get_by_role("link", name=re.compile("Show all .* segments"))).to_be_visible()


def test_an_unknown_key_is_404_and_names_the_nearest(console, run_id, texan):
    with console.http() as http:
        wrong = http.get(API.format(run_id, "segment"), params={"key": texan.replace("Texas", "Texaz")})
        page = http.get(f"/runs/{run_id}/segments", params={"key": "<script>alert(1)</script>"})
    assert wrong.status_code == 404 and texan in wrong.json()["detail"]
    assert page.status_code == 404 and "<script>alert" not in page.text and "has no bid for segment" in page.text


def test_hostile_values_are_found_and_whole_words_come_first():
    keys = ["%3Cscript%3E|ios", "New%20Yorkshire|ios", "New%20York|ios", "%EMPTY|android", "%ED%A0%80|ios"]
    index = SegmentIndex.of(keys)
    assert index.find("<SCRIPT>", most=9).places == (0,)
    assert index.find("york new", most=9).places == (2, 1)
    assert index.find("none", most=9).places == (3,)
    found = index.find("", most=2)
    assert (found.places, found.total) == ((0, 1), len(keys))
