"""The page Split with a canary, and with a control that a user chooses."""

from datetime import timedelta

import pytest
from console.conftest import TODAY
from console.splitting import API, PAGE, audit_of, copy_run, engine_of, live, post, run_ids, seen, set_split
from pipeline.driver import ENTITY
from playwright.sync_api import expect
from sqlalchemy import update

from optimizer.artifacts.serving_snapshot import read_snapshot, snapshot_uri
from optimizer.control_plane import canaries, tables
from optimizer.control_plane.canary_splits import start_canary
from optimizer.control_plane.engine import transaction
from optimizer.control_plane.entities import read_definition
from optimizer.control_plane.live_records import replace_verdicts
from optimizer.control_plane.live_rows import LiveVerdict
from optimizer.control_plane.promotions import Promotion
from optimizer.core.live.canary_plan import read_plan


@pytest.fixture
def tried_console(own_console):
    """Return a console whose client tries its second run on the first step of a plan."""
    first, second = run_ids(own_console)
    engine = engine_of(own_console)
    with transaction(engine) as connection:
        connection.execute(
            update(tables.deployments)
            .where(tables.deployments.c.run_id == second)
            .values(is_active=False, deactivated_at=TODAY, run_id=first)
        )
        of_first = (tables.deployments.c.run_id == first, tables.deployments.c.is_active.is_(True))
        connection.execute(update(tables.deployments).where(*of_first).values(traffic_pct=100, source="scheduled"))
    plan = read_plan("5@1d, 20@2d, 100")
    start_canary(engine, Promotion(second), entity_code=ENTITY, canary_plan=plan, now=TODAY)
    return own_console


def test_a_canary_shows_its_steps_and_what_is_missing_and_is_paused_and_resumed(tried_console, browser):
    _, second = run_ids(tried_console)
    page = browser.open(tried_console, PAGE)
    card = page.get_by_role("region", name="Canary")
    expect(card).to_contain_text("step 1 of 2, 5 % since 2026-02-12 02:30\xa0UTC, running by airflow:canary")
    expect(card).to_contain_text("Next: 20 % of the traffic.")
    expect(card).to_contain_text("the days of its step end at 2026-02-13 02:30 UTC")
    for word, status, done in (
        ("Pause", "paused", "The canary is paused"),
        ("Resume", "running", "The canary goes on"),
    ):
        card.locator("summary", has_text=f"{word}…").click()
        card.get_by_label("Why").fill(f"{word} for the weekend")
        card.get_by_role("button", name=f"{word} the canary").click()
        expect(page.get_by_role("status").first).to_contain_text(done)
        tried = canaries.read_open(engine_of(tried_console), ENTITY)
        assert (tried.run_id, tried.status, tried.changed_by) == (second, status, "anna")
        assert audit_of(tried_console)[0].comment == f"{word} for the weekend"
    with tried_console.http() as http:
        assert http.get(f"{API}/split").json()["canary"]["step"] == 1


def test_a_canary_in_its_last_step_says_which_verdict_is_missing(tried_console):
    first, _ = run_ids(tried_console)
    engine = engine_of(tried_console)
    set_split(tried_console, {first: 100})
    with transaction(engine) as connection:
        connection.execute(update(tables.deployments).values(source="scheduled"))
    plan, tomorrow = read_plan("10"), TODAY + timedelta(days=1)
    third = copy_run(engine, first, run_id="third", created_at=TODAY)
    start_canary(engine, Promotion(third), entity_code=ENTITY, canary_plan=plan, now=tomorrow)
    with tried_console.http() as http:
        missing = http.get(f"{API}/split").json()["canary"]["missing"]
        assert missing == ["it was not measured yet: the DAG “monitor” compares it every morning"]
        judged = {"run_id": third, "compared_with": "split", "control_run_id": first, "days": 2}
        verdicts = [
            LiveVerdict(**judged, figure="win_rate", verdict="inconclusive", reason="2 of 3 days"),
            LiveVerdict(**judged, figure="cpm", verdict="on target"),
        ]
        entity_id = read_definition(engine, ENTITY).entity.entity_id
        replace_verdicts(engine, entity_id, verdicts, measured_on=tomorrow.date(), now=tomorrow)
        assert http.get(f"{API}/split").json()["canary"]["missing"] == ["win rate is inconclusive: 2 of 3 days"]


def test_a_canary_is_aborted_after_a_preview_of_what_comes_back(tried_console, browser):
    first, second = run_ids(tried_console)
    page = browser.open(tried_console, PAGE)
    page.get_by_role("region", name="Canary").get_by_role("link", name="Abort…").click()
    expect(page.get_by_role("row", name=second)).to_contain_text("5 %0 %")
    expect(page.get_by_text(f"It ends the canary of run {second} as aborted")).to_be_visible()
    page.get_by_label("Why").fill("not now")
    page.get_by_role("button", name="Abort the canary").click()
    expect(page.get_by_text("The canary is aborted")).to_be_visible()
    assert live(tried_console) == {first: 100}
    assert canaries.read_open(engine_of(tried_console), ENTITY) is None
    assert (audit_of(tried_console)[0].action, audit_of(tried_console)[0].comment) == ("abort_canary", "not now")


def test_a_canary_that_was_ended_meanwhile_is_not_paused(tried_console):
    first, second = run_ids(tried_console)
    set_split(tried_console, {first: 100})
    answer = post(tried_console, "/canary", {"action": "pause", "run_id": second, "comment": "wait"})
    assert answer.status_code == 412 and f"the canary of run {second} was ended meanwhile" in answer.json()["detail"]
    with tried_console.http() as http:
        assert http.get(f"{API}/canary/preview").status_code == 409
    foreign = post(tried_console, "/canary", {"action": "abort", "run_id": first, "comment": "take it off"})
    assert foreign.status_code == 409 and live(tried_console) == {first: 100}


def test_a_chosen_control_gets_its_share_of_the_next_split_and_none_can_be_chosen(own_console, browser):
    first, second = run_ids(own_console)
    with transaction(engine_of(own_console)) as connection:
        of_pct = tables.entity_configs.c.config_key == "control_pct"
        connection.execute(update(tables.entity_configs).where(of_pct).values(config_value="5"))
    page = browser.open(own_console, PAGE)
    card = page.get_by_role("region", name="Control")
    expect(card).to_contain_text("what the optimizer saves is not measured")
    card.locator("summary").click()
    card.get_by_label("Control").select_option(first)
    card.get_by_label("Why").fill("measure against the first run")
    card.get_by_role("button", name="Choose").click()
    expect(page.get_by_text("The control is chosen.")).to_be_visible()
    assert read_definition(engine_of(own_console), ENTITY).entity.control_run_id == first
    assert audit_of(own_console)[0].comment == "measure against the first run"

    wanted = {"split": {second: 100}}
    answer = post(own_console, "/split/preview", wanted).json()
    assert answer["split"] == {second: 95, first: 5}
    assert post(own_console, "/split/preview", {**wanted, "no_control": True}).json()["split"] == {second: 100}
    decided = {**wanted, "comment": "the second run", "seen": answer["seen"]}
    assert post(own_console, "/split", decided).status_code == 200 and live(own_console) == answer["split"]

    late = post(own_console, "/control", {"run_id": second, "comment": "mine", "seen": []})
    assert late.status_code == 412 and f"its control was changed meanwhile to {first}" in late.json()["detail"]
    none = post(own_console, "/control", {"run_id": None, "comment": "no control", "seen": [first]})
    assert none.json()["control"] == {
        **{"run_id": None, "configured_pct": 5, "live_pct": 0, "is_declined": True, "is_wanted": False}
    }


def test_every_change_of_the_split_writes_the_snapshot_for_other_bidders(tried_console):
    systems = tried_console.business.systems
    uri = snapshot_uri(read_definition(systems.engine, ENTITY).entity.s3_base_path)
    first, second = run_ids(tried_console)
    for path, body in (
        ("/canary", {"action": "abort", "run_id": second}),
        ("/split", {"split": {first: 50, second: 50}}),
        ("/rollback", {}),
    ):
        decided = {"comment": "try it", **({} if path == "/canary" else {"seen": seen(tried_console)}), **body}
        assert post(tried_console, path, decided).status_code == 200
        written = read_snapshot(systems.store, uri)
        assert {run.run_id: run.traffic_pct for run in written.runs} == live(tried_console)
