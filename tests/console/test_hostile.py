"""What a page or an API route is sent that no form of ours sends: it is refused with a sentence, and nothing fails."""

import json
from urllib.parse import quote, unquote

import pytest
from console.conftest import TODAY
from console.splitting import run_ids
from console.test_rights import routes
from pipeline.driver import ENTITY

from optimizer.console.bounded_bodies import MAX_BODY_BYTES
from optimizer.control_plane.audit import read_audit
from optimizer.control_plane.runs import list_unclaimed
from optimizer.names import CONSOLE_PREFIX

JSON = {"Content-Type": "application/json"}
PAGE, API = f"/clients/{ENTITY}", f"/api/clients/{ENTITY}"
HALF_PAIR = "\ud800"
"""A character that JSON can name and UTF-8 cannot hold."""
NAMES = {
    "markup": "<img src=x onerror=alert(1)>",
    "right to left": "\u202eabc",
    "10 kB": "x" * 10_000,
    "NUL": "a\x00b",
    "prototype": "__proto__",
    "percent signs": "100%25%s%(x)s",
    "template": "{{ 7 * 7 }}",
    "path": "../../etc",
    "wildcards": "%_",
    "spaces": "   ",
}
ALONE = (("key",), ("search", "at"))
"""Parameters that also come without the others, which a route may refuse before it looks at these."""


def every_name(text: str) -> dict:
    """Return what each form or address of a page may say, with the text everywhere."""
    fields = (
        "search",
        "state",
        "kind",
        "page",
        "at",
        "done",
        "saved",
        "requested",
        "run_id",
        "earlier",
        "later",
        "key",
    )
    return dict.fromkeys((*fields, "days", "history", "target_win_rate", f"pct.{text}"), text)


@pytest.fixture(scope="module")
def reads(console):
    return [asked for asked in routes(console.business.second.run_id) if asked.method == "GET"]


def test_every_page_and_route_answers_without_parameters(console, reads):
    with console.http() as http:
        assert {asked.path for asked in reads if http.get(asked.address).status_code >= 500} == set()


@pytest.mark.parametrize("text", NAMES.values(), ids=NAMES)
def test_no_name_breaks_a_page_or_becomes_markup(console, reads, text):
    with console.http() as http:
        for asked in reads:
            alone = [dict.fromkeys(names, text) for names in ALONE if not asked.parameters.isdisjoint(names)]
            for parameters in (every_name(text[:1_000]), *alone):
                answer = http.get(asked.address, params=parameters)
                assert answer.status_code < 500, asked.path
                if "text/html" in answer.headers.get("Content-Type", ""):
                    assert "<img src=x" not in answer.text and ">49<" not in answer.text, asked.path
        for path in ("/clients/", "/runs/", "/api/runs/", "/api/clients/", f"/runs/{run_ids(console)[0]}/files/"):
            assert http.get(path + quote(text, safe="")).status_code == 404, path
        tab = http.get(f"/dags/optimize__{quote(text, safe='')}")
    assert tab.status_code == 404 or unquote(tab.headers["Location"]) == f"{CONSOLE_PREFIX}/clients/{text}"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/settings/preview", {"target_win_rate": HALF_PAIR}),
        ("PATCH", "/settings", {"set": {HALF_PAIR: "1"}, "comment": "c"}),
        ("PATCH", "/settings", {"set": {"x": "1"}, "seen": {"x": HALF_PAIR}, "comment": "c"}),
        ("PATCH", "/settings", {"set": {"target_win_rate": "0.3"}, "comment": HALF_PAIR}),
        ("POST", "/what-if", {"set": {HALF_PAIR: "1"}}),
        ("POST", "/inspect", {"request": json.dumps({"macros": {"[ADX_GEO_STATE]": HALF_PAIR}, "auction_id": "a"})}),
        ("POST", "/split/preview", {"split": {HALF_PAIR: 100}}),
        ("POST", "/control", {"run_id": HALF_PAIR, "comment": "c", "seen": []}),
    ],
)
def test_half_a_character_is_wrong_input(console, method, path, body):
    before = read_audit(console.business.systems.engine, ENTITY)
    with console.http() as http:
        answer = http.request(method, API + path, content=json.dumps(body), headers=JSON)
    assert answer.status_code in (409, 422) and answer.json()["detail"]
    assert read_audit(console.business.systems.engine, ENTITY) == before


@pytest.mark.parametrize("raw", ["NaN", "Infinity", "1e309", "-1", "9" * 5_000, "true", "[" * 50_000, "{"])
def test_no_number_or_json_breaks_a_write(console, raw):
    before = read_audit(console.business.systems.engine, ENTITY)
    first, second = run_ids(console)
    bodies = [
        ("PATCH", "/settings", '{"set": {"target_win_rate": %s}, "comment": "c"}'),
        ("POST", "/settings/preview", '{"target_win_rate": %s}'),
        ("POST", "/what-if", '{"set": {"target_win_rate": %s}}'),
        ("POST", "/split", f'{{"split": {{"{first}": %s, "{second}": 50}}, "comment": "c", "seen": []}}'),
        ("POST", "/pin", '{"is_pinned": "x", "comment": "c", "seen": [%s]}'),
    ]
    with console.http() as http:
        for method, path, body in bodies:
            answer = http.request(method, API + path, content=body % raw, headers=JSON)
            assert answer.status_code in (400, 409, 412, 422) and answer.json()["detail"], path
    assert read_audit(console.business.systems.engine, ENTITY) == before


@pytest.mark.parametrize("at", ["0001-01-01T00:00+14:00", "9999-12-31T23:59-14:00"])
def test_a_time_that_utc_has_not_is_wrong_input(console, at):
    request = json.dumps({"id": "1", "imp": [{"id": "1"}]})
    with console.http() as http:
        answers = [
            http.get(f"{API}/history", params={"at": at}),
            http.post(f"{API}/inspect", json={"request": request, "at": at}),
            http.post(f"{PAGE}/inspect", data={"request": request, "at": at}),
        ]
        page = http.get(f"{PAGE}/split", params={"at": at})
    assert [answer.status_code for answer in answers] == [422] * 3
    assert all("out of range in UTC" in answer.text for answer in answers)
    assert page.status_code == 200 and "out of range in UTC" in page.text


def test_a_body_that_is_too_large_is_not_read_and_not_before_the_login_either(console):
    large = b'{"target_win_rate": "' + b"9" * MAX_BODY_BYTES + b'"}'
    parts = [large[start : start + 100_000] for start in range(0, len(large), 100_000)]
    for user in ("anna", None):
        with console.http(user) as http:
            for content in (large, iter(parts)):
                answer = http.post(f"{API}/settings/preview", content=content, headers=JSON)
                assert answer.status_code == 413 and "1,000,000 bytes" in answer.json()["detail"]
            page = http.post(f"{PAGE}/settings", data={"comment": "x" * MAX_BODY_BYTES})
            assert page.status_code == (413 if user else 401)


@pytest.mark.parametrize("scheme", ["Basic YW5uYTpzZWNyZXQ=", "Negotiate abc", "Digest x", ""])
def test_only_a_token_frees_a_write_from_its_origin(console, scheme):
    """A browser sends the other schemes by itself, with a foreign page's request too."""
    body = {"json": {"set": {"target_win_rate": "0.3"}, "comment": "c", "seen": {"target_win_rate": "0.9"}}}
    foreign = {"Origin": "https://elsewhere.example"}
    with console.http() as http:
        assert http.patch(f"{API}/settings", headers=foreign | {"Authorization": scheme}, **body).status_code == 403
        token = http.patch(f"{API}/settings", headers=foreign | {"Authorization": "Bearer token"}, **body)
        assert token.status_code == 412  # it came as far as what was seen


def test_a_form_that_is_sent_twice_starts_one_run(own_console):
    engine = own_console.business.systems.engine
    form = {"target_win_rate": "0.35", "comment": "try it"}
    with own_console.http() as http:
        asked = [http.post(f"{PAGE}/what-if/run", data=form).headers["Location"] for _ in range(2)]
        other = http.post(f"{PAGE}/what-if/run", data=form | {"target_win_rate": "0.36"}).headers["Location"]
    waiting = [run.run_id for run in list_unclaimed(engine)]
    assert asked[0] == asked[1] != other and len(waiting) == 2
    assert all(run.created_at == TODAY for run in list_unclaimed(engine))


@pytest.mark.parametrize("path", ["/?page=9", f"{PAGE}/runs?page=9", f"{PAGE}/compare?page=90000"])
def test_a_page_past_the_last_one_leads_back(console, path):
    with console.http() as http:
        page = http.get(path)
    assert page.status_code == 200
    assert "is past the last one" in page.text and "There are no" not in page.text
