"""Inspect a request: why this bid, why no bid, and what was live then; the same prices as the bidder gives."""

import json

import pytest
from pipeline.driver import ENTITY, NOW
from playwright.sync_api import expect

from lab.market.published import read_bid_table

PAGE, API = f"/clients/{ENTITY}/inspect", f"/api/clients/{ENTITY}/inspect"
BEFORE_THE_SPLIT = "2026-02-04T07:30"


@pytest.fixture(scope="module")
def segment(console, tmp_path_factory) -> tuple[dict[str, str], float]:
    """Return the macros of the first run's first segment that bids, and its bid."""
    folder, store, first = tmp_path_factory.mktemp("first"), console.business.systems.store, console.business.first
    for key in store.list_keys(first.output_uri):
        store.get_file(first.output_uri + key.rsplit("/", 1)[-1], folder / key.rsplit("/", 1)[-1])
    table = read_bid_table(folder)
    key, bid = next((key, bid) for key, bid in table.bids.items() if bid > 0)
    manifest = json.loads((folder / "manifest.json").read_text())
    macros = manifest["bidding"]["macro_combination"].split("|")
    return dict(zip(macros, key.split("|"), strict=True)), bid


def ask(console, request, *, at=None, user="anna"):
    with console.http(user) as http:
        return http.post(API, json={"request": json.dumps(request), "at": at})


def test_the_price_is_the_published_bid_with_every_step(console, segment):
    macros, bid = segment
    answer = ask(console, {"entity_code": ENTITY, "macros": macros, "auction_id": "a"}, at=BEFORE_THE_SPLIT).json()
    (one,) = answer["impressions"]
    assert (one["run_id"], one["traffic_pct"]) == (console.business.first.run_id, 100)
    assert one["segment_key"] == "|".join(macros.values()) and one["bid_cpm"] == pytest.approx(bid)
    assert [step["name"] for step in one["steps"]] == ["Base bid", "Domain multiplier", "NPI multiplier", "Cap"]
    assert one["steps"][-1]["bid_cpm"] == one["bid_cpm"]


def test_macros_alone_ask_the_client_of_the_page_and_no_other(console, segment):
    macros, bid = segment
    (one,) = ask(console, {"macros": macros, "auction_id": "a"}, at=BEFORE_THE_SPLIT).json()["impressions"]
    assert one["bid_cpm"] == pytest.approx(bid)
    other = ask(console, {"entity_code": "drugs_com", "macros": macros, "auction_id": "a"})
    assert other.status_code == 422 and "entity_code is 'drugs_com'; this is drugs_hcp" in other.json()["detail"]


def test_a_floor_above_the_bid_is_why_there_is_no_bid(console, segment, browser):
    macros, bid = segment
    page = browser.open(console, PAGE)
    request = {"entity_code": ENTITY, "macros": macros, "auction_id": "a", "floor_cpm": bid + 1}
    page.get_by_label("Bid request").fill(json.dumps(request))
    page.get_by_label("At (UTC").fill(BEFORE_THE_SPLIT)
    page.get_by_role("button", name="Price it").click()
    expect(page.get_by_role("heading", name="Impression 1: no bid")).to_be_visible()
    expect(page.locator("main")).to_contain_text("below the floor of the request")
    expect(page.get_by_role("row", name="Floor")).to_contain_text("no bid")
    expect(page.get_by_role("link", name="|".join(macros.values()))).to_be_visible()


def test_each_impression_is_priced_by_the_run_that_the_split_gives_its_id(console):
    runs = {console.business.first.run_id, console.business.second.run_id}
    imps = [{"id": "1"}, {"id": "2", "bidfloor": 2.5, "bidfloorcur": "EUR"}]
    found = [ask(console, {"id": f"auction-{number}", "imp": imps}).json()["impressions"] for number in range(20)]
    assert {pair[0]["run_id"] for pair in found} == runs
    assert {pair[1]["reason"] for pair in found} == {"currency"}
    assert all(pair[0]["reason"] in ("fallback", "no_macro") for pair in found)


@pytest.mark.parametrize(
    ("request_text", "at", "said"),
    [
        ("not json", None, "the body is not JSON"),
        ('{"imp": []}', None, "not an OpenRTB bid request: id is missing, or not text"),
        ('{"id": "1", "imp": [{"id": "1"}]}', "2020-01-01T00:00", "nothing was live at 2020-01-01 00:00 UTC"),
    ],
)
def test_what_cannot_be_priced_says_why(console, request_text, at, said):
    with console.http() as http:
        answer = http.post(API, json={"request": request_text, "at": at})
        page = http.post(PAGE, data={"request": request_text, "at": at or ""})
    assert answer.status_code in (409, 422) and said in answer.json()["detail"]
    assert page.status_code == answer.status_code and said in page.text


def test_only_who_may_read_the_client_may_ask(console):
    request = {"id": "1", "imp": [{"id": "1"}]}
    statuses = {user: ask(console, request, user=user).status_code for user in (None, "stranger", "other", "viewer")}
    assert statuses == {None: 401, "stranger": 404, "other": 404, "viewer": 200}
    assert NOW.isoformat() < ask(console, request).json()["at"]
