"""The page Split: the trader's questions, from the click to the rows in the control plane."""

import re

from console.splitting import (
    API,
    PAGE,
    audit_of,
    engine_of,
    live,
    post,
    run_ids,
    seen,
    set_split,
)
from pipeline.driver import ENTITY
from playwright.sync_api import expect

from optimizer.control_plane.deployment_history import read_active, read_history
from optimizer.control_plane.splits import percents_of


def test_give_it_20_percent_what_will_that_change(own_console, browser):
    first, second = run_ids(own_console)
    set_split(own_console, {first: 100})
    page = browser.open(own_console, PAGE)
    page.get_by_label(f"Percent of run {second}").fill("20")
    expect(page.get_by_text("The percents sum to 120 %: 20 % too many.")).to_be_visible()
    page.get_by_role("button", name=f"Give run {first} the rest").click()
    expect(page.get_by_text("The percents sum to 100 %.")).to_be_visible()
    page.get_by_role("button", name="Preview").click()
    preview = page.get_by_role("region", name="Preview")
    expect(preview.get_by_role("row", name=second)).to_contain_text("0 %20 %")
    expect(preview.get_by_role("row", name=second)).to_contain_text("bidders can load them")
    expect(preview.get_by_role("row", name="Win rate")).to_contain_text("pp")
    expect(preview.get_by_text(re.compile(r"[\d,]+ of [\d,]+ segments get another bid"))).to_be_visible()
    expect(preview.get_by_text("Scheduled runs leave this split alone for 3 days")).to_be_visible()
    assert live(own_console) == {first: 100}

    preview.get_by_label("Why").fill("try the higher target")
    preview.get_by_role("button", name="Deploy").click()
    expect(page.get_by_text("The split is live.")).to_be_visible()
    rows = read_active(engine_of(own_console), ENTITY)
    assert percents_of(rows) == {first: 80, second: 20}
    assert {(row.deployed_by, row.source, row.comment) for row in rows} == {("anna", "manual", "try the higher target")}
    (audit,) = audit_of(own_console)
    assert (audit.actor, audit.action, audit.comment) == ("anna", "deploy", "try the higher target")
    assert (audit.before_value, audit.after_value["split"]) == ({"split": {first: 100}}, {first: 80, second: 20})


def test_take_it_back(own_console, browser):
    first, second = run_ids(own_console)
    page = browser.open(own_console, PAGE)
    page.get_by_role("link", name="Take it back…").click()
    expect(page.get_by_role("row", name=first)).to_contain_text("80 %100 %")
    expect(page.get_by_role("row", name=second)).to_contain_text("20 %0 %")
    page.get_by_label("Why").fill("win rate fell")
    page.get_by_role("button", name="Take it back").click()
    expect(page.get_by_text("The earlier split is live again.")).to_be_visible()
    rows = read_active(engine_of(own_console), ENTITY)
    assert [(row.run_id, row.traffic_pct, row.deployed_by, row.comment) for row in rows] == [
        (first, 100, "anna", "win rate fell")
    ]
    (audit,) = audit_of(own_console)
    assert (audit.actor, audit.comment, audit.after_value["split"]) == ("anna", "win rate fell", {first: 100})
    page.get_by_role("link", name="Take it back…").click()
    expect(page.get_by_role("alert")).to_contain_text("there is no earlier split to go back to")
    expect(page.get_by_role("button")).to_have_count(0)


def test_what_was_live_last_tuesday_at_15_and_who_put_it_there(own_console, browser):
    first, second = run_ids(own_console)
    set_split(own_console, {second: 100}, by="cleo")
    page = browser.open(own_console, PAGE)
    page.get_by_label("Time (UTC)").fill("2026-02-10T15:00")
    page.get_by_role("button", name="Look up").click()
    expect(page).to_have_url(re.compile(r"\?at=2026-02-10T15%3A00#then$"))
    answer = page.locator(".answer")
    expect(answer).to_contain_text(f"2026-02-10 15:00\xa0UTC: run {first} 80 %, run {second} 20 %.")
    expect(answer).to_contain_text("anna put it there at 2026-02-04 08:00\xa0UTC (manual): “try a higher target”")
    expect(answer).to_contain_text("It was live until 2026-02-12 02:30\xa0UTC.")
    rows = [row for row in read_history(engine_of(own_console), ENTITY) if row.comment == "try a higher target"]
    assert {row.run_id: row.traffic_pct for row in rows} == {first: 80, second: 20}
    assert {row.deployed_by for row in rows} == {"anna"}


def test_the_page_works_without_script(own_console, open_browser):
    first, second = run_ids(own_console)
    page = open_browser(java_script_enabled=False).open(own_console, PAGE)
    page.get_by_label(f"Percent of run {first}").fill("50")
    page.get_by_label(f"Percent of run {second}").fill("50")
    page.get_by_label("Pin: scheduled runs do not replace it").check()
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("heading", name="Preview of the split")).to_be_visible()
    expect(page.get_by_text("it is pinned until you unpin it")).to_be_visible()
    page.get_by_role("link", name="Change the percents").click()
    expect(page.get_by_label(f"Percent of run {second}")).to_have_value("50")
    page.get_by_role("button", name="Preview").click()
    page.get_by_label("Why").fill("half and half")
    page.get_by_role("button", name="Deploy").click()
    expect(page.get_by_text("The split is live.")).to_be_visible()
    assert {(row.traffic_pct, row.is_pinned) for row in read_active(engine_of(own_console), ENTITY)} == {(50, True)}


def test_the_history_shows_splits_and_other_changes_with_their_authors(own_console, browser):
    first, second = run_ids(own_console)
    post(own_console, "/pin", {"is_pinned": True, "comment": "hold for the launch", "seen": seen(own_console)})
    page = browser.open(own_console, PAGE)
    entries = page.locator(".timeline > li")
    expect(entries).to_have_count(3)
    expect(entries.nth(0)).to_contain_text("anna pinned the split")
    expect(entries.nth(0)).to_contain_text("“hold for the launch”")
    expect(entries.nth(0)).to_contain_text(f"audit row {audit_of(own_console)[0].audit_id}")
    expect(entries.nth(1)).to_contain_text(f"80 % {first}, 20 % {second}")
    expect(entries.nth(1)).to_contain_text("live now")
    expect(entries.nth(2)).to_contain_text("anna (approved in Airflow)")


def test_a_run_is_found_by_its_id_and_the_percents_that_were_entered_stay(console, browser):
    first, second = run_ids(console)
    page = browser.open(console, PAGE)
    page.get_by_label(f"Percent of run {first}").fill("33")
    page.get_by_label("Another run").fill(second)
    page.get_by_label("Another run").press("Enter")
    expect(page.get_by_text(f"1 match “{second}”.")).to_be_visible()
    expect(page.get_by_label(f"Percent of run {first}")).to_have_value("33")


def test_the_preview_as_json_has_the_numbers_of_the_page(console):
    first, second = run_ids(console)
    with console.http() as http:
        answer = http.post(f"{API}/split/preview", json={"split": {first: 60, second: 40}}).json()
        shown = http.get(f"{PAGE}/preview", params={f"pct.{first}": 60, f"pct.{second}": 40}).text
    assert answer["split"] == {first: 60, second: 40} and answer["seen"] == seen(console)
    assert [check["is_loadable"] for check in answer["files"]] == [True, True]
    win_rate, cpm, spend = answer["figures"]
    for figure in (win_rate, cpm, spend):
        for side in ("before", "after"):
            assert figure[side]["low"] < figure[side]["value"] < figure[side]["high"]
    assert f"{100 * win_rate['after']['value']:.1f}\xa0%" in shown
    assert f"{cpm['after']['value']:.2f}" in shown and f"{spend['after']['low']:.2f}" in shown
    assert 0 < answer["served"]["changed"] <= answer["served"]["segments"]
    assert f"{answer['served']['changed']:,} of {answer['served']['segments']:,} segments" in shown
    assert 0 < answer["served"]["request_share"] <= 0.2 + 1e-9


def test_the_split_as_json_says_what_is_live_and_what_may_be(console):
    first, second = run_ids(console)
    with console.http("viewer") as http:
        answer = http.get(f"{API}/split").json()
        past = http.get(f"{API}/history", params={"at": "2026-02-05T00:00:00+01:00"}).json()
        before = http.get(f"{API}/history", params={"at": "2026-02-01T00:00:00"}).json()
    assert {row["run_id"]: row["traffic_pct"] for row in answer["live"]} == {first: 80, second: 20}
    assert answer["seen"] == seen(console) and answer["canary"] is None
    assert [choice["run_id"] for choice in answer["choices"]] == [second, first]
    assert past["then"]["at"] == "2026-02-04T23:00:00Z" and past["then"]["found"]["deployed_by"] == "anna"
    assert before["then"]["found"] is None and before["then"]["first_at"] < "2026-02-04T08"


def test_a_time_that_cannot_be_looked_up_is_said_beside_the_field(console):
    with console.http() as http:
        assert "is not a time" in http.get(PAGE, params={"at": "last tuesday"}).text
        assert "is in the future" in http.get(PAGE, params={"at": "2027-01-01T00:00"}).text
        assert http.get(f"{API}/history", params={"at": "2027-01-01T00:00"}).status_code == 422


def test_a_split_is_pinned_and_unpinned_with_a_comment(own_console, browser):
    page = browser.open(own_console, PAGE)
    for word, is_pinned, done in (("Pin", True, "The split is pinned"), ("Unpin", False, "The split is not pinned")):
        page.locator("summary", has_text=f"{word}…").click()
        page.get_by_label("Why").locator("visible=true").fill(f"{word} it")
        page.get_by_role("button", name=f"{word} the split").click()
        expect(page.get_by_role("status").first).to_contain_text(done)
        assert {row.is_pinned for row in read_active(engine_of(own_console), ENTITY)} == {is_pinned}
        (audit,) = audit_of(own_console)
        assert (audit.actor, audit.action, audit.comment) == ("anna", word.lower(), f"{word} it")
