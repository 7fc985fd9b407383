"""Lists of runs: filters, orders, pages."""

import json
import uuid

import pytest
from servers.tracking import Tracking

from optimization_tracking.queries import render_query

MOST_PAGES = 100
"""Far more than any list of these tests has."""


@pytest.fixture(scope="module")
def mark(tracking: Tracking):
    """A tag of this module's own runs, which no test changes: twelve, some without a score, some with equal ones."""
    shop, mark = tracking.client("shop"), f"list-{uuid.uuid4()}"
    for number in range(12):
        ended = {"status": "completed", "finalScore": number // 2, "initialScore": 0.5} if number % 3 else {}
        shop.create_run(
            runName=f"run 100%_{number}",
            optimizerType=("rtb", "knn")[number % 2],
            tags=[mark, f"n{number}"],
            config={"depth": number, "deep": {"a": [1, number]}},
            **ended,
        )
    return mark


def walk(client, **filters):
    """Every run of a list, page by page, and the totals that the pages gave."""
    found, totals, cursor = [], [], {}
    for _ in range(MOST_PAGES):
        page = client.get("/runs", limit=5, **filters, **cursor).json()
        found += page["data"]
        totals.append(page["pagination"]["total"])
        if not page["pagination"]["hasMore"]:
            assert page["pagination"]["nextCursor"] is None
            return found, totals
        cursor = {"cursor": page["pagination"]["nextCursor"]}
    raise AssertionError(f"the list does not end within {MOST_PAGES} pages")


@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize(
    ("order_by", "field"), [("created_at", "createdAt"), ("final_score", "finalScore"), ("improvement", "improvement")]
)
def test_cursors_walk_every_run_once_in_order_with_the_missing_values_last(shop, mark, order_by, field, direction):
    runs, totals = walk(shop, tags=mark, orderBy=order_by, orderDirection=direction)
    assert len({run["id"] for run in runs}) == len(runs) == 12
    assert totals == [12, 12, 12]
    values = [run[field] for run in runs]
    known = [value for value in values if value is not None]
    assert values == sorted(known, reverse=direction == "desc") + [None] * (12 - len(known))


def test_offsets_give_the_same_pages_as_cursors(shop, mark):
    by_cursor, _ = walk(shop, tags=mark, orderBy="final_score")
    pages = [
        shop.get("/runs", tags=mark, orderBy="final_score", limit=5, offset=offset).json() for offset in (0, 5, 10)
    ]
    assert [run["id"] for page in pages for run in page["data"]] == [run["id"] for run in by_cursor]


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({"status": "completed"}, 8),
        ({"status": ["completed", "pending"]}, 12),
        ({"optimizerType": "knn"}, 6),
        ({"optimizerType": ["knn", "rtb"], "status": "pending"}, 4),
        ({"config": json.dumps({"depth": 7})}, 1),
        ({"config": json.dumps({"deep": {"a": [3]}})}, 1),
        ({"metadata": json.dumps({"none": "such"})}, 0),
        ({"search": "100%_1"}, 3),
        ({"search": "RUN 100"}, 12),
        ({"search": "10_"}, 0),
        ({"minScore": 2, "maxScore": 3}, 3),
        ({"startDate": "2100-01-01T00:00:00Z"}, 0),
        ({"endDate": "2100-01-01T00:00:00Z"}, 12),
    ],
    ids=str,
)
def test_filters_narrow_the_list_and_its_total(shop, mark, filters, count):
    page = shop.get("/runs", tags=mark, limit=100, **filters).json()
    assert (len(page["data"]), page["pagination"]["total"]) == (count, count)


@pytest.mark.parametrize("runs", [5, 105], ids=["few are called so", "the newest runs fill a page"])
def test_a_name_is_searched_alone_and_with_filters_and_orders_however_many_have_it(shop, runs):
    name = f"Sought {uuid.uuid4()}"
    for number in range(runs):
        ended = {"status": "completed", "finalScore": number} if number % 5 == 0 else {}
        shop.create_run(runName=f"{name} {number}", **ended)
    found = shop.get("/runs", search=name.upper(), limit=100).json()
    assert found["pagination"]["total"] == runs
    newest_first = [f"{name} {number}" for number in reversed(range(runs))]
    assert [run["runName"] for run in found["data"]] == newest_first[:100]
    order = {"orderBy": "final_score", "orderDirection": "asc"}
    completed = shop.get("/runs", search=name, status="completed", limit=100, **order).json()["data"]
    assert [run["finalScore"] for run in completed] == list(range(0, runs, 5))
    assert shop.get("/runs", search=f"{name} nowhere").json()["pagination"]["total"] == 0


def test_several_tags_must_all_be_there(shop, mark):
    assert shop.get("/runs", tags=[mark, "n3"]).json()["pagination"]["total"] == 1
    assert shop.get("/runs", tags=["n3", "n4", mark]).json()["pagination"]["total"] == 0


def test_the_leaderboard_has_completed_runs_of_its_direction_best_first(shop, mark):
    low = f"low-{mark}"
    for score in (-7, -8):
        shop.create_run(tags=[low], status="completed", direction="minimize", finalScore=score)
    top = shop.get("/runs", tags=mark, top=True, limit=3).json()["data"]
    assert [run["finalScore"] for run in top] == [5, 5, 4]
    lowest = shop.get("/runs", tags=low, top=True, direction="minimize").json()["data"]
    assert [run["finalScore"] for run in lowest] == [-8, -7]
    assert shop.get("/runs", tags=low, top=True, direction="maximize").json()["data"] == []
    assert shop.get("/runs", tags=low, top=True).json()["data"] == lowest  # no run that matches maximizes


def test_a_list_includes_the_iterations_if_requested(shop):
    mark = str(uuid.uuid4())
    run = shop.create_run(tags=[mark])
    shop.add_iteration(run["id"], iteration=2, score=1)
    shop.add_iteration(run["id"], iteration=1, score=1)
    (listed,) = shop.get("/runs", tags=mark, includeIterations=True).json()["data"]
    assert [(it["iteration"], it["isBest"]) for it in listed["iterationList"]] == [(1, True), (2, False)]
    assert shop.get("/runs", tags=mark).json()["data"][0]["iterationList"] is None


def test_iterations_and_samples_are_paged_by_cursors_too(shop):
    run = shop.create_run()
    path = f"/runs/{run['id']}"
    shop.post(f"{path}/iterations/batch", {"iterations": [{"iteration": number} for number in range(7)]})
    samples = [{"iteration": number, "sampleIndex": index} for number in range(3) for index in range(3)]
    shop.post(f"{path}/samples", {"samples": samples})
    for resource, keys in (("iterations", ["iteration"]), ("samples", ["iteration", "sampleIndex"])):
        found, cursor = [], {}
        while cursor is not None:
            page = shop.get(f"{path}/{resource}", limit=4, **cursor).json()
            found += [tuple(item[key] for key in keys) for item in page["data"]]
            following = page["pagination"]["nextCursor"]
            cursor = {"cursor": following} if following else None
        assert found == sorted(found)
        assert len(found) == page["pagination"]["total"] == len(set(found))


def test_a_leaderboard_a_cursor_page_and_a_search_read_their_indexes(tracking):
    """At a size where the planner has a choice; through the callers' own role and policies."""
    questions = {
        "idx_optimization_runs_performance": (
            "SELECT id FROM optimization_runs WHERE project_id = 'shop' AND status = 'completed' "
            "AND direction = 'maximize' AND final_score IS NOT NULL ORDER BY final_score DESC, id DESC LIMIT 10"
        ),
        "idx_optimization_runs_project_id": (
            "SELECT id FROM optimization_runs WHERE project_id = 'shop' AND (created_at, id) < (now(), "
            "gen_random_uuid()) ORDER BY created_at DESC, id DESC LIMIT 20"
        ),
        "idx_optimization_runs_final_score": (
            "SELECT id FROM optimization_runs WHERE project_id = 'shop' AND final_score IS NOT NULL "
            "AND (final_score, id) < (500, gen_random_uuid()) ORDER BY final_score DESC, id DESC LIMIT 20"
        ),
    }
    with tracking.connect() as connection:
        connection.execute("SET ROLE optimization_service")
        connection.execute(
            "INSERT INTO optimization_runs "
            "(project_id, run_name, optimizer_type, status, final_score, config, created_at) "
            "SELECT 'shop', 'bulk', 'bulk', (ARRAY['completed', 'failed'])[n % 2 + 1], n, "
            "jsonb_build_object('bulk', n), now() - n * interval '1 second' "
            "FROM generate_series(1, 20000) AS n"
        )
        connection.execute("RESET ROLE")
        connection.execute("ANALYZE optimization_runs")
        connection.execute("SET LOCAL ROLE optimization_app")
        connection.execute("SELECT set_config('app.projects', '{shop}', true)")
        for index, question in questions.items():
            plan = "\n".join(row[0] for row in connection.execute(f"EXPLAIN {question}").fetchall())
            assert index in plan and "Sort" not in plan, plan
        page = render_query("list_runs", column="final_score", way="DESC").decode()
        values = {"project_id": "shop", "row_limit": 20, "row_offset": 0, "max_bytes": 1_000_000}
        rows = connection.execute(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {page}", values).fetchall()
        plan = "\n".join(row[0] for row in rows)
        assert "never executed" in plan, plan
        find = "SELECT optimization_find_runs('shop', '{\"bulk\": 777}', NULL, NULL, 10)"
        assert len(connection.execute(find).fetchall()) == 1
        named = "SELECT optimization_find_named_runs(%s, %s, 10)"
        # Every new run is called so: the list's own order finds them at once.
        assert connection.execute(named, ["shop", "BULK"]).fetchall() == [(None,)]
        # One run is called so; the names themselves are in the index.
        connection.execute("RESET ROLE")
        connection.execute("SET LOCAL ROLE optimization_service")
        connection.execute("UPDATE optimization_runs SET run_name = 'Rare_Name' WHERE config @> '{\"bulk\": 777}'")
        connection.execute("SET LOCAL ROLE optimization_app")
        assert len(connection.execute(named, ["shop", "rare_n"]).fetchall()) == 1
        assert connection.execute(named, ["search", "rare"]).fetchall() == []
        connection.rollback()


@pytest.mark.parametrize(
    "searched", ["\u00e9t\u00e9", "\u00c9T\u00c9", "e\u0301te\u0301", "\u00e9\u200bt", "\uff25\u0301t"]
)
def test_a_name_is_found_in_any_case_and_any_form_of_its_letters(shop, searched):
    names = ["\u00c9t\u00e9 2026", "E\u0301te\u0301 2026", "\u00e9\u200bt\u00e9 2026"]
    mark = str(uuid.uuid4())
    for name in names:
        shop.create_run(runName=name, tags=[mark])
    found = shop.get("/runs", tags=mark, search=searched).json()["data"]
    assert len(found) == len(names)


def test_a_sign_that_looks_like_a_wildcard_is_none(shop):
    mark = str(uuid.uuid4())
    shop.create_run(runName="100 percent", tags=[mark])
    assert shop.get("/runs", tags=mark, search="1\uff05p").json()["data"] == []


def test_a_run_is_found_by_exactly_its_name(shop):
    name = f"exact {uuid.uuid4()}"
    runs = [shop.create_run(runName=name) for _ in range(2)]
    shop.create_run(runName=f"{name}!")
    assert [run["id"] for run in shop.get("/runs", runName=name).json()["data"]] == [runs[1]["id"], runs[0]["id"]]
    assert shop.get("/runs", runName=name.upper()).json()["data"] == []


def test_letters_are_found_by_each_of_their_lower_cases_and_without_what_is_not_seen(each_tracking):
    shop, mark = each_tracking.client("shop"), f"seen-{uuid.uuid4()}"
    spellings = {
        "Straße": ("STRASSE", "straße", "STRAẞE", "strasse"),
        "ΣΊΣΥΦΟΣ": ("σίσυφος", "σίσυφοσ", "Σίσυφος"),
        "İstanbul": ("istanbul", "ISTANBUL", "i\u0307stanbul", "\u0131stanbul"),
        "a \u2764\ufe0f": ("a \u2764", "A \u2764\ufe0e"),
        "e\u200b\u0301t": ("\u00e9t", "E\u0301T"),
        "\U0001f4a9 100%": ("\U0001f4a9 1", "0\uff05"),
    }
    for name in spellings:
        shop.create_run(runName=name, tags=[mark])
    found = {
        part: [run["runName"] for run in shop.get("/runs", tags=mark, search=part).json()["data"]]
        for parts in spellings.values()
        for part in parts
    }
    assert found == {part: [name] for name, parts in spellings.items() for part in parts}
    assert shop.get("/runs", tags=mark, search="i\u0455tanbul").json()["data"] == []  # a Cyrillic letter
