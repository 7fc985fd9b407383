"""Who may see and change a client's split."""

import pytest
from console.splitting import API, PAGE, READS, WRITES, audit_of, engine_of, post, run_ids
from pipeline.driver import ENTITY
from playwright.sync_api import expect

from optimizer.control_plane.deployment_history import read_history


def body_of(console, path: str) -> dict:
    first, second = run_ids(console)
    return {
        "/split": {"split": {first: 50, second: 50}, "seen": [1]},
        "/split/preview": {"split": {first: 50, second: 50}},
        "/rollback": {"seen": [1]},
        "/pin": {"is_pinned": True, "seen": [1]},
        "/canary": {"action": "pause", "run_id": second},
        "/control": {"run_id": None, "seen": []},
    }[path] | ({} if path.endswith("preview") else {"comment": "x"})


@pytest.mark.parametrize(("user", "status"), [(None, 401), ("stranger", 404), ("other", 404), ("viewer", 200)])
def test_only_readers_of_the_clients_dag_see_its_split(console, user, status):
    with console.http(user) as http:
        assert {path: http.get(f"{API}{path}").status_code for path in READS} == dict.fromkeys(READS, status)
        assert {path: http.get(f"{PAGE}{path}").status_code for path in ("", "/preview", "/rollback", "/abort")} == (
            dict.fromkeys(("", "/preview", "/rollback", "/abort"), status)
        )
    assert post(console, "/split/preview", body_of(console, "/split/preview"), user=user).status_code == status


@pytest.mark.parametrize(("user", "status"), [(None, 401), ("other", 404), ("viewer", 403)])
def test_only_writers_change_what_is_live(own_console, user, status):
    before = read_history(engine_of(own_console), ENTITY), audit_of(own_console, limit=50)
    for path in WRITES:
        assert post(own_console, path, body_of(own_console, path), user=user).status_code == status, path
    with own_console.http(user) as http:
        for path in ("", "/rollback", "/pin", "/canary", "/control"):
            answer = http.post(f"{PAGE}{path}", data={"comment": "x", "action": "pin"})
            assert answer.status_code == status, path
    assert (read_history(engine_of(own_console), ENTITY), audit_of(own_console, limit=50)) == before


def test_another_sites_page_cannot_write(own_console):
    before = read_history(engine_of(own_console), ENTITY)
    foreign = {"Origin": "https://evil.example"}
    with own_console.http() as http:
        for path in WRITES:
            answer = http.post(f"{API}{path}", json=body_of(own_console, path), headers=foreign)
            assert answer.status_code == 403, path
    assert read_history(engine_of(own_console), ENTITY) == before


def test_an_unknown_client_has_no_split(console):
    with console.http() as http:
        for path in ("/split", "/split/rollback", "/split/abort", "/split/preview"):
            assert http.get(f"/clients/nowhere{path}").status_code == 404, path
        for path in ("/split", "/rollback/preview", "/canary/preview", "/history"):
            assert http.get(f"/api/clients/nowhere{path}").status_code == 404, path


def test_a_viewer_sees_the_split_and_its_preview_but_no_button_that_changes_it(console, open_browser):
    first, _ = run_ids(console)
    page = open_browser("viewer").open(console, PAGE)
    expect(page.get_by_role("row", name=first).first).to_be_visible()
    expect(page.locator("form[method=post]")).to_have_count(0)
    page.get_by_role("button", name="Preview").click()
    preview = page.get_by_role("region", name="Preview")
    expect(preview.get_by_text("This split is live already.")).to_be_visible()
    expect(preview.get_by_text("you need Airflow's right to trigger its DAG")).to_be_visible()
    expect(page.locator("form[method=post]")).to_have_count(0)
