"""How large an answer gets, how one goes on where it ends, and what it counts without reading."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from servers.http import open_client
from servers.tracking import PROJECTS, ProjectClient, Tracking, serving

from optimization_tracking.app import create_app
from optimization_tracking.auth import LoginUser
from optimization_tracking.models.comparing import MAX_COMPARED
from optimization_tracking.models.queries import MAX_OFFSET
from optimization_tracking.tables.pages import MAX_ANSWER_BYTES
from optimization_tracking.tables.runs import MAX_RUN_BYTES
from optimizer.names import TRACKING_PREFIX

LONG = "a" * 1_500_000
"""Compressed in the tables to a hundredth: what counts is how long it is in an answer."""
FITTING = 2
"""So many of them an answer has room for."""
GROWING = [1e300] * 4000
"""Each has five characters in a request, and 301 digits in an answer."""


def pages(client, path, **params):
    """Every page of a list, by its cursors; each within the budget."""
    found, cursor = [], {}
    while cursor is not None:
        answer = client.get(path, **params, **cursor)
        assert answer.status_code == 200, answer.text
        assert len(answer.content) <= MAX_ANSWER_BYTES
        page = answer.json()
        assert page["pagination"]["hasMore"] == (page["pagination"]["nextCursor"] is not None)
        found.append(page["data"])
        cursor = {"cursor": page["pagination"]["nextCursor"]} if page["pagination"]["hasMore"] else None
    return found


@pytest.fixture(scope="module")
def run(tracking):
    """A run with five long iterations and five long samples."""
    shop = tracking.client("shop")
    run = shop.create_run()
    for number in range(5):
        shop.add_iteration(run["id"], iteration=number, score=number, program=LONG)
        sample = {"iteration": 0, "sampleIndex": number, "input": LONG, "isCorrect": number > 1}
        assert shop.post(f"/runs/{run['id']}/samples", {"samples": [sample]}).status_code == 201
    return shop.get(f"/runs/{run['id']}", includeIterations=False).json()["data"]


@pytest.mark.parametrize(("resource", "key"), [("iterations", "iteration"), ("samples", "sampleIndex")])
@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_a_page_ends_where_its_bytes_do_and_its_cursor_goes_on(shop, run, resource, key, limit):
    found = pages(shop, f"/runs/{run['id']}/{resource}", limit=limit)
    assert [row[key] for page in found for row in page] == list(range(5))
    assert {len(page) for page in found[:-1]} == {min(limit, FITTING)}


def test_a_row_longer_than_the_budget_is_a_page_of_its_own(shop):
    run = shop.create_run()
    grown = {"a": GROWING * 2}
    for number in range(3):
        values = {"params": grown, "program": grown, "metadata": grown} if number == 1 else {}
        shop.add_iteration(run["id"], iteration=number, **values)
    first = shop.get(f"/runs/{run['id']}/iterations").json()
    assert [row["iteration"] for row in first["data"]] == [0]
    second = shop.get(f"/runs/{run['id']}/iterations", cursor=first["pagination"]["nextCursor"]).json()
    assert [row["iteration"] for row in second["data"]] == [1]


@pytest.mark.parametrize(
    "filters",
    [{}, {"orderBy": "final_score"}, {"orderBy": "improvement", "orderDirection": "asc"}, {"top": True}],
    ids=str,
)
def test_lists_and_leaderboards_of_long_runs_go_on_too(shop, filters):
    tag = str(uuid.uuid4())
    scores = [3, 1, None, 2, 5] if "top" not in filters else [3, 1, 4, 2, 5]
    made = [
        shop.create_run(tags=[tag], config={"a": LONG}, status="completed", initialScore=0, finalScore=score)["id"]
        for score in scores
    ]
    found = pages(shop, "/runs", tags=tag, limit=100, **filters)
    assert sorted(run["id"] for page in found for run in page) == sorted(made)
    assert [len(page) for page in found] == [FITTING, FITTING, 1]
    ordered = [run["finalScore"] for page in found for run in page]
    if filters.get("top"):
        assert ordered == [5, 4, 3, 2, 1]
        (lowest,) = shop.get("/runs", tags=tag, top=True, direction="maximize", limit=1).json()["data"]
        assert lowest["finalScore"] == 5


def test_a_leaderboards_cursor_keeps_its_direction(shop):
    tag = str(uuid.uuid4())
    for score in (1, 2, 3):
        shop.create_run(tags=[tag], status="completed", direction="minimize", finalScore=score)
    found = pages(shop, "/runs", tags=tag, top=True, limit=1)
    assert [run["finalScore"] for page in found for run in page] == [1, 2, 3]
    cursor = shop.get("/runs", tags=tag, top=True, limit=1).json()["pagination"]["nextCursor"]
    refused = shop.get("/runs", tags=tag, top=True, direction="maximize", cursor=cursor)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "cursor")
    assert shop.get("/runs", tags=tag, cursor=cursor).status_code == 422


def test_a_run_comes_with_the_iterations_that_fit_and_the_cursor_of_the_others(shop, run):
    answer = shop.get(f"/runs/{run['id']}")
    assert len(answer.content) <= MAX_ANSWER_BYTES
    found = answer.json()["data"]
    assert [row["iteration"] for row in found["iterationList"]] == [0, 1]
    path = f"/runs/{run['id']}/iterations"
    following = shop.get(path, cursor=found["iterationCursor"]).json()["data"]
    assert [row["iteration"] for row in following] == [2, 3]
    short = shop.get(f"/runs/{run['id']}", iterationLimit=1).json()["data"]
    assert shop.get(path, cursor=short["iterationCursor"]).json()["data"][0]["iteration"] == 1


def test_a_list_with_iterations_shares_one_budget_among_its_runs(shop):
    tag = str(uuid.uuid4())
    for number in range(3):
        run = shop.create_run(tags=[tag])
        for step in range(number + 1):
            shop.add_iteration(run["id"], iteration=step, program=LONG)
    answer = shop.get("/runs", tags=tag, includeIterations=True)
    assert len(answer.content) <= MAX_ANSWER_BYTES
    runs = answer.json()["data"]
    assert [len(run["iterationList"]) for run in runs] == [2, 0, 0]
    for run, first in zip(runs, (2, 0, 0), strict=True):
        page = shop.get(f"/runs/{run['id']}/iterations", cursor=run["iterationCursor"]).json()["data"]
        assert page[0]["iteration"] == first


def test_a_batch_that_grows_in_its_answer_comes_back_in_part(shop):
    run = shop.create_run()
    rows = [{"iteration": number, "params": {"a": GROWING}} for number in range(10)]
    answer = shop.post(f"/runs/{run['id']}/iterations/batch", {"iterations": rows})
    assert (answer.status_code, answer.json()["created"], len(answer.json()["data"])) == (201, 10, 3)
    assert len(answer.content) <= MAX_ANSWER_BYTES
    samples = [{"iteration": 0, "sampleIndex": number, "input": GROWING} for number in range(10)]
    answer = shop.post(f"/runs/{run['id']}/samples", {"samples": samples})
    assert (answer.status_code, answer.json()["created"], len(answer.json()["data"])) == (201, 10, 3)


def test_metadata_cannot_grow_beyond_its_bytes_by_many_changes(shop):
    run = shop.create_run()
    statuses = [shop.patch(f"/runs/{run['id']}", {"metadata": {f"k{number}": LONG}}).status_code for number in range(4)]
    assert statuses == [200, 200, 422, 422]


@pytest.mark.parametrize("path", ["/runs", "/runs/{run}/iterations", "/runs/{run}/samples"])
def test_a_deep_offset_is_refused_in_favor_of_a_cursor(shop, run, path):
    path = path.replace("{run}", run["id"])
    assert shop.get(path, offset=MAX_OFFSET).status_code == 200
    refused = shop.get(path, offset=MAX_OFFSET + 1)
    assert (refused.status_code, refused.headers["Content-Type"]) == (422, "application/problem+json")
    (error,) = refused.json()["errors"]
    assert error["field"] == "offset" and "follow nextCursor" in error["reason"]


def totals(client, run_id, **filters):
    """The totals of a run's pages, and what is really there."""
    path = f"/runs/{run_id}"
    counted = {}
    for resource in ("iterations", "samples"):
        params = filters if resource == "samples" else {}
        page = client.get(f"{path}/{resource}", limit=1000, **params).json()
        assert page["pagination"]["total"] == len(page["data"])
        counted[resource] = page["pagination"]["total"]
    return counted


def test_counts_are_exact_under_concurrent_writers_repetitions_and_failures(shop):
    run = shop.create_run()
    shop.add_iteration(run["id"], iteration=0)

    def write(number):
        steps = [{"iteration": 1 + number * 10 + step, "score": step} for step in range(10)]
        rows = [{"iteration": 0, "sampleIndex": number * 10 + row, "isCorrect": row < 4} for row in range(10)]
        for path, body in (("iterations/batch", {"iterations": steps}), ("samples", {"samples": rows})):
            key = {"Idempotency-Key": f"{run['id']}-{path}-{number}"}
            answers = [shop.post(f"/runs/{run['id']}/{path}", body, **key) for _ in range(2)]
            assert [answer.status_code for answer in answers] == [201, 201]
            assert shop.post(f"/runs/{run['id']}/{path}", body).status_code == 409  # there already

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(24)))
    assert totals(shop, run["id"]) == {"iterations": 241, "samples": 240}
    assert totals(shop, run["id"], isCorrect=True)["samples"] == 96
    assert totals(shop, run["id"], isCorrect=False)["samples"] == 144
    assert totals(shop, run["id"], iteration=0, isCorrect=True)["samples"] == 96
    assert totals(shop, run["id"], iteration=1)["samples"] == 0
    found = shop.get(f"/runs/{run['id']}").json()["data"]
    assert (found["iterations"], found["iterationsStored"], found["samplesStored"]) == (241, 241, 240)


def test_counts_follow_what_an_administrator_deletes_and_changes(shop, tracking):
    run = shop.create_run()
    shop.post(f"/runs/{run['id']}/iterations/batch", {"iterations": [{"iteration": number} for number in range(5)]})
    rows = [{"iteration": number, "sampleIndex": 0, "isCorrect": True} for number in range(5)]
    shop.post(f"/runs/{run['id']}/samples", {"samples": rows})
    for statement in (
        "DELETE FROM optimization_iterations WHERE run_id = %s AND iteration < 2",  # and their samples
        "DELETE FROM optimization_samples WHERE run_id = %s AND iteration = 2",
        "UPDATE optimization_samples SET is_correct = false WHERE run_id = %s AND iteration = 3",
    ):
        with tracking.connect() as connection:
            connection.execute("SET ROLE optimization_service")
            connection.execute(statement, [run["id"]])
    assert totals(shop, run["id"]) == {"iterations": 3, "samples": 2}
    assert totals(shop, run["id"], isCorrect=False)["samples"] == 1


def test_a_run_that_states_its_iterations_counts_those_that_are_stored(shop):
    run = shop.create_run(iterations=500)
    shop.add_iteration(run["id"], iteration=7)
    assert totals(shop, run["id"])["iterations"] == 1
    assert shop.get(f"/runs/{run['id']}").json()["data"]["iterations"] == 501


def test_analytics_of_many_kinds_of_runs_are_paged(shop, tracking):
    prefix = f"paged-{uuid.uuid4().hex[:8]}"
    for number in range(3):
        shop.create_run(optimizerType=f"{prefix}-{number}")
    with tracking.connect() as connection:
        connection.execute("SELECT refresh_optimization_analytics()")
    found = [row["optimizerType"] for page in pages(shop, "/analytics", limit=2) for row in page]
    assert found == sorted(found) and [one for one in found if one.startswith(prefix)] == [
        f"{prefix}-{number}" for number in range(3)
    ]


def test_a_runs_iterations_fit_into_what_the_run_leaves_of_the_answer(shop):
    run = shop.create_run(config={"a": LONG})
    for number in range(3):
        shop.add_iteration(run["id"], iteration=number, program=LONG)
    for answer in (shop.get(f"/runs/{run['id']}"), shop.get("/runs", includeIterations=True, limit=1)):
        assert len(answer.content) <= MAX_ANSWER_BYTES
        found = answer.json()["data"]
        found = found if isinstance(found, dict) else found[0]
        assert [row["iteration"] for row in found["iterationList"]] == [0]
        page = shop.get(f"/runs/{run['id']}/iterations", cursor=found["iterationCursor"]).json()["data"]
        assert page[0]["iteration"] == 1


def test_a_run_cannot_grow_beyond_its_bytes_and_can_always_end(shop):
    run = shop.create_run(config={"a": LONG})
    path = f"/runs/{run['id']}"
    for field in ("metadata", "bestProgram"):
        assert shop.patch(path, {field: {"a": LONG * 2}}).status_code == 200
    refused = shop.patch(path, {"finalProgram": LONG})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "finalProgram")
    assert shop.patch(path, {"status": "failed", "errorStack": "a" * 100_000}).status_code == 200
    assert len(shop.get(path).content) <= MAX_RUN_BYTES
    grown = {"runName": "r", "optimizerType": "rtb", **dict.fromkeys(("bestProgram", "finalProgram"), GROWING * 2)}
    assert shop.post("/runs", grown).status_code == 201
    too_long = grown | {"runName": "too long", "config": {"a": GROWING * 2}, "evaluationResults": GROWING}
    refused = shop.post("/runs", too_long)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "config")
    assert shop.get("/runs", runName="too long").json()["data"] == []


def test_leases_are_paged(shop):
    run = shop.create_run()
    owners = [f"worker-{number}" for number in range(5)]
    for owner in reversed(owners):
        assert shop.request("PUT", f"/runs/{run['id']}/leases/{owner}", json={}).status_code == 200
    found = pages(shop, f"/runs/{run['id']}/leases", limit=2)
    assert [lease["owner"] for page in found for lease in page] == owners
    assert [len(page) for page in found] == [2, 2, 1]
    cursor = shop.get(f"/runs/{run['id']}/leases", limit=2).json()["pagination"]["nextCursor"]
    assert shop.get("/projects", cursor=cursor).status_code == 422


def test_projects_are_paged(tracking: Tracking):
    async def log_in(_):
        return LoginUser("ann", can_write=False)

    app = create_app(database_url=tracking.database_url, prefix=TRACKING_PREFIX, login=log_in, refresh_s=None)
    with serving(app) as address, open_client(address + TRACKING_PREFIX) as http:
        ann = ProjectClient(http, "no key: the login lets her in")
        found = pages(ann, "/projects", limit=1)
        assert [project["id"] for page in found for project in page] == sorted(PROJECTS)
        assert [len(page) for page in found] == [1, 1]


@pytest.fixture(scope="module")
def odd_runs(tracking: Tracking):
    """The tag of runs that have hardly a key in common, and many with names of 50 characters."""
    tag = str(uuid.uuid4())
    insert = (
        "INSERT INTO optimization_runs (project_id, run_name, optimizer_type, status, final_score, tags, config) "
        "SELECT 'shop', 'odd ' || n, 'rtb', 'completed', n, ARRAY[%s], ("
        "SELECT jsonb_object_agg(rpad(n || '-' || k, 50, '_'), k) FROM generate_series(1, 300) AS k"
        ") || jsonb_build_object('depth', n) FROM generate_series(1, %s) AS n"
    )
    with tracking.connect() as connection:
        connection.execute("SET ROLE optimization_service")
        connection.execute(insert, [tag, MAX_COMPARED])
    return tag


def test_a_comparison_of_runs_with_very_many_keys_names_the_most_frequent_ones(shop, odd_runs):
    answer = shop.get("/compare", tags=odd_runs)
    assert len(answer.content) <= MAX_ANSWER_BYTES
    found = answer.json()["data"]
    assert len(found["runs"]) == MAX_COMPARED and found["unread"] == 0
    (depth,) = [one for one in found["differing"] if one["key"] == "depth"]
    assert sorted(depth["values"]) == list(range(1, MAX_COMPARED + 1))
    assert found["leftOut"] + len(found["differing"]) == MAX_COMPARED * 300 + 1
    page = shop.get("/dashboard/compare", tags=odd_runs)
    assert page.status_code == 200 and len(page.content) <= MAX_ANSWER_BYTES
    for path in ("groups", "trend"):
        page = shop.get(f"/dashboard/{path}", by="config.depth", tags=odd_runs)
        assert page.status_code == 200 and len(page.content) <= MAX_ANSWER_BYTES


def test_values_below_a_long_key_are_compared_as_one(shop):
    tag, key = str(uuid.uuid4()), "k" * 9000
    for number in range(2):
        shop.create_run(tags=[tag], config={key: {f"{place}": number for place in range(900)}})
    answer = shop.get("/compare", tags=tag)
    assert len(answer.content) < 10 * len(key)
    assert [one["key"] for one in answer.json()["data"]["differing"]] == [key]


def test_the_page_of_a_run_with_very_many_and_long_values_stays_within_the_budget(shop):
    values = {f"{'k' * 200}{number}": 1 for number in range(9000)}
    run = shop.create_run(config=values, evaluationResults=values)
    rows = [
        {"iteration": step, "score": step, "params": {f"{step}-{number}{'p' * 90}": number for number in range(100)}}
        for step in range(200)
    ]
    assert shop.post(f"/runs/{run['id']}/iterations/batch", {"iterations": rows}).status_code == 201
    page = shop.get(f"/dashboard/runs/{run['id']}")
    assert page.status_code == 200 and len(page.content) <= MAX_ANSWER_BYTES
