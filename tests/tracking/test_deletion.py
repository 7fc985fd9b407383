"""A deleted run: seen by nobody at once, removed row by row by whichever service runs next."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from servers.tracking import Tracking, serving
from servers.waiting import wait_until

from optimization_tracking.app import create_app
from optimization_tracking.queries import render_query
from optimization_tracking.removing import PORTION_ROWS
from optimizer.names import TRACKING_PREFIX

TABLES = ("optimization_samples", "optimization_iterations", "optimization_runs", "optimization_deleted_runs")


def rows_of(tracking: Tracking, run_id: str) -> dict[str, int]:
    """Return how many rows of a run each table has, including those that no project sees."""
    found = {}
    with tracking.connect() as connection:
        connection.execute("SET ROLE optimization_service")
        for table in TABLES:
            column = "id" if table == "optimization_runs" else "run_id"
            query = f"SELECT count(*) FROM {table} WHERE {column} = %s"
            ((found[table],),) = connection.execute(query, [run_id]).fetchall()
    return found


def removed(tracking: Tracking) -> None:
    """Let a service run until every deleted run is gone."""
    app = create_app(database_url=tracking.database_url, prefix=TRACKING_PREFIX, refresh_s=0.05)
    with serving(app), tracking.connect() as connection:
        connection.autocommit = True
        connection.execute("SET ROLE optimization_service")
        query = "SELECT count(*) FROM optimization_deleted_runs"
        wait_until(lambda: connection.execute(query).fetchone() == (0,), "deleted runs are not removed")


@pytest.fixture
def run(shop):
    """A run with an iteration and a sample, and a name of its own."""
    name = f"gone {uuid.uuid4()}"
    run = shop.create_run(runName=name, status="completed", finalScore=1, tags=[name])
    shop.add_iteration(run["id"], iteration=1, score=1)
    shop.post(f"/runs/{run['id']}/samples", {"samples": [{"iteration": 1, "sampleIndex": 0}]})
    return run


def test_a_deleted_run_is_seen_nowhere_from_then_on(shop, tracking, run):
    path = f"/runs/{run['id']}"
    assert shop.request("PUT", f"{path}/leases/me", json={}).status_code == 200
    assert shop.delete(path).json() == {"success": True, "data": {"id": run["id"], "deleted": True}}
    reads = [path, *(f"{path}/{part}" for part in ("iterations", "iterations/1", "samples", "leases"))]
    reads.append(f"/dashboard{path}")
    assert {shop.get(read).status_code for read in reads} == {404}
    assert shop.delete(path).status_code == 404
    assert shop.patch(path, {"runName": "back"}).status_code == 404
    assert shop.post(f"{path}/iterations", {"iteration": 2}).status_code == 404
    assert shop.post(f"{path}/samples", {"samples": [{"iteration": 1, "sampleIndex": 1}]}).status_code == 404
    assert shop.request("PUT", f"{path}/leases/me", json={}).status_code == 404
    for filters in ({"search": run["runName"]}, {"runName": run["runName"]}, {"tags": run["tags"]}):
        page = shop.get("/runs", **filters).json()
        assert (page["data"], page["pagination"]["total"]) == ([], 0)
    assert shop.get("/runs", top=True, tags=run["tags"]).json()["data"] == []
    with tracking.connect() as connection:
        connection.execute("SET LOCAL ROLE optimization_app")
        connection.execute("SELECT set_config('app.projects', '{shop}', true)")
        for table in ("optimization_iterations", "optimization_samples", "optimization_iterations_judged"):
            query = f"SELECT count(*) FROM {table} WHERE run_id = %s"
            assert connection.execute(query, [run["id"]]).fetchone() == (0,)


def test_the_next_service_removes_what_an_ended_one_left_and_nothing_else(shop, tracking, run):
    kept = shop.create_run()
    shop.add_iteration(kept["id"], iteration=1, score=1)
    shop.delete(f"/runs/{run['id']}")
    assert rows_of(tracking, run["id"]) == dict.fromkeys(TABLES, 1)  # the session's service removes nothing
    removed(tracking)
    assert rows_of(tracking, run["id"]) == dict.fromkeys(TABLES, 0)
    assert shop.get(f"/runs/{kept['id']}").json()["data"]["bestScore"] == 1


def test_more_rows_than_a_portion_are_removed_portion_by_portion(shop, tracking, run):
    with tracking.connect() as connection:
        connection.execute("SET ROLE optimization_service")
        connection.execute(
            "INSERT INTO optimization_iterations (project_id, run_id, iteration, score) "
            "SELECT 'shop', %s, n, n FROM generate_series(2, %s) AS n",
            [run["id"], 2 * PORTION_ROWS + 1],
        )
        connection.execute(
            "INSERT INTO optimization_samples (project_id, run_id, iteration_id, iteration, sample_index) "
            "SELECT 'shop', it.run_id, it.id, it.iteration, 1 FROM optimization_iterations AS it WHERE run_id = %s",
            [run["id"]],
        )
    shop.delete(f"/runs/{run['id']}")
    portions = []
    with tracking.connect() as connection:
        connection.autocommit = True
        while not portions or portions[-1]:
            query = "SELECT optimization_remove_deleted(%s)"
            portions.append(connection.execute(query, [PORTION_ROWS]).fetchone()[0])
    assert portions == [PORTION_ROWS, PORTION_ROWS, 2, PORTION_ROWS, PORTION_ROWS, 1, 1, 0]
    assert rows_of(tracking, run["id"]) == dict.fromkeys(TABLES, 0)


def test_of_many_who_delete_a_run_at_once_one_does(shop, run):
    with ThreadPoolExecutor(8) as threads:
        answers = threads.map(lambda _: shop.delete(f"/runs/{run['id']}"), range(16))
        assert sorted(answer.status_code for answer in answers) == [200] + [404] * 15


@pytest.mark.parametrize("has_key", [False, True], ids=["without a key", "with a key"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("iterations", {"iteration": 2}),
        ("iterations/batch", {"iterations": [{"iteration": 2}, {"iteration": 3}]}),
        ("samples", {"samples": [{"iteration": 1, "sampleIndex": 1}]}),
    ],
)
def test_a_write_that_waits_for_the_deletion_of_its_run_writes_nothing(shop, tracking, run, path, body, has_key):
    headers = {"Idempotency-Key": str(uuid.uuid4())} if has_key else {}
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with tracking.connect() as deleting, tracking.connect() as watching, ThreadPoolExecutor(1) as threads:
        watching.autocommit = True
        deleting.execute("SET LOCAL ROLE optimization_app")
        deleting.execute("SELECT set_config('app.projects', '{shop}', true)")
        deleting.execute(render_query("delete_run"), {"run_id": run["id"]})
        answer = threads.submit(shop.post, f"/runs/{run['id']}/{path}", body, **headers)
        wait_until(lambda: watching.execute(waiting).fetchone() == (1,), "the write does not wait for the deletion")
        deleting.commit()
        assert answer.result().status_code == 404
    assert rows_of(tracking, run["id"]) == dict.fromkeys(TABLES, 1)


def test_a_removed_run_has_one_row_in_the_audit(shop, tracking, run):
    shop.delete(f"/runs/{run['id']}")
    removed(tracking)
    with tracking.connect() as connection:
        connection.execute("SET ROLE optimization_service")
        query = "SELECT actor FROM optimization_audit WHERE run_id = %s AND action = 'delete run'"
        ((actor,),) = connection.execute(query, [run["id"]]).fetchall()
    assert actor.startswith("key ")


@pytest.mark.parametrize("is_removed", [False, True], ids=["marked", "removed"])
def test_the_key_that_made_a_deleted_run_makes_a_new_one(shop, tracking, is_removed):
    body, key = {"runName": "again", "optimizerType": "rtb"}, {"Idempotency-Key": str(uuid.uuid4())}
    gone = shop.post("/runs", body, **key).json()["data"]["id"]
    shop.delete(f"/runs/{gone}")
    if is_removed:
        removed(tracking)
    made, repeated = (shop.post("/runs", body, **key).json()["data"]["id"] for _ in range(2))
    assert made == repeated != gone
    assert shop.get(f"/runs/{made}").status_code == 200


def test_a_project_sees_its_own_deletions_only(shop, search, run):
    assert search.delete(f"/runs/{run['id']}").status_code == 404
    assert shop.get(f"/runs/{run['id']}").status_code == 200
