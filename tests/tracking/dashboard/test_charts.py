"""What the charts draw and how values are written, against known values."""

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from psycopg import AsyncClientCursor, AsyncConnection
from servers.tracking import Tracking

from optimization_tracking.dashboard import charts, formatting
from optimization_tracking.dashboard.differences import compare_configs
from optimization_tracking.queries import render_query
from optimization_tracking.tables.history import HistoryPoint, read_history
from optimizer.presentation.formats import MINUS, MISSING

NOW = datetime(2026, 2, 3, 15, tzinfo=UTC)


def points(*rows):
    return [
        HistoryPoint(iteration=number, score=score, best_score=best, params=params)
        for number, score, best, params in rows
    ]


def test_parameters_that_vary_have_a_chart_and_the_others_are_named():
    drawn, constant = charts.parameter_charts(
        points(
            (0, 0.5, 0.5, {"rate": 0.3, "kind": "a", "seed": 1, "deep": {"er": True}, "list": [1]}),
            (1, None, 0.5, {"rate": 9.9, "kind": "z", "seed": 2, "deep": {"er": True}, "list": [2]}),
            (2, 0.7, 0.7, {"rate": 0.1, "kind": "b", "seed": 1, "deep": {"er": False}, "list": [3]}),
        )
    )
    assert [(chart["title"], chart["x"], chart["series"][0]["values"]) for chart in drawn] == [
        ("rate", [0.1, 0.3], [0.7, 0.5]),
        ("kind", [0, 1], [0.5, 0.7]),
        ("deep.er", [0, 1], [0.5, 0.7]),
    ]
    assert [chart.get("categories") for chart in drawn] == [None, ["a", "b"], ["true", "false"]]
    assert constant == [("seed", "1")]


def test_histories_over_each_other_hold_their_best_and_end_where_they_end():
    runs = [SimpleNamespace(run_name="long"), SimpleNamespace(run_name="short"), SimpleNamespace(run_name="empty")]
    histories = [points((0, 1, 1, {}), (4, 3, 3, {})), points((1, 2, 2, {}), (2, 1, 2, {})), []]
    chart = charts.overlaid_chart(runs, histories)
    assert chart["x"] == [0, 1, 2, 4]
    assert [one["values"] for one in chart["series"]] == [[1, 1, 1, 3], [None, 2, 2, None], [None] * 4]
    assert charts.overlaid_chart(runs, [[], [], []]) is None


@pytest.mark.parametrize(
    ("observed", "predicted", "drawn"),
    [
        (1, 1.5, [("output", [1], [1.5])]),
        ({"a": 1, "b": 2, "c": "x"}, {"b": 3, "a": 0, "c": 1}, [("a", [1], [0]), ("b", [2], [3])]),
        (True, 1, []),
        ("yes", "no", []),
        (None, 1, []),
        ([1], [1], []),
    ],
    ids=str,
)
def test_predicted_and_observed_are_drawn_where_both_are_numbers(observed, predicted, drawn):
    sample = SimpleNamespace(iteration=0, sample_index=0, expected_output=observed, predicted_output=predicted)
    found = charts.sample_charts([sample])
    assert [(chart["title"], chart["x"], chart["series"][0]["values"]) for chart in found] == drawn


def test_configs_differ_where_a_value_a_type_or_a_key_does():
    rows = compare_configs(
        [{"a": {"b": 1, "c": 1}, "d": [1], "e": 1}, {"a": {"b": 1, "c": 2}, "d": [1], "e": True}, {}]
    ).rows
    assert [(row.key, row.values, row.differs) for row in rows] == [
        ("a.b", ("1", "1", None), True),
        ("a.c", ("1", "2", None), True),
        ("d", ("[1]", "[1]", None), True),
        ("e", ("1", "true", None), True),
    ]
    same = compare_configs([{"a": 1, "b": {}}, {"b": {}, "a": 1.0}]).rows
    assert not any(row.differs for row in same)


def test_of_very_many_keys_those_of_the_most_configs_are_compared():
    configs = [{f"own{place}.{number}": 1 for number in range(20)} | {"depth": place} for place in range(4)]
    table = compare_configs(configs, max_cells=40)
    assert len(table.rows) == 10 and table.left_out == 71
    assert ("depth", ("0", "1", "2", "3")) in [(row.key, row.values) for row in table.rows]


@pytest.mark.parametrize(
    ("value_ms", "text"),
    [
        (None, MISSING),
        (0, "0 ms"),
        (3.25, "3.25 ms"),
        (12_500, "12.5 s"),
        (59_999, "1 min 0 s"),
        (200_000, "3 min 20 s"),
        (7_500_000, "2 h 5 min"),
        (273_600_000, "3 d 4 h"),
        (10**13, "115,740 d 17 h"),
    ],
)
def test_durations_have_the_two_units_that_matter(value_ms, text):
    assert formatting.duration(value_ms).replace("\N{NO-BREAK SPACE}", " ") == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "just now"), (150, "2 min ago"), (-7300, "in 2 h"), (86_400 * 3, "3 d ago"), (10**8, "")]
)
def test_ages_are_hints_and_end_after_a_month(seconds, text):
    assert formatting.age(NOW - timedelta(seconds=seconds), now=NOW).replace("\N{NO-BREAK SPACE}", " ") == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [("2026-02-03T15:00", "2026-02-03T15:00"), ("2026-02-03T15:00:00+02:00", "2026-02-03T13:00"), ("x", "x"), ("", "")],
)
def test_a_time_in_the_address_is_shown_in_its_field_in_utc(text, shown):
    assert formatting.local_moment(text) == shown


def test_money_and_differences_keep_what_matters_of_small_numbers():
    assert [formatting.dollars(value) for value in (None, 0, 0.00123, 0.5, 1234.5)] == [
        MISSING,
        "$0.00",
        "$0.0012",
        "$0.50",
        "$1,234.50",
    ]
    assert [formatting.signed(value) for value in (None, 0.0, 0.01234, -2.0)] == [MISSING, "0", "+0.01234", f"{MINUS}2"]
    assert formatting.brief({"a": [0.123456, 1, 123456.75, "x"]}) == '{"a": [0.1235, 1, 123456.75, "x"]}'


def history_of(tracking: Tracking, run, *, project: str = "shop", **options) -> list[HistoryPoint]:
    async def read() -> list[HistoryPoint]:
        async with await AsyncConnection.connect(tracking.database_url) as connection:
            values = {"projects": [project], "actor": ""}
            await AsyncClientCursor(connection).execute(render_query("begin_as"), values)
            return await read_history(connection, run["id"], **options)

    return asyncio.run(read())


def scores_of(points) -> list[tuple]:
    return [(point.iteration, point.score, point.best_score) for point in points]


def log_scores(shop, scores, *, direction):
    run = shop.create_run(direction=direction)
    for begin in range(0, len(scores), 1000):
        steps = [{"iteration": begin + n, "score": score} for n, score in enumerate(scores[begin : begin + 1000])]
        shop.post(f"/runs/{run['id']}/iterations/batch", {"iterations": steps}, Prefer="return=minimal")
    return run


def test_a_long_history_is_thinned_but_keeps_its_records_its_extremes_and_its_end(tracking, shop):
    scores = [100.0] * 3000
    for record, number in enumerate((1, 703, 1501, 2998)):
        scores[number] = 50.0 - record
    scores[2000] = 900.0
    run = log_scores(shop, scores, direction="minimize")
    rows = scores_of(history_of(tracking, run, max_points=100))
    assert 50 <= len(rows) <= 106
    assert {1, 703, 1501, 2000, 2998, 2999} <= {row[0] for row in rows}
    assert rows == [(number, scores[number], min(scores[: number + 1])) for number, _, _ in rows]
    assert len(history_of(tracking, run, max_points=3000)) == 3000
    assert history_of(tracking, run, project="search", max_points=100) == []


def test_a_history_of_nothing_but_records_is_thinned_too(tracking, shop):
    run = log_scores(shop, [float(number) for number in range(1000)], direction="maximize")
    rows = scores_of(history_of(tracking, run, max_points=100))
    assert len(rows) == 100
    assert all(score == best == number for number, score, best in rows)


def shuffled_scores(count: int) -> list[float | None]:
    """Scores with some records, some ties and some gaps, the same each time."""
    return [None if number % 97 == 5 else float(number * 7919 % 10_007 % 4000) for number in range(count)]


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("step", [1, 250], ids=["each number", "every 250th"])
def test_a_very_long_history_is_as_exact_in_whatever_order_it_was_logged(tracking, shop, direction, step):
    """Beyond 4,000 iterations it comes from extremes that are kept with each write."""
    scores = shuffled_scores(12_345)
    run = shop.create_run(direction=direction)
    places = [*range(0, 12_000, 2), *range(1, 12_000, 2), *range(12_000, 12_345)]
    for begin in range(0, len(places), 1000):
        rows = [{"iteration": place * step, "score": scores[place]} for place in places[begin : begin + 1000]]
        answer = shop.post(f"/runs/{run['id']}/iterations/batch", {"iterations": rows}, Prefer="return=minimal")
        assert answer.status_code == 201
    best = max if direction == "maximize" else min
    so_far, records, known = [], set(), []
    for number, score in enumerate(scores):
        known += [] if score is None else [score]
        if score is not None and (not so_far or so_far[-1] is None or best(so_far[-1], score) != so_far[-1]):
            records.add(number * step)
        known = [best(known)] if known else []
        so_far.append(known[0] if known else None)
    rows = scores_of(history_of(tracking, run, max_points=100))
    assert rows == [(number, scores[number // step], so_far[number // step]) for number, _, _ in rows]
    numbers = {number for number, _, _ in rows}
    assert records | {12_344 * step} <= numbers
    scored = [score for score in scores if score is not None]
    assert {score for _, score, _ in rows} >= {max(scored), min(scored)}
    assert 12 <= len(rows) <= 100 + len(records) + 1


def test_a_very_long_history_of_nothing_but_records_is_thinned_and_exact(tracking, shop):
    scores = [float(number - number % 3 * 2) for number in range(60_000)]  # up two, down one
    run = shop.create_run()
    with tracking.connect() as connection:
        connection.execute("SET ROLE optimization_service")
        for begin in range(0, len(scores), 10_000):
            connection.execute(
                "INSERT INTO optimization_iterations (project_id, run_id, iteration, score) "
                "SELECT 'shop', %s, n, n - n %% 3 * 2 FROM generate_series(%s::integer, %s) AS n",
                [run["id"], begin, begin + 9_999],
            )
    rows = scores_of(history_of(tracking, run, max_points=50))
    assert rows == [(number, scores[number], max(scores[: number + 1])) for number, _, _ in rows]
    assert 25 <= len(rows) <= 51 and rows[-1][0] == 59_999


def test_a_long_history_follows_what_an_administrator_changes(tracking, shop):
    run = log_scores(shop, [1.0] * 11_000, direction="maximize")
    for statement, highest in (
        ("UPDATE optimization_iterations SET score = 5 WHERE run_id = %s AND iteration = 4321", 5),
        ("DELETE FROM optimization_iterations WHERE run_id = %s AND iteration = 4321", 1),
        ("DELETE FROM optimization_iterations WHERE run_id = %s AND iteration > 100", 1),
    ):
        with tracking.connect() as connection:
            connection.execute("SET ROLE optimization_service")
            connection.execute(statement, [run["id"]])
        assert history_of(tracking, run, max_points=100)[-1].best_score == highest
    assert history_of(tracking, run)[-1].iteration == 100


@pytest.mark.parametrize("iterations", [50, 10_050])
def test_params_come_with_a_history_as_far_as_they_are_short(tracking, shop, iterations):
    run = log_scores(shop, [1.0] * (iterations - 2), direction="maximize")
    shop.add_iteration(run["id"], iteration=iterations - 2, score=2, params={"depth": 6})
    shop.add_iteration(run["id"], iteration=iterations - 1, score=3, params={f"key {n}": n for n in range(5000)})
    *_, short, long = history_of(tracking, run)
    assert (short.params, long.params) == ({"depth": 6}, None)
    assert history_of(tracking, run, has_params=False)[-2].params is None
