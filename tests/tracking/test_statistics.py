"""What a run knows of its iterations: kept by the database's triggers."""

import threading

import pytest

WAIT_S = 120
TOTALS = ("iterations", "bestScore", "totalTokens", "totalCostUsd", "samplesEvaluated", "failedSamples", "avgLatencyMs")


def totals(client, run_id):
    run = client.get(f"/runs/{run_id}").json()["data"]
    return {name: run[name] for name in TOTALS}


def best_of(client, run_id):
    listed = client.get(f"/runs/{run_id}/iterations", limit=1000).json()["data"]
    return [iteration["iteration"] for iteration in listed if iteration["isBest"]]


def test_the_totals_are_the_sums_whether_iterations_come_alone_or_in_batches(shop):
    run = shop.create_run()
    rows = [
        {
            "iteration": number,
            "score": number / 10,
            "tokensUsed": 2**40,
            "costUsd": 0.25,
            "samplesInIteration": 5,
            "successfulSamples": 3,
            "durationMs": 10 * number,
        }
        for number in range(1, 6)
    ]
    shop.add_iteration(run["id"], **rows[0])
    assert shop.post(f"/runs/{run['id']}/iterations/batch", {"iterations": rows[1:]}).status_code == 201
    assert totals(shop, run["id"]) == {
        "iterations": 5,
        "bestScore": 0.5,
        "totalTokens": 5 * 2**40,
        "totalCostUsd": 1.25,
        "samplesEvaluated": 25,
        "failedSamples": 10,
        "avgLatencyMs": 30,
    }


@pytest.mark.parametrize(("direction", "expected"), [("maximize", 3), ("minimize", 1)])
def test_the_best_iteration_is_the_earliest_of_the_best_score(shop, direction, expected):
    run = shop.create_run(direction=direction)
    for number, score in ((7, 0.9), (3, 0.9), (5, -2), (1, -2), (4, None)):
        shop.add_iteration(run["id"], iteration=number, score=score)
    assert best_of(shop, run["id"]) == [expected]
    assert totals(shop, run["id"])["bestScore"] == (0.9 if direction == "maximize" else -2)


def test_a_batch_is_judged_as_its_iterations_one_by_one_would_be(shop):
    scores = [(None, 2, 1, 0, 3)[number * 7 % 11 % 5] for number in range(60)]
    alone, together = shop.create_run(direction="minimize"), shop.create_run(direction="minimize")
    rows = [{"iteration": number, "score": score} for number, score in enumerate(scores)]
    for row in rows:
        shop.add_iteration(alone["id"], **row)
    for first in range(0, 60, 20):
        shop.post(f"/runs/{together['id']}/iterations/batch", {"iterations": rows[first : first + 20]})
    assert best_of(shop, alone["id"]) == best_of(shop, together["id"]) == [scores.index(0)]


def test_deleting_or_changing_iterations_counts_the_run_again(shop, tracking):
    run = shop.create_run()
    for number in range(4):
        shop.add_iteration(run["id"], iteration=number, score=number, tokensUsed=10)
    with tracking.connect() as connection:
        connection.execute("SET ROLE optimization_service")
        connection.execute("DELETE FROM optimization_iterations WHERE run_id = %s AND iteration = 3", [run["id"]])
    assert (totals(shop, run["id"])["bestScore"], best_of(shop, run["id"])) == (2, [2])
    with tracking.connect() as connection:
        connection.execute("SET ROLE optimization_service")
        connection.execute(
            "UPDATE optimization_iterations SET score = 9, tokens_used = 1 WHERE run_id = %s AND iteration = 0",
            [run["id"]],
        )
    now = totals(shop, run["id"])
    assert (now["iterations"], now["bestScore"], now["totalTokens"], best_of(shop, run["id"])) == (3, 9, 21, [0])


def test_eight_writers_to_one_run_neither_deadlock_nor_lose_a_count(shop):
    run, statuses = shop.create_run(), []

    def write(writer):
        for number in range(25):
            body = {"iteration": writer * 100 + number, "score": number, "tokensUsed": 1}
            statuses.append(shop.post(f"/runs/{run['id']}/iterations", body).status_code)

    threads = [threading.Thread(target=write, args=[writer]) for writer in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()
    assert statuses == [201] * 200
    now = totals(shop, run["id"])
    assert (now["iterations"], now["totalTokens"], now["bestScore"]) == (200, 200, 24)
    assert best_of(shop, run["id"]) == [24]


def test_statements_over_the_same_runs_in_opposite_order_do_not_deadlock(shop, tracking):
    ids = [shop.create_run()["id"] for _ in range(6)]
    failures = []

    def write(order, first):
        try:
            with tracking.connect() as connection:
                connection.execute("SET ROLE optimization_service")
                for number in range(first, first + 15):
                    connection.execute(
                        "INSERT INTO optimization_iterations (project_id, run_id, iteration, score) "
                        "SELECT 'shop', id, %s, 1 FROM unnest(%s::uuid[]) AS id",
                        [number, order],
                    )
                    connection.commit()
                    connection.execute("SET ROLE optimization_service")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=[ids[::step], 100 * n]) for n, step in enumerate((1, -1, 1, -1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()
    assert failures == []
    assert [totals(shop, run_id)["iterations"] for run_id in ids] == [60] * 6


def test_the_helper_functions_say_what_the_api_says(shop, tracking):
    low, high = (shop.create_run(status="completed", finalScore=score, tags=["h"]) for score in (99_001, 99_002))
    with tracking.connect() as connection:
        connection.execute("SET ROLE optimization_service")
        top = connection.execute("SELECT id FROM get_top_runs_by_score('shop', 2)").fetchall()
        query = "SELECT final_score, samples_stored FROM get_optimization_run_summary(%s)"
        summary = connection.execute(query, [low["id"]]).fetchone()
    assert [str(row[0]) for row in top] == [high["id"], low["id"]]
    assert summary == (99_001, 0)
    listed = shop.get("/runs", top=True, limit=2).json()["data"]
    assert [run["id"] for run in listed] == [high["id"], low["id"]]
