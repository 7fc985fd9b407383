"""The page Split where the object store or a run's files are away, and after a hundred splits."""

from dataclasses import replace
from datetime import timedelta

import boto3
import pytest
from botocore.config import Config
from console.conftest import TODAY, serve_console
from console.splitting import PAGE, count_statements, engine_of, live, post, run_ids, seen
from pipeline.driver import ENTITY
from playwright.sync_api import expect
from sqlalchemy import update

from optimizer.artifacts.store import ObjectStore
from optimizer.control_plane import tables
from optimizer.control_plane.audit import Author
from optimizer.control_plane.deployments import deploy, set_control
from optimizer.control_plane.engine import transaction


@pytest.fixture
def stranded_console(own_console):
    """Return a console whose object store does not answer."""
    once = Config(retries={"max_attempts": 0}, connect_timeout=1, proxies={})
    fields = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url="http://127.0.0.1:9", config=once, **fields)
    business = own_console.business
    with serve_console(replace(business, systems=replace(business.systems, store=ObjectStore(client)))) as served:
        yield served


def test_without_s3_the_preview_says_so_and_only_an_unchecked_deployment_goes_on(stranded_console, browser):
    first, second = run_ids(stranded_console)
    wanted = {"split": {first: 50, second: 50}}
    preview = post(stranded_console, "/split/preview", wanted).json()
    assert [check["is_loadable"] for check in preview["files"]] == [None, None] and preview["needs_unchecked"]
    win_rate, _, spend = preview["figures"]
    assert win_rate["after"]["value"] and win_rate["after"]["low"] is None and spend["after"]["value"] is None
    decided = {**wanted, "comment": "the bidders must change now", "seen": preview["seen"]}
    refused = post(stranded_console, "/split", decided)
    assert refused.status_code == 503 and live(stranded_console) == {first: 80, second: 20}

    page = browser.open(stranded_console, PAGE)
    page.get_by_label(f"Percent of run {first}").fill("50")
    page.get_by_label(f"Percent of run {second}").fill("50")
    page.get_by_role("button", name="Preview").click()
    region = page.get_by_role("region", name="Preview")
    expect(region.get_by_role("row", name=first)).to_contain_text("could not be checked")
    region.get_by_label("Why").fill("the bidders must change now")
    region.get_by_label("Deploy without the check of the files").check()
    region.get_by_role("button", name="Deploy").click()
    expect(page.get_by_text("The split is live.")).to_be_visible()
    assert live(stranded_console) == {first: 50, second: 50}


def test_without_s3_a_rollback_needs_the_same_word(stranded_console):
    first, second = run_ids(stranded_console)
    decided = {"comment": "back", "seen": seen(stranded_console)}
    refused = post(stranded_console, "/rollback", decided)
    assert refused.status_code == 503 and "the object store does not answer" in refused.json()["detail"]
    assert live(stranded_console) == {first: 80, second: 20}
    assert post(stranded_console, "/rollback", {**decided, "unchecked": True}).status_code == 200
    assert live(stranded_console) == {first: 100}


def test_a_run_whose_files_changed_is_named_and_not_deployed(own_console):
    first, second = run_ids(own_console)
    with transaction(engine_of(own_console)) as connection:
        of_second = update(tables.runs).where(tables.runs.c.run_id == second)
        connection.execute(of_second.values(s3_output_path="s3://pipeline/nowhere/"))
    preview = post(own_console, "/split/preview", {"split": {first: 50, second: 50}}).json()
    assert [check["is_loadable"] for check in preview["files"]] == [True, False] and not preview["can_deploy"]
    assert preview["served"] is None and "cannot be read now" in preview["served_note"]
    body = {"split": {first: 50, second: 50}, "comment": "x", "seen": preview["seen"]}
    answer = post(own_console, "/split", body)
    assert answer.status_code == 409 and f"the files of run {second} cannot be served" in answer.json()["detail"]


def test_the_page_takes_as_many_statements_after_a_hundred_splits(own_console):
    first, second = run_ids(own_console)
    set_control(engine_of(own_console), entity_code=ENTITY, run_id=first, author=Author("anna"), now=TODAY)
    with own_console.http() as http, count_statements(engine_of(own_console)) as few:
        assert http.get(PAGE).status_code == 200
    for number in range(100):
        split = {first: 1 + number % 98, second: 99 - number % 98}
        deploy(
            engine_of(own_console),
            entity_code=ENTITY,
            split=split,
            author=Author("anna"),
            now=TODAY - timedelta(minutes=200 - number),
        )
    with own_console.http() as http, count_statements(engine_of(own_console)) as many:
        assert http.get(f"{PAGE}?history=60").status_code == 200
    assert len(many) == len(few)
