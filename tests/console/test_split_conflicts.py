"""Changes of the split that are refused: decided on an older split, or impossible."""

import pytest
from console.splitting import PAGE, READS, WRITES, audit_of, copy_run, engine_of, live, post, run_ids, seen, set_split
from pipeline.driver import ENTITY
from playwright.sync_api import expect
from sqlalchemy import select

from optimizer.control_plane import tables
from optimizer.control_plane.deployment_history import read_history
from optimizer.control_plane.engine import reading


def test_two_people_at_once_the_second_sees_what_changed_and_nothing_is_lost(own_console, browser):
    first, second = run_ids(own_console)
    page = browser.open(own_console, f"{PAGE}/preview?pct.{first}=50&pct.{second}=50")
    page.get_by_label("Why").fill("half and half")
    set_split(own_console, {second: 100}, by="cleo")
    page.get_by_role("button", name="Deploy").click()
    refusal = page.get_by_role("alert")
    expect(refusal).to_contain_text("Nothing was changed.")
    expect(refusal).to_contain_text(f"its split was changed meanwhile to run {second} 100 % by cleo")
    assert live(own_console) == {second: 100}
    expect(page.get_by_role("row", name=second)).to_contain_text("100 %50 %")
    expect(page.get_by_label("Why")).to_have_value("half and half")
    page.get_by_role("button", name="Deploy").click()
    expect(page.get_by_text("The split is live.")).to_be_visible()
    assert live(own_console) == {first: 50, second: 50}
    assert [row.actor for row in audit_of(own_console, limit=2)] == ["anna", "cleo"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/split", {"split": "half"}),
        ("/rollback", {}),
        ("/pin", {"is_pinned": True}),
    ],
)
def test_each_change_that_was_decided_on_an_older_split_is_a_412(own_console, path, body):
    first, second = run_ids(own_console)
    body = {name: {first: 50, second: 50} if value == "half" else value for name, value in body.items()}
    decided = {**body, "comment": "as seen", "seen": seen(own_console)}
    set_split(own_console, {second: 100}, by="cleo")
    answer = post(own_console, path, decided)
    assert (answer.status_code, answer.headers["content-type"]) == (412, "application/problem+json")
    assert "changed meanwhile to run" in answer.json()["detail"] and live(own_console) == {second: 100}


def test_a_rollback_that_goes_elsewhere_than_shown_is_a_412(own_console):
    first, second = run_ids(own_console)
    decided = {"comment": "back", "seen": seen(own_console), "split": {second: 100}}
    answer = post(own_console, "/rollback", decided)
    assert answer.status_code == 412 and "goes to another split now" in answer.json()["detail"]
    assert live(own_console) == {first: 80, second: 20}


def test_percents_that_do_not_sum_to_100_cannot_be_deployed(own_console, browser):
    first, second = run_ids(own_console)
    page = browser.open(own_console, PAGE)
    page.get_by_label(f"Percent of run {second}").fill("30")
    page.get_by_role("button", name="Preview").click()
    preview = page.get_by_role("region", name="Preview")
    expect(preview.get_by_role("alert")).to_contain_text("the percents sum to 110; make them sum to 100")
    expect(preview.get_by_role("button", name="Deploy")).to_have_count(0)
    page.get_by_label(f"Percent of run {second}").fill("20")
    expect(preview).to_have_text("The percents were changed: preview them again.")
    answer = post(own_console, "/split", {"split": {first: 80, second: 30}, "comment": "x", "seen": seen(own_console)})
    assert answer.status_code == 409 and "the percents sum to 110" in answer.json()["detail"]
    assert live(own_console) == {first: 80, second: 20}


@pytest.mark.parametrize("text", ["12.5", "-5", "1e1", "\N{ARABIC-INDIC DIGIT FIVE}", "abc", "1000"])
def test_what_is_not_a_whole_percent_is_named(console, text):
    first, second = run_ids(console)
    with console.http() as http:
        shown = http.get(f"{PAGE}/preview", params={f"pct.{first}": text, f"pct.{second}": "100"}).text
    assert f"run {first} has &#39;{text}&#39; percent; give it a whole number from 0 to 100" in shown
    assert "Deploy</button>" not in shown


def test_runs_that_may_not_be_deployed_are_refused_with_the_reason(own_console):
    first, _ = run_ids(own_console)
    with reading(engine_of(own_console)) as connection:
        others = select(tables.entities.c.entity_id).where(tables.entities.c.entity_code != ENTITY)
        other = connection.scalar(others)
    copy_run(engine_of(own_console), first, run_id="failed", status="failed")
    copy_run(engine_of(own_console), first, run_id="foreign", entity_id=other)
    for run_id, reason in (
        ("failed", "run failed is failed; choose a completed run"),
        ("foreign", "run foreign is a run of another entity; choose one of this entity's"),
        (
            "absent",
            "run absent is not in opt_runs; choose one of the entity's runs, `optimizer runs drugs_hcp` lists them",
        ),
    ):
        wanted = {"split": {run_id: 100}}
        assert reason in " ".join(post(own_console, "/split/preview", wanted).json()["problems"])
        answer = post(own_console, "/split", {**wanted, "comment": "x", "seen": seen(own_console)})
        assert answer.status_code == 409 and reason in answer.json()["detail"]
    with own_console.http() as http:
        assert "foreign" not in http.get(PAGE).text


@pytest.mark.parametrize("comment", ["", "   ", "x" * 10_000])
def test_a_change_needs_a_comment_that_fits(own_console, comment):
    first, second = run_ids(own_console)
    before, ids = (read_history(engine_of(own_console), ENTITY), audit_of(own_console, limit=50)), seen(own_console)
    bodies = {
        "/split": {"split": {first: 50, second: 50}, "seen": ids},
        "/rollback": {"seen": ids},
        "/pin": {"is_pinned": True, "seen": ids},
        "/canary": {"action": "abort", "run_id": second},
        "/control": {"run_id": first, "seen": []},
    }
    for path, body in bodies.items():
        assert post(own_console, path, {**body, "comment": comment}).status_code == 422, path
    fields = {f"pct.{first}": "50", f"pct.{second}": "50", "seen": ",".join(map(str, ids)), "comment": comment}
    with own_console.http() as http:
        answer = http.post(PAGE, data=fields)
    assert answer.status_code == 422 and "Nothing was changed." in answer.text
    assert (read_history(engine_of(own_console), ENTITY), audit_of(own_console, limit=50)) == before


def test_markup_and_direction_marks_in_comments_stay_text(own_console, browser):
    hostile = "<script>alert(1)</script> <b>\u202etxet</b> ${7*7} {{ 7 * 7 }}"
    first, second = run_ids(own_console)
    ids = seen(own_console)
    body = {"split": {first: 70, second: 30}, "comment": hostile, "seen": ids}
    assert post(own_console, "/split", body).status_code == 200
    page = browser.open(own_console, f"{PAGE}?at=2026-02-12T02:30")
    shown = hostile.replace("\u202e", "\\u202e")  # a mark that nobody sees would turn the text around it
    expect(page.locator("bdi", has_text="alert(1)")).to_have_text([shown] * 4)
    expect(page.locator("main script, main b")).to_have_count(0)


def test_the_api_describes_its_writes_with_examples(console):
    with console.http() as http:
        described = http.get("/api/openapi.json").json()
    paths = {f"{path}" for path in described["paths"] if path.startswith("/api/clients/{entity_code}/")}
    assert {f"/api/clients/{{entity_code}}{path}" for path in (*READS, *WRITES, "/split/preview")} <= paths
    for path in WRITES:
        post_one = described["paths"][f"/api/clients/{{entity_code}}{path}"]["post"]
        assert post_one["description"] and {"403", "404", "409", "412", "503"} <= post_one["responses"].keys()
        name = post_one["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        fields = described["components"]["schemas"][name]["properties"]
        assert fields["comment"]["examples"] and fields["comment"]["description"]
