"""One project's key against another's rows: on every route, and in the database itself."""

import uuid

import psycopg
import pytest
from servers.tracking import Tracking

from optimizer.tracking.app import create_app

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
    ("get", "/analytics"): None,
    ("get", "/projects"): None,
}
LISTS = [("get", "/runs"), ("get", "/analytics"), ("get", "/projects")]
TABLES = ("optimization_runs", "optimization_iterations", "optimization_samples", "optimization_idempotency_keys")


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
            method.upper(), path.replace("{runId}", run_id).replace("{iteration}", "1"), json=ROUTES[method, path]
        )
        for run_id in (run["id"], str(uuid.uuid4()))
    ]
    assert [answer.status_code for answer in answers] == [404, 404]
    known, unknown = (answer.json() | {"instance": None} for answer in answers)
    assert known == unknown
    assert shop.get(f"/runs/{run['id']}").json()["data"] == run


@pytest.mark.parametrize(("method", "path"), [*ROUTES, ("get", "/openapi-is-no-list")], ids=str)
def test_no_route_works_without_a_key_or_with_a_wrong_one(tracking: Tracking, run, method, path):
    url = path.replace("{runId}", run["id"]).replace("{iteration}", "1")
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


@pytest.mark.parametrize("setting", ["{search}", "{}", "", None], ids=str)
@pytest.mark.parametrize("table", [*TABLES, "optimization_iterations_judged", "optimization_analytics"])
def test_the_policies_show_a_caller_no_row_of_another_project(tracking: Tracking, run, table, setting):
    with tracking.connect() as connection:
        connection.execute("SELECT refresh_optimization_analytics()")
        connection.execute("SET ROLE optimization_app")
        if setting is not None:
            connection.execute("SELECT set_config('app.projects', %s, true)", [setting])
        assert connection.execute(f"SELECT count(*) FROM {table} WHERE project_id = 'shop'").fetchone() == (0,)


def test_the_policies_obey_for_the_owner_of_the_tables_too(tracking: Tracking, run):
    with tracking.connect() as connection:
        forced = connection.execute(
            "SELECT relname FROM pg_class WHERE relforcerowsecurity AND relowner = current_user::regrole ORDER BY 1"
        ).fetchall()
    assert {row[0] for row in forced} == {*TABLES, "optimization_api_keys", "project_config"}


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO optimization_runs (project_id, run_name, optimizer_type) VALUES ('shop', 'x', 'rtb')",
        "INSERT INTO optimization_iterations (project_id, run_id, iteration) VALUES ('shop', '{run}', 77)",
        "UPDATE optimization_runs SET project_id = 'shop'",
        "UPDATE optimization_iterations SET score = 1",
        "SELECT * FROM optimization_api_keys",
        "SELECT * FROM optimization_run_analytics",
        "INSERT INTO project_config (id, name) VALUES ('mine', 'mine')",
        "REFRESH MATERIALIZED VIEW optimization_run_analytics",
        "ALTER TABLE optimization_runs DISABLE ROW LEVEL SECURITY",
    ],
)
def test_a_callers_role_can_neither_write_for_another_project_nor_read_what_is_secret(
    tracking: Tracking, search, run, statement
):
    search.create_run()
    with tracking.connect() as connection:
        connection.execute("SET LOCAL ROLE optimization_app")
        connection.execute("SELECT set_config('app.projects', '{search}', true)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.replace("{run}", run["id"]))


def test_an_iteration_cannot_be_hung_on_another_projects_run(tracking: Tracking, run):
    with tracking.connect() as connection:
        connection.execute("SET LOCAL ROLE optimization_app")
        connection.execute("SELECT set_config('app.projects', '{search}', true)")
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            connection.execute(
                "INSERT INTO optimization_iterations (project_id, run_id, iteration) VALUES ('search', %s, 77)",
                [run["id"]],
            )
