"""Runs over HTTP: created, read, changed, deleted."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from optimization_tracking.idempotency import KEPT


def test_a_run_comes_back_as_it_was_sent_with_what_the_database_adds(shop):
    sent = {"runName": "nightly", "optimizerType": "rtb", "config": {"depth": 6}, "tags": ["prod"], "initialScore": 0.5}
    answer = shop.post("/runs", sent)
    assert answer.status_code == 201
    run = answer.json()["data"]
    assert {name: run[name] for name in sent} == sent
    assert (run["projectId"], run["status"], run["iterations"], run["totalCostUsd"]) == ("shop", "pending", 0, 0)
    read = shop.get(f"/runs/{run['id']}")
    assert read.status_code == 200, read.text
    assert read.json()["data"] == run | {"iterationList": [], "iterationCursor": None}


def test_zero_and_false_are_values_and_null_stays_null(shop):
    run = shop.create_run(initialScore=0, finalScore=0, status="completed")
    assert (run["initialScore"], run["finalScore"], run["improvement"]) == (0, 0, 0)
    assert run["improvementPct"] is None
    iteration = shop.add_iteration(run["id"], iteration=0, score=0)
    sample = {"iteration": 0, "sampleIndex": 0, "score": 0, "isCorrect": False}
    answer = shop.post(f"/runs/{run['id']}/samples", {"samples": [sample]}).json()["data"][0]
    assert iteration["score"] == 0
    assert (answer["score"], answer["isCorrect"], answer["errorMessage"]) == (0, False, None)


@pytest.mark.parametrize(
    ("direction", "improvement", "percent"), [("maximize", 0.5, 25), ("minimize", -0.5, -25)], ids=str
)
def test_improvement_is_positive_where_the_run_got_better(shop, direction, improvement, percent):
    run = shop.create_run(direction=direction, initialScore=2, finalScore=2.5)
    assert (run["improvement"], run["improvementPct"]) == (improvement, percent)


def test_duration_follows_from_the_times_beyond_the_range_of_an_integer(shop):
    run = shop.create_run(startTime="2026-01-01T00:00:00Z", endTime="2026-02-01T00:00:00.250+00:00")
    assert run["durationMs"] == 31 * 86_400_000 + 250


def test_a_status_that_ends_a_run_sets_its_end_and_cannot_be_left(shop):
    run = shop.create_run(status="running")
    assert run["startTime"] is not None and run["endTime"] is None
    ended = shop.patch(f"/runs/{run['id']}", {"status": "completed", "finalScore": 0.9}).json()["data"]
    assert ended["endTime"] >= ended["startTime"]
    assert shop.patch(f"/runs/{run['id']}", {"status": "completed"}).json()["data"]["endTime"] == ended["endTime"]
    refused = shop.patch(f"/runs/{run['id']}", {"status": "running"})
    assert refused.status_code == 409
    assert refused.json()["errors"][0]["field"] == "status"
    assert "is completed and cannot become running" in refused.json()["errors"][0]["reason"]
    assert shop.get(f"/runs/{run['id']}").json()["data"]["status"] == "completed"


def test_a_patch_changes_what_it_names_and_null_clears(shop):
    run = shop.create_run(initialScore=1, errorMessage="odd", tags=["a"])
    changed = shop.patch(f"/runs/{run['id']}", {"errorMessage": None, "tags": ["b", "c"], "metadata": {"by": "me"}})
    expected = run | {"errorMessage": None, "tags": ["b", "c"], "metadata": {"by": "me"}}
    assert changed.status_code == 200
    assert changed.json()["data"] | {"updatedAt": None} == expected | {"updatedAt": None}
    assert changed.json()["data"]["updatedAt"] > run["updatedAt"]


def test_a_repeated_key_gets_the_first_answer_and_writes_once(shop):
    body, key = {"runName": f"once {uuid.uuid4()}", "optimizerType": "rtb"}, {"Idempotency-Key": str(uuid.uuid4())}
    first, second = (shop.post("/runs", body, **key) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    assert second.headers["Idempotency-Replayed"] == "true"
    assert shop.get("/runs", search=body["runName"]).json()["pagination"]["total"] == 1
    other = shop.post("/runs", body | {"tags": ["x"]}, **key)
    assert (other.status_code, other.json()["errors"][0]["field"]) == (422, "Idempotency-Key")


def let_a_month_pass(tracking, *keys: str) -> None:
    """Let Idempotency-Keys be a month old when the service next forgets the old ones."""
    with tracking.connect() as connection:
        connection.execute("SET ROLE optimization_service")
        aged = "UPDATE optimization_idempotency_keys SET created_at = now() - interval '1 month' WHERE key = ANY (%s)"
        connection.execute(aged, [list(keys)])
        connection.execute("SELECT optimization_forget_idempotency_keys(%s)", [KEPT])


def test_a_creation_that_is_repeated_a_month_later_gets_its_run_as_it_stands(shop, tracking):
    body, key = {"runName": f"late {uuid.uuid4()}", "optimizerType": "rtb"}, str(uuid.uuid4())
    run = shop.post("/runs", body, **{"Idempotency-Key": key}).json()["data"]
    path, added = f"/runs/{run['id']}/iterations", str(uuid.uuid4())
    assert shop.post(path, {"iteration": 1}, **{"Idempotency-Key": added}).status_code == 201
    shop.patch(f"/runs/{run['id']}", {"status": "completed"})
    let_a_month_pass(tracking, key, added)
    again = shop.post("/runs", body, **{"Idempotency-Key": key})
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (201, "true")
    assert (again.json()["data"]["id"], again.json()["data"]["status"]) == (run["id"], "completed")
    assert shop.post("/runs", body | {"tags": ["x"]}, **{"Idempotency-Key": key}).status_code == 422
    assert shop.post(path, {"iteration": 1}, **{"Idempotency-Key": added}).status_code == 409
    assert shop.get("/runs", search=body["runName"]).json()["pagination"]["total"] == 1


@pytest.mark.parametrize("changes", [{}, {"tags": ["x"]}], ids=["same_words", "other_words"])
def test_the_key_of_a_deleted_run_makes_a_new_one(shop, changes):
    body, key = {"runName": f"again {uuid.uuid4()}", "optimizerType": "rtb"}, {"Idempotency-Key": str(uuid.uuid4())}
    gone = shop.post("/runs", body, **key).json()["data"]["id"]
    shop.delete(f"/runs/{gone}")
    made, repeated = (shop.post("/runs", body | changes, **key) for _ in range(2))
    assert made.status_code == 201 and "Idempotency-Replayed" not in made.headers
    assert made.json()["data"]["id"] != gone and repeated.content == made.content
    assert shop.get(f"/runs/{made.json()['data']['id']}").status_code == 200


def test_a_repeated_write_to_a_deleted_run_finds_no_run(shop):
    run, key = shop.create_run(), {"Idempotency-Key": str(uuid.uuid4())}
    path = f"/runs/{run['id']}/iterations"
    assert shop.post(path, {"iteration": 1}, **key).status_code == 201
    shop.delete(f"/runs/{run['id']}")
    assert [shop.post(path, {"iteration": 1}, **key).status_code for _ in range(2)] == [404, 404]


def test_the_key_of_a_deleted_run_makes_one_run_for_all_who_repeat_it_at_once(shop):
    body, key = {"runName": f"at once {uuid.uuid4()}", "optimizerType": "rtb"}, {"Idempotency-Key": str(uuid.uuid4())}
    shop.delete(f"/runs/{shop.post('/runs', body, **key).json()['data']['id']}")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: shop.post("/runs", body, **key), range(16)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["data"]["id"] for answer in answers}) == 1
    assert shop.get("/runs", search=body["runName"]).json()["pagination"]["total"] == 1


@pytest.mark.parametrize("given_with", ["creation", "end"])
def test_a_run_whose_start_a_clock_that_is_ahead_gave_can_end(shop, given_with):
    start = {"startTime": "2999-01-01T00:00:00Z"}
    run = shop.create_run(**(start if given_with == "creation" else {}))
    ended = shop.patch(f"/runs/{run['id']}", {"status": "completed", **(start if given_with == "end" else {})})
    assert ended.status_code == 200, ended.text
    assert (ended.json()["data"]["endTime"], ended.json()["data"]["durationMs"]) == (start["startTime"], 0)


@pytest.mark.parametrize("given_with", ["creation", "end", "both"])
def test_an_end_before_the_start_ends_the_run_by_the_services_clock_and_is_kept_as_stated(shop, given_with):
    start, end = "2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"
    given = {"status": "completed", "endTime": end}
    if given_with == "creation":
        found = shop.create_run(startTime=start, **given)
    else:
        run = shop.create_run(**({"startTime": start} if given_with == "end" else {}))
        answer = shop.patch(f"/runs/{run['id']}", given | ({"startTime": start} if given_with == "both" else {}))
        assert answer.status_code == 200, answer.text
        found = answer.json()["data"]
    now = datetime.now(UTC)
    assert abs(datetime.fromisoformat(found["endTime"]) - now) < timedelta(minutes=5)
    assert (found["startTime"], found["statedEndTime"], found["status"]) == (start, end, "completed")
    passed = now - datetime.fromisoformat(start)
    assert found["durationMs"] == pytest.approx(1000 * passed.total_seconds(), abs=300_000)


def test_an_end_by_a_clock_that_was_set_back_is_repeated_without_a_later_end(shop):
    run = shop.create_run(startTime="2026-01-02T00:00:00Z")
    end = {"status": "completed", "endTime": "2026-01-01T00:00:00Z"}
    first, again = (shop.patch(f"/runs/{run['id']}", end).json()["data"] for _ in range(2))
    names = ("endTime", "statedEndTime", "durationMs")
    assert [again[name] for name in names] == [first[name] for name in names]


def test_a_corrected_end_is_no_longer_only_stated(shop):
    run = shop.create_run(startTime="2026-01-02T00:00:00Z", endTime="2026-01-01T00:00:00Z")
    found = shop.patch(f"/runs/{run['id']}", {"endTime": "2026-01-02T00:00:01Z"}).json()["data"]
    assert (found["statedEndTime"], found["durationMs"]) == (None, 1000)


def test_an_iteration_by_a_clock_that_was_set_back_is_kept_without_a_duration(shop):
    times = {"iterationStartTime": "2026-01-02T00:00:00Z", "iterationEndTime": "2026-01-01T00:00:00Z"}
    run = shop.create_run()
    added = shop.add_iteration(run["id"], iteration=1, **times)
    assert {name: added[name] for name in times} == times and added["durationMs"] is None
    assert shop.add_iteration(run["id"], iteration=2, durationMs=7, **times)["durationMs"] == 7


def test_a_write_that_failed_leaves_its_idempotency_key_unused(shop):
    run, key = shop.create_run(), {"Idempotency-Key": str(uuid.uuid4())}
    shop.add_iteration(run["id"], iteration=1)
    assert shop.post(f"/runs/{run['id']}/iterations", {"iteration": 1}, **key).status_code == 409
    assert shop.post(f"/runs/{run['id']}/iterations", {"iteration": 2}, **key).status_code == 201


def test_a_batch_answers_without_rows_where_the_caller_wants_none(shop):
    run = shop.create_run()
    batch = {"iterations": [{"iteration": number, "score": number} for number in range(3)]}
    answer = shop.post(f"/runs/{run['id']}/iterations/batch", batch, Prefer="return=minimal")
    assert answer.json() == {"success": True, "created": 3, "data": []}
    samples = {"samples": [{"iteration": 2, "sampleIndex": index} for index in range(4)]}
    answer = shop.post(f"/runs/{run['id']}/samples", samples, Prefer="return=minimal")
    assert answer.json() == {"success": True, "created": 4, "data": []}
    listed = shop.get(f"/runs/{run['id']}/samples", iteration=2).json()
    assert [sample["sampleIndex"] for sample in listed["data"]] == [0, 1, 2, 3]
