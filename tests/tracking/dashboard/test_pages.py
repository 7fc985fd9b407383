"""Who may open the pages, what they refuse, and what their headers say; over HTTP, without a browser."""

import html
import re
import uuid
from contextlib import contextmanager

import pytest
from servers.http import open_client
from servers.tracking import Tracking, serving

from optimization_tracking.app import create_app
from optimization_tracking.auth import LoginUser
from optimization_tracking.dashboard.sessions import COOKIE
from optimization_tracking.keys import create_key, revoke_key
from optimizer.names import TRACKING_PREFIX

PAGES = (
    "/",
    "/leaderboard",
    "/groups?by=config.secret",
    "/trend",
    "/compare?run={run}&run={run}",
    "/runs/{run}",
    "/runs/{run}/samples",
)
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'"


@contextmanager
def visiting(base_url: str):
    """A client without a key, at the dashboard."""
    with open_client(f"{base_url}/dashboard") as http:
        yield http


@pytest.fixture
def visitor(tracking: Tracking):
    with visiting(tracking.base_url) as http:
        yield http


@pytest.fixture
def run(shop):
    """Two steps of another name than any other run of the project shop."""
    run = shop.create_run(runName=f"run {uuid.uuid4()}", config={"secret": "pears"}, errorMessage="out of pears")
    shop.post(f"/runs/{run['id']}/iterations/batch", {"iterations": [{"iteration": 0, "score": 1}, {"iteration": 1}]})
    shop.post(f"/runs/{run['id']}/samples", {"samples": [{"iteration": 0, "sampleIndex": 0, "input": "pears"}]})
    return run


def sign_in(http, key, *, headers=None, **fields):
    return http.post("/sign-in", data={"key": key, **fields}, headers=headers)


def path_of(page: str, run) -> str:
    return page.replace("{run}", run["id"], 1).replace("{run}", str(uuid.uuid4()), 1)


@pytest.mark.parametrize("page", PAGES)
def test_without_a_session_every_page_is_the_sign_in_and_leads_back(visitor, run, page):
    path = path_of(page, run)
    for cookie in (None, "forged", "gAAAAAB"):
        answer = visitor.get(path, headers={"Cookie": f"{COOKIE}={cookie}"} if cookie else {})
        assert answer.status_code == 401 and "pears" not in answer.text and run["runName"] not in answer.text
        assert f'name="next" value="{TRACKING_PREFIX}/dashboard{path.replace("&", "&amp;")}"' in answer.text


@pytest.mark.parametrize("page", PAGES)
def test_a_key_shows_nothing_of_another_project(visitor, tracking, run, page):
    sign_in(visitor, tracking.keys["search"])
    answer = visitor.get(path_of(page, run))
    assert answer.status_code == (404 if "{run}" in page else 200)
    assert "pears" not in answer.text and run["runName"] not in answer.text
    unknown = visitor.get(path_of(page, {"id": str(uuid.uuid4())}))
    assert unknown.status_code == answer.status_code
    if "{run}" in page:
        assert unknown.text == answer.text
    foreign = visitor.get(page.split("?")[0].replace("{run}", run["id"]), params={"projectId": "shop"})
    assert foreign.status_code == 404 and "pears" not in foreign.text


def test_a_session_ends_with_its_key_and_needs_the_scope_read(visitor, tracking):
    with tracking.connect() as connection:
        key, made = create_key(connection, "shop", name="short")
        writing, _ = create_key(connection, "shop", name="writer", scopes=("write",))
    assert "may only write" in sign_in(visitor, writing).text and not visitor.cookies
    assert sign_in(visitor, key).status_code == 303
    assert visitor.get("/").status_code == 200
    assert visitor.get("/", headers={"X-API-Key": "sk_live_other"}).status_code == 401
    with tracking.connect() as connection:
        revoke_key(connection, made.prefix)
    assert visitor.get("/").status_code == 401


@pytest.mark.parametrize(
    "key", ["", "pears", "sk_live_", "sk_live_é", "sk_live_a b", "sk_live_\r\nX: y", "sk_live_" + "a" * 9999]
)
def test_an_invalid_key_starts_no_session(visitor, key):
    answer = sign_in(visitor, key)
    assert answer.status_code == 401 and "set-cookie" not in answer.headers


def test_the_session_is_for_the_dashboard_alone_and_hides_the_key(visitor, tracking):
    answer = sign_in(visitor, tracking.keys["shop"])
    cookie = answer.headers["set-cookie"]
    assert re.search(r"; HttpOnly; Path=/api/optimization/dashboard; SameSite=strict$", cookie)
    assert tracking.keys["shop"] not in cookie
    behind_tls = sign_in(visitor, tracking.keys["shop"], headers={"X-Forwarded-Proto": "https"})
    assert behind_tls.headers["set-cookie"].endswith("; Secure")
    assert tracking.http.get("/runs", headers={"Cookie": cookie.split(";")[0]}).status_code == 401


@pytest.mark.parametrize("wanted", ["//elsewhere.example/", "https://elsewhere.example", "/api/v2", "/\\elsewhere", ""])
def test_signing_in_leads_to_the_dashboards_own_pages_only(visitor, tracking, wanted):
    base = f"{TRACKING_PREFIX}/dashboard"
    assert sign_in(visitor, tracking.keys["shop"], next=wanted).headers["location"] == f"{base}/"
    assert sign_in(visitor, tracking.keys["shop"], next=f"{base}/compare").headers["location"] == f"{base}/compare"
    for up in ("../..", "%2e%2E/..", "..%2F"):
        assert sign_in(visitor, tracking.keys["shop"], next=f"{base}/{up}/v2").headers["location"] == f"{base}/"


def test_a_cookie_is_worth_nothing_after_its_sign_out(visitor, tracking):
    sign_in(visitor, tracking.keys["shop"])
    stolen = {"Cookie": f"{COOKIE}={visitor.cookies[COOKIE]}"}
    visitor.cookies.clear()
    assert visitor.get("/", headers=stolen).status_code == 200
    assert visitor.post("/sign-out", headers=stolen).status_code == 303
    visitor.cookies.clear()
    assert visitor.get("/", headers=stolen).status_code == 401
    sealed = stolen["Cookie"].partition("=")[2].strip('"')
    for spelled in (f"{sealed}x", f"{sealed[:20]}!{sealed[20:]}", f"{sealed}="):  # base64 reads over all of them
        assert visitor.get("/", headers={"Cookie": f"{COOKIE}={spelled}"}).status_code == 401


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["", "/", "/leaderboard", "/compare", "/static/icon.svg"])
def test_a_method_that_a_page_has_not_is_refused_as_such(tracking, method, path):
    answer = tracking.http.request(method, f"/dashboard{path}")
    assert answer.status_code == 405 and "GET" in answer.headers["Allow"]


def test_a_name_cannot_turn_the_text_of_a_page_around(visitor, tracking, shop):
    name = f"a\u202egnp.exe {uuid.uuid4()}"
    shop.create_run(runName=name)
    sign_in(visitor, tracking.keys["shop"])
    page = visitor.get("/").text
    assert "\u202e" not in page and "a\\u202egnp.exe" in page


def test_the_leaderboard_shows_runs_that_minimize_where_no_others_are(visitor, tracking, shop):
    tag = f"low {uuid.uuid4()}"
    for score in (2, 1):
        shop.create_run(runName=f"loss {score}", tags=[tag], status="completed", direction="minimize", finalScore=score)
    sign_in(visitor, tracking.keys["shop"])
    page = visitor.get("/leaderboard", params={"tags": tag}).text
    assert "the lowest first" in page and page.index("loss 1") < page.index("loss 2")


def test_compared_configs_tell_a_dotted_key_from_a_nested_one(visitor, tracking, shop):
    runs = [shop.create_run(config=config)["id"] for config in ({"a.b": 1}, {"a": {"b": 1}})]
    sign_in(visitor, tracking.keys["shop"])
    page = visitor.get("/compare", params={"run": runs}).text
    assert "&#34;a.b&#34;" in page and ">a.b<" in page


@pytest.mark.parametrize("path", ["/sign-in", "/sign-out"])
def test_another_sites_page_cannot_sign_in_or_out(visitor, tracking, path):
    for origin in ("https://elsewhere.example", "null", "http://[", ""):
        answer = visitor.post(path, data={"key": tracking.keys["shop"]}, headers={"Origin": origin})
        assert answer.status_code == 403 and "set-cookie" not in answer.headers


def test_every_page_forbids_what_it_does_not_need(visitor, tracking, run):
    signed_out = visitor.get("/")
    sign_in(visitor, tracking.keys["shop"])
    answers = [visitor.get(path_of(page, run)) for page in PAGES]
    for answer in [signed_out, visitor.get("/nowhere"), visitor.get("/?minScore=x"), *answers]:
        assert answer.headers["content-security-policy"] == f"{POLICY}; frame-ancestors 'none'"
        assert answer.headers["cache-control"] == "no-store"
        assert not re.search(r'<script(?! src=| type="application/json")', answer.text)
        # Attributes only: their values, and the text between tags, may well hold such words.
        tags = re.findall(r"<[a-z][^<>]*>", re.sub(r'"[^"]*"', '""', answer.text))
        assert tags and not [tag for tag in tags if re.search(r"^<style|\s(style|on\w+)=", tag)]


def test_files_are_kept_by_browsers_until_they_change(visitor):
    linked = re.findall(r'(?:href|src)="([^"]*/static/[^"]*)"', visitor.get("/").text)
    assert len(linked) >= 3
    for link in linked:
        answer = visitor.get(link.removeprefix(f"{TRACKING_PREFIX}/dashboard"))
        assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"]
    assert visitor.get("/static/../app.py").status_code == visitor.get("/static/%2e%2e/app.py").status_code == 404


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/?minScore=abc&search=x", 422, "minScore"),
        ("/?config=[1]", 422, "must be a JSON object"),
        ("/?startDate=yesterday", 422, "must be a date and time"),
        ("/?cursor=none", 422, "is not one of this API"),
        ("/?status=done", 422, "status"),
        ("/leaderboard?limit=1000", 422, "limit"),
        ("/runs/1", 404, "has no run id"),
        ("/runs/00000000-0000-0000-0000-000000000000", 404, "no such run"),
        ("/nowhere", 404, "This page does not exist"),
        ("/named/%00", 404, "no such run"),
        ("/compare?run=1", 422, "must be the ids of runs"),
        ("/compare?" + "&".join(f"run={uuid.UUID(int=n)}" for n in range(201)), 422, "201 runs are too many"),
        ("/compare?minScore=x", 422, "minScore"),
        ("/groups?by=depth", 422, "is neither a place in the run"),
        ("/groups", 200, "Choose what to group by"),
        ("/trend?figure=no", 422, "is neither a place in the run"),
        ("/trend?entity=nobody", 200, "No run has this figure"),
        ("/compare", 200, "No run is chosen"),
        ("/compare?tags=of-nothing", 200, "No run is chosen"),
        ("/?unknown=1&search=", 200, "Runs"),
    ],
)
def test_what_cannot_be_shown_is_said_in_words(visitor, tracking, path, status, said):
    sign_in(visitor, tracking.keys["shop"])
    answer = visitor.get(path)
    assert (
        answer.status_code == status and said in answer.text and answer.headers["content-type"].startswith("text/html")
    )


@pytest.mark.parametrize("page", ["/groups?by=tag&tags={tag}", "/trend?tags={tag}"])
def test_where_no_run_states_a_final_score_the_pages_lead_to_the_best_ones(visitor, tracking, shop, page):
    tag = f"tag-{uuid.uuid4()}"
    run = shop.create_run(tags=[tag], status="running")
    shop.post(f"/runs/{run['id']}/iterations", {"iteration": 0, "score": 0.62519})
    shop.patch(f"/runs/{run['id']}", {"status": "completed"})
    sign_in(visitor, tracking.keys["shop"])
    path = page.replace("{tag}", tag)
    empty = visitor.get(path).text
    (link,) = re.findall(r'href="([^"]*)">Show the best score instead', empty)
    found = visitor.get(path.partition("?")[0] + html.unescape(link)).text
    assert "0.6252" not in empty and "0.6252" in found and "Show the best score" not in found


def test_a_bad_filter_of_samples_or_iterations_is_said_too(visitor, tracking, run):
    sign_in(visitor, tracking.keys["shop"])
    for path in ("/samples?iteration=-1", "/samples?isCorrect=perhaps", "/samples?cursor=x", "?cursor=x"):
        assert visitor.get(f"/runs/{run['id']}{path}").status_code == 422


def test_the_address_without_its_slash_leads_to_the_runs(tracking):
    answer = tracking.http.get("/dashboard?search=a")
    assert (answer.status_code, answer.headers["location"]) == (307, "dashboard/?search=a")


def test_a_login_sees_every_project_and_chooses_one(tracking, shop, search, run):
    async def log_in(request):
        return LoginUser("ada", can_write=False)

    app = create_app(database_url=tracking.database_url, login=log_in, refresh_s=None)
    with serving(app) as address, visiting(address) as http:
        page = http.get("/")
        assert re.findall(r"<option( selected)?>(\w+)</option>", page.text) == [(" selected", "search"), ("", "shop")]
        assert run["runName"] not in page.text and "Sign out" not in page.text
        assert page.headers["content-security-policy"].endswith("frame-ancestors 'self'")
        assert run["runName"] in http.get("/?projectId=shop").text
        assert run["runName"] in http.get(f"/runs/{run['id']}").text
        assert sign_in(http, tracking.keys["shop"]).status_code == 404


@pytest.fixture
def in_airflow(tracking):
    """The pages as a user of a login sees them, below the path where Airflow serves them."""

    async def log_in(request):
        return LoginUser("ada", can_write=False)

    app = create_app(database_url=tracking.database_url, login=log_in, prefix=TRACKING_PREFIX, refresh_s=None)
    with serving(app) as address, visiting(address + TRACKING_PREFIX) as http:
        yield http


def test_an_optimizer_run_speaks_its_fields_words_and_leads_to_its_other_pages(in_airflow, visitor, tracking, shop):
    run_id = str(uuid.uuid4())
    places = {"runId": run_id, "dagId": "optimize__drugs", "dagRunId": "scheduled__2026-01-01T00:00:00+00:00"}
    run = shop.create_run(
        metric="log loss of the win-rate model",
        direction="minimize",
        metadata={**places, "clientRunId": run_id, "entity": "drugs"},
    )
    shop.add_iteration(run["id"], iteration=0, score=0.5)
    page = in_airflow.get(f"/runs/{run['id']}").text
    assert "log loss of the win-rate model, lowest is best" in page
    assert "Held-out segments" in page and "One trial has a score: 0.5, at trial 0." in page
    for link in (
        f'href="/optimizer/runs/{run_id}"',
        f'href="/optimizer/runs/{run_id}/report"',
        'href="/dags/optimize__drugs/runs/scheduled__2026-01-01T00%3A00%3A00%2B00%3A00" data-airflow-page',
    ):
        assert link in page
    answer = in_airflow.get(f"/named/{run_id}")
    assert (answer.status_code, answer.headers["location"].rpartition("/")[2]) == (307, run["id"])
    assert in_airflow.get("/named/unknown").status_code == 404
    shop.create_run(metadata={"clientRunId": "a/b"})
    assert in_airflow.get("/named/a%2Fb").status_code == 307
    sign_in(visitor, tracking.keys["shop"])
    assert "/optimizer/runs/" not in visitor.get(f"/runs/{run['id']}").text  # no Airflow is known outside of it
    assert visitor.get(f"/named/{run_id}").status_code == 307
    sign_in(visitor, tracking.keys["search"])
    assert visitor.get(f"/named/{run_id}").status_code == 404


def test_a_custom_run_speaks_of_iterations_and_samples_and_has_no_such_links(in_airflow, shop):
    run = shop.create_run(optimizerType="custom", metadata={"runId": "x", "dagId": "y", "dagRunId": "z"})
    page = in_airflow.get(f"/runs/{run['id']}").text
    assert "No iteration has a score yet." in page and "Held-out" not in page and "/optimizer/runs/" not in page


def test_a_running_run_says_whether_a_process_works_on_it(visitor, tracking, shop):
    sign_in(visitor, tracking.keys["shop"])
    run = shop.create_run(status="running")
    assert "No process holds the run now" in visitor.get(f"/runs/{run['id']}").text
    shop.request("PUT", f"/runs/{run['id']}/leases/me", json={})
    assert "1 process works on it now." in visitor.get(f"/runs/{run['id']}").text
    shop.patch(f"/runs/{run['id']}", {"status": "completed"})
    assert "process" not in visitor.get(f"/runs/{run['id']}").text


@pytest.mark.parametrize("page", ["/", "/leaderboard", "/groups", "/trend"])
def test_a_time_outside_the_calendar_is_refused_on_the_page_and_stays_in_its_field(shop, page):
    moment = "9999-12-31T23:59:59-23:59"
    answer = shop.get(f"/dashboard{page}", startDate=moment)
    assert answer.status_code == 422 and moment in answer.text


@pytest.mark.parametrize(
    ("page", "name"),
    [
        *((f"{page.partition('?')[0]}?projectId=shop&search=%ff", "search") for page in PAGES),
        ("/?tags=a&tags=%C3", "tags"),
        ("/?s%ff=1", "s\ufffd"),
        ("/runs/%ff", "runId"),
        ("/named/a%ffb", "client_id"),
    ],
)
def test_an_address_that_is_not_utf_8_is_a_page_that_names_the_parameter(shop, run, page, name):
    answer = shop.request("GET", f"/dashboard{path_of(page, run)}")
    assert answer.status_code == 422, answer.text
    assert f"{name}: is not UTF-8" in answer.text and "<main" in answer.text
