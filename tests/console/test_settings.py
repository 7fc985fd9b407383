"""The page Settings: reviewed before it is written, with its author and reason, never on top of another change."""

import pytest
from pipeline.driver import ENTITY
from playwright.sync_api import expect

from optimizer.control_plane.audit import read_audit
from optimizer.control_plane.entity_values import read_values

PAGE, API = f"/clients/{ENTITY}/settings", f"/api/clients/{ENTITY}/settings"


def values_of(console):
    return {key: value.config_value for key, value in read_values(console.business.systems.engine, ENTITY).items()}


def test_a_trader_raises_the_target_and_says_why(own_console, browser):
    page = browser.open(own_console, PAGE)
    page.get_by_label("Target win rate").fill("0.35")
    page.get_by_role("button", name="Review the changes").click()
    row = page.get_by_role("row", name="Target win rate")
    expect(row).to_contain_text("default (0.3)")
    expect(row).to_contain_text("0.35")
    assert "target_win_rate" not in values_of(own_console)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Review the changes")).to_be_visible()  # the comment is missing
    page.get_by_label("Why").fill("reach for the launch")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Saved")
    expect(page.get_by_label("Target win rate")).to_have_value("0.35")
    expect(page.get_by_role("row", name="reach for the launch")).to_contain_text("anna")
    kept = read_values(own_console.business.systems.engine, ENTITY)["target_win_rate"]
    assert (kept.config_value, kept.updated_by) == ("0.35", "anna")
    newest = read_audit(own_console.business.systems.engine, ENTITY)[0]
    assert (newest.action, newest.comment) == ("change_config", "reach for the launch")


def test_a_value_out_of_bounds_is_named_in_the_review_and_cannot_be_saved(own_console):
    with own_console.http() as http:
        form = {"set.target_win_rate": "1.4", "set.target_margin": "0,4"}
        page = http.post(f"{PAGE}/review", data=form)
        assert "target_win_rate=1.4 is above its maximum 0.99; set it between 0.01 and 0.99" in page.text
        assert "is not a number; write 0.4" in page.text and ">Save<" not in page.text
        answer = http.post(PAGE, data={**form, "comment": "no"})
        assert answer.status_code == 422 and "target_win_rate=1.4" in answer.text
    assert "target_win_rate" not in values_of(own_console)


def test_of_two_people_the_second_sees_what_the_first_changed(own_console, open_browser):
    pages = [open_browser().open(own_console, PAGE) for _ in range(2)]
    for page, value in zip(pages, ("0.35", "0.4"), strict=True):
        page.get_by_label("Target win rate").fill(value)
        page.get_by_role("button", name="Review the changes").click()
        page.get_by_label("Why").fill(f"to {value}")
    pages[0].get_by_role("button", name="Save").click()
    expect(pages[0].get_by_role("status")).to_contain_text("Saved")
    pages[1].get_by_role("button", name="Save").click()
    expect(pages[1].get_by_role("heading", name="Precondition Failed")).to_be_visible()
    expect(pages[1].locator("main")).to_contain_text("target_win_rate is 0.35, set by anna")
    assert values_of(own_console)["target_win_rate"] == "0.35"


def test_the_api_reads_previews_and_changes_the_same_settings(own_console):
    with own_console.http() as http:
        before = {one["key"]: one for one in http.get(API).json()["settings"]}
        assert before["target_win_rate"]["source"] == "default" and before["target_win_rate"]["maximum"] == "0.99"
        (change,) = http.post(f"{API}/preview", json={"target_win_rate": "0.35", "half_life_days": None}).json()
        assert (change["before"], change["after"], change["error"]) == (None, "0.35", None)
        wanted = {"set": {"target_win_rate": "0.35"}, "seen": {"target_win_rate": None}, "comment": "reach"}
        assert http.patch(API, json=wanted).json()["target_win_rate"]["updated_by"] == "anna"
        again = http.patch(API, json=wanted)
        assert again.status_code == 412 and "set by anna" in again.json()["detail"]
        after = {one["key"]: one for one in http.get(API).json()["settings"]}
        assert (after["target_win_rate"]["value"], after["target_win_rate"]["source"]) == (0.35, "entity")


@pytest.mark.parametrize(
    ("user", "status"), [(None, 401), ("stranger", 404), ("other", 404), ("viewer", 403), ("anna", 200)]
)
def test_only_who_may_trigger_the_dag_changes_settings(own_console, user, status):
    wanted = {"set": {"target_win_rate": "0.35"}, "comment": "reach"}
    with own_console.http(user) as http:
        assert http.patch(API, json=wanted).status_code == status
    assert ("target_win_rate" in values_of(own_console)) == (status == 200)


@pytest.mark.parametrize(
    ("change", "headers", "status", "detail"),
    [
        ({"comment": "  "}, {}, 422, "the comment is empty"),
        ({"comment": "x" * 10_000}, {}, 422, "comment: String should have at most 1000 characters"),
        ({"set": {"dry_run_please": "1"}}, {}, 422, "dry_run_please cannot be set here; known are"),
        ({"set": {}}, {}, 422, "set: "),
        ({}, {"Origin": "https://elsewhere.example"}, 403, "needs the Origin of this server's own pages"),
        ({}, {"Origin": ""}, 403, "needs the Origin"),
    ],
)
def test_a_refused_change_says_why_and_changes_nothing(own_console, change, headers, status, detail):
    before = values_of(own_console)
    wanted = {"set": {"target_win_rate": "0.35"}, "comment": "reach", **change}
    with own_console.http() as http:
        answer = http.patch(API, json=wanted, headers=headers)
    assert answer.status_code == status and detail in answer.json()["detail"]
    assert values_of(own_console) == before


def test_a_form_that_is_too_large_is_refused_unread(own_console):
    with own_console.http() as http:
        assert http.post(PAGE, data={"comment": "x" * 300_000}).status_code == 413
