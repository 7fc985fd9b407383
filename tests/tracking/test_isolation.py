"""One project's key against another's rows, on every route."""

import uuid

import pytest
from servers.tracking import Tracking

from optimization_tracking.app import create_app

# What a stranger's key tries; {run} is another project's run.
ROUTES = {
    ("get", "/runs"): None,
    ("post", "/runs"): {"runName": "x", "optimizerType": "rtb", "projectId": "shop"},
    ("get", "/runs/{runId}"): None,
    ("patch", "/runs/{runId}"): {"runName": "taken over"},
    ("delete", "/runs/{runId}"): None,
    ("get", "/runs/{runId}/iterations"): None,
    ("post", "/runs/{runId}/iterations"): {"iteration": 5},
    ("post", "/runs/{runId}/iterations/batch"): {"iterations": [{"iteration": 5}]},
    ("get", "/runs/{runId}/iterations/{iteration}"): None,
    ("get", "/runs/{runId}/samples"): None,
    ("post", "/runs/{runId}/samples"): {"samples": [{"iteration": 1, "sampleIndex": 9}]},
    ("put", "/runs/{runId}/leases/{owner}"): {},
    ("delete", "/runs/{runId}/leases/{owner}"): None,
    ("get", "/groups"): None,
    ("get", "/trend"): None,
    ("get", "/compare"): None,
    ("get", "/runs/{runId}/leases"): None,
    ("get", "/analytics"): None,
    ("get", "/projects"): None,
}
LISTS = [
    ("get", "/runs"),
    ("get", "/groups"),
    ("get", "/trend"),
    ("get", "/compare"),
    ("get", "/analytics"),
    ("get", "/projects"),
]


def address(path: str, run_id: str) -> str:
    return path.replace("{runId}", run_id).replace("{iteration}", "1").replace("{owner}", "me")


@pytest.fixture
def run(shop):
    """A run of the project shop with an iteration, a sample and an idempotency key."""
    run = shop.create_run(runName=f"secret {uuid.uuid4()}", tags=["secret"], config={"secret": True})
    shop.post(f"/runs/{run['id']}/iterations", {"iteration": 1, "score": 1}, **{"Idempotency-Key": str(uuid.uuid4())})
    shop.post(f"/runs/{run['id']}/samples", {"samples": [{"iteration": 1, "sampleIndex": 0}]})
    return shop.get(f"/runs/{run['id']}").json()["data"]


def test_the_routes_tried_here_are_all_there_are():
    paths = create_app(database_url=None).openapi()["paths"]
    assert {(method, path) for path in paths for method in paths[path]} == {*ROUTES, ("get", "/health")}


@pytest.mark.parametrize(("method", "path"), [route for route in ROUTES if route not in LISTS], ids=str)
def test_anothers_run_is_answered_as_one_that_does_not_exist(shop, search, run, method, path):
    answers = [
        search.request(
            method.upper(),
            address(path, run_id),
            json=ROUTES[method, path],
        )
        for run_id in (run["id"], str(uuid.uuid4()))
    ]
    assert [answer.status_code for answer in answers] == [404, 404]
    known, unknown = (answer.json() | {"instance": None} for answer in answers)
    assert known == unknown
    assert shop.get(f"/runs/{run['id']}").json()["data"] == run


@pytest.mark.parametrize(("method", "path"), [*ROUTES, ("get", "/openapi-is-no-list")], ids=str)
def test_no_route_works_without_a_key_or_with_a_wrong_one(tracking: Tracking, run, method, path):
    url = address(path, run["id"])
    body = ROUTES.get((method, path))
    for headers in ({}, {"Authorization": "Bearer sk_live_wrong"}, {"X-API-Key": "x"}):
        answer = tracking.http.request(method.upper(), url, json=body, headers=headers)
        assert answer.status_code == (401 if (method, path) in ROUTES else 404)
        assert run["runName"] not in answer.text


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"search": "secret"},
        {"tags": "secret"},
        {"config": '{"secret": true}'},
        {"top": True},
        {"orderBy": "final_score"},
        {"includeIterations": True},
    ],
    ids=str,
)
def test_lists_and_their_totals_hold_ones_own_rows_only(search, run, filters):
    page = search.get("/runs", limit=100, **filters).json()
    assert {found["projectId"] for found in page["data"]} <= {"search"}
    assert page["pagination"]["total"] == len(page["data"])
    assert search.get("/runs", projectId="shop", **filters).status_code == 404


def test_analytics_and_projects_hold_ones_own_only(tracking: Tracking, shop, search, run):
    with tracking.connect() as connection:
        connection.execute("SELECT refresh_optimization_analytics()")
    figures = shop.get("/analytics").json()["data"]
    assert {figure["projectId"] for figure in figures} == {"shop"}
    assert sum(figure["totalRuns"] for figure in figures) == shop.get("/runs").json()["pagination"]["total"]
    assert {figure["projectId"] for figure in search.get("/analytics").json()["data"]} <= {"search"}
    assert search.get("/analytics", projectId="shop").status_code == 404
    assert [project["id"] for project in search.get("/projects").json()["data"]] == ["search"]


def test_a_cursor_of_another_project_leads_to_ones_own_rows(shop, search, run):
    for _ in range(2):
        shop.create_run()
    cursor = shop.get("/runs", limit=1).json()["pagination"]["nextCursor"]
    page = search.get("/runs", cursor=cursor, limit=100)
    assert {found["projectId"] for found in page.json()["data"]} <= {"search"}


def test_the_same_idempotency_key_of_two_projects_is_two_keys(shop, search):
    key = {"Idempotency-Key": str(uuid.uuid4())}
    body = {"runName": "same", "optimizerType": "rtb"}
    mine, theirs = (client.post("/runs", body, **key).json()["data"] for client in (shop, search))
    assert (mine["projectId"], theirs["projectId"]) == ("shop", "search")
