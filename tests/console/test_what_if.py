"""What would target .35 cost? Start it: other settings tried on stored curves, run once, or saved."""

import pytest
from console.conftest import TODAY
from pipeline.driver import ENTITY
from playwright.sync_api import expect

from optimizer.control_plane import runs
from optimizer.control_plane.audit import read_audit
from optimizer.runs.what_if import load_what_if

PAGE, API = f"/clients/{ENTITY}/what-if", f"/api/clients/{ENTITY}/what-if"
WISH = {"target_win_rate": "0.35"}


def ask(console, body, user="anna"):
    with console.http(user) as http:
        return http.post(API, json=body)


def test_the_api_gives_what_the_run_itself_says(console):
    systems, run_id = console.business.systems, console.business.first.run_id
    found = load_what_if(run_id, engine=systems.engine, store=systems.store, now=TODAY).price({"target_win_rate": 0.35})
    answer = ask(console, {"set": WISH}).json()
    assert (answer["live_run_id"], answer["proposal"]["run_id"]) == (run_id, run_id)
    assert answer["proposal"]["wish"] == {"target_win_rate": 0.35} and len(answer["frontier"]) == 9
    for name in ("win_rate", "cpm", "spend_per_day", "margin", "shadow_price"):
        own = getattr(found.proposed, name)
        assert answer["proposal"]["proposed"][name] == {"value": own.value, "low": own.low, "high": own.high}


def test_another_run_is_looked_at_by_its_run_id(console):
    second = console.business.second.run_id
    answer = ask(console, {"run_id": second}).json()
    assert answer["proposal"]["run_id"] == second and answer["live_run_id"] == console.business.first.run_id


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"set": {"target_win_rate": "1.4"}}, 422, "target_win_rate=1.4 is above its maximum"),
        ({"set": {"lookback_days": "30"}}, 422, "lookback_days cannot be changed without a new run"),
        ({"run_id": "nowhere"}, 409, "nowhere"),
    ],
)
def test_what_cannot_be_tried_is_said(console, body, status, message):
    answer = ask(console, body)
    assert answer.status_code == status and message in answer.json()["detail"]


def test_a_stranger_sees_no_client_and_a_viewer_may_not_run(console):
    assert ask(console, {}, user="stranger").status_code == 404
    with console.http("viewer") as http:
        assert http.post(f"{PAGE}/run", data=WISH | {"comment": "x"}).status_code == 403
        assert http.get(PAGE, params=WISH).text.count("Run once with these values") == 0


def test_moving_a_slider_shows_now_proposed_and_the_moves(console, browser):
    page = browser.open(console, PAGE)
    proposed = page.get_by_role("row", name="Win rate").get_by_role("cell").nth(1)
    before = proposed.inner_text()
    page.get_by_label("Target win rate", exact=True).fill("0.2")
    page.get_by_label("Target win rate", exact=True).press("Tab")
    expect(proposed).not_to_have_text(before)
    expect(proposed).to_contain_text(" to ")
    expect(page.get_by_text("changed bids, by the spend a day")).to_be_visible()
    page.wait_for_url("**/what-if?*target_win_rate=0.2*")
    expect(page.locator("#answer canvas")).to_be_visible()


def test_run_once_asks_for_a_comment_and_leaves_a_pending_run_with_these_values(own_console, browser):
    page = browser.open(own_console, f"{PAGE}?target_win_rate=0.35")
    page.get_by_label("Why (required").fill("what would it cost?")
    page.get_by_role("button", name="Run once with these values").click()
    expect(page.get_by_role("status").first).to_contain_text("is requested")
    engine = own_console.business.systems.engine
    row = read_audit(engine, ENTITY, limit=1)[0]
    assert (row.actor, row.comment) == ("anna", "what would it cost?")
    (pending,) = runs.list_unclaimed(engine)
    assert runs.read_run_values(engine, pending.run_id) == {"target_win_rate": "0.35"}


def test_save_leads_to_the_review_of_the_settings(own_console, browser):
    page = browser.open(own_console, f"{PAGE}?target_win_rate=0.35")
    page.get_by_role("button", name="Save for this client").click()
    expect(page.get_by_role("heading", name="Review the changes")).to_be_visible()
    expect(page.get_by_role("row", name="target_win_rate")).to_contain_text("0.35")
