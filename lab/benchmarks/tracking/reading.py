"""What it costs to read: lists, filters, leaderboard, analytics and deep pages, at growing numbers of runs."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

from lab.benchmarks.tracking.lines import BenchmarkLine
from lab.benchmarks.tracking.service import Service
from lab.benchmarks.tracking.timing import Timing, measure_latency
from optimization_tracking.models.queries import MAX_OFFSET
from optimization_tracking.queries import render_query
from optimization_tracking.tables.pages import MAX_ANSWER_BYTES
from optimizer.names import TRACKING_PROJECT

MAX_INDEXED_MS, MAX_ANALYTICS_MS, MAX_MS = 50, 20, 200
MAX_GROUPS_MS, GOAL_GROUPS_MS = 3000, 300
MAX_GROUPS_RATIO = 12
"""Groups read every run that matches, some of them twice: against a mean over all of them in SQL."""
GOAL_TOP_SQL_MS, GOAL_TOP_HTTP_MS, GOAL_DEEP_PAGE_SQL_MS = 5, 20, 5

GOALS_FROM = 100_000
"""The size that the goals name."""

MEAN = "SELECT avg(total_cost_usd::double precision) FROM optimization_runs WHERE project_id = %s"
"""Of a column that no index has, so that Postgres reads the table, as it does for groups."""

FILL = """
INSERT INTO optimization_runs (
    project_id, run_name, optimizer_type, status, direction, config, tags, initial_score, final_score, start_time,
    end_time, created_at
)
SELECT
    %(project_id)s, 'run ' || n, (ARRAY['rtb', 'knn', 'random', 'custom'])[n %% 4 + 1],
    (ARRAY['completed', 'completed', 'completed', 'failed', 'running'])[n %% 5 + 1],
    CASE WHEN n %% 10 = 0 THEN 'minimize' ELSE 'maximize' END,
    jsonb_build_object('depth', n %% 12, 'seed', n),
    ARRAY['t' || n %% 1000, CASE WHEN n %% 2 = 0 THEN 'even' ELSE 'odd' END],
    0.5, CASE WHEN n %% 5 <> 4 THEN (n::bigint * 7919 %% 1000003) / 1000003.0 END,
    now() - n * interval '2 seconds', now() - n * interval '1 second', now() - n * interval '1 second'
FROM generate_series(%(first)s::integer, %(last)s::integer) AS n
"""


def measure_reading(
    service: Service, *, sizes: Sequence[int], repeats: int, tell: Callable[[str], None], filled: int = 0
) -> list[BenchmarkLine]:
    """Return latencies at each number of runs, rising: the median of each, and the slowest of all 99 in 100.

    Args:
        filled: how many runs an earlier call has made.
    """
    lines = []
    for size in sizes:
        tell(f"filling up to {size:,} runs")
        filled = _fill(service, first=filled + 1, last=size)
        tell(f"reading at {size:,} runs")
        lines += _measure(service, size=size, repeats=repeats)
    return lines


def _fill(service: Service, *, first: int, last: int) -> int:
    with service.connect() as connection:
        connection.execute("SET ROLE optimization_service")
        connection.execute(FILL, {"project_id": TRACKING_PROJECT, "first": first, "last": last})
        connection.execute("SELECT refresh_optimization_analytics()")
        connection.execute("RESET ROLE")
        connection.execute("VACUUM ANALYZE optimization_runs")
    return last


def _measure(service: Service, *, size: int, repeats: int) -> list[BenchmarkLine]:
    client = service.client()
    detail = client.get("/runs?" + urlencode({"search": "bench", "limit": 1, "includeTotal": "false"}))["data"]
    run_id = detail[0]["id"] if detail else client.get("/runs?limit=1")["data"][0]["id"]
    # A total counts whatever matches, and a part of a name is looked for in every name: no index spares either.
    questions = {
        "list, first page with its total": ("/runs", {}, MAX_MS),
        "search in the names": ("/runs", {"search": "RUN 77", "includeTotal": "false"}, MAX_MS),
        "search for a name that is not there": ("/runs", {"search": "nowhere", "includeTotal": "false"}, MAX_MS),
        "list, no total": ("/runs", {"includeTotal": "false"}, MAX_INDEXED_MS),
        "filter by status": ("/runs", {"status": "failed", "includeTotal": "false"}, MAX_INDEXED_MS),
        "filter by optimizer type": ("/runs", {"optimizerType": "knn", "includeTotal": "false"}, MAX_INDEXED_MS),
        "filter by a tag of 1 in 1,000": ("/runs", {"tags": "t7", "includeTotal": "false"}, MAX_INDEXED_MS),
        "search in config for one run": ("/runs", {"config": json.dumps({"seed": 77})}, MAX_INDEXED_MS),
        "order by final score": ("/runs", {"orderBy": "final_score", "includeTotal": "false"}, MAX_INDEXED_MS),
        "deep page by cursor": ("/runs", _deep(client, size), MAX_INDEXED_MS),
        "top 10": ("/runs", {"top": "true", "limit": 10}, MAX_INDEXED_MS),
        "one run with its iterations": (f"/runs/{run_id}", {}, MAX_INDEXED_MS),
        "analytics": ("/analytics", {}, MAX_ANALYTICS_MS),
    }
    lines, slowest_ms = [], 0.0
    for name, (path, query, floor_ms) in questions.items():
        url = f"{path}?{urlencode(query)}"
        timing = measure_latency(lambda _, url=url: client.get(url), repeats=repeats)
        slowest_ms = max(slowest_ms, timing.p99_ms)
        goal = GOAL_TOP_HTTP_MS if name == "top 10" and size == GOALS_FROM else None
        lines.append(BenchmarkLine(f"{name}, {size:,} runs", timing.p50_ms, "ms", floor_ms, goal))
    lines.append(BenchmarkLine(f"the slowest of these, 99 in 100, {size:,} runs", slowest_ms, "ms", MAX_MS))
    lines += _measure_groups(service, size=size, repeats=max(1, repeats // 10))
    is_goal = size == GOALS_FROM
    lines += [
        BenchmarkLine(f"{name} in SQL, {size:,} runs", timing.p50_ms, "ms", MAX_INDEXED_MS, goal if is_goal else None)
        for (name, timing), goal in zip(
            _measure_sql(service, size=size, repeats=repeats).items(),
            (GOAL_TOP_SQL_MS, GOAL_DEEP_PAGE_SQL_MS),
            strict=True,
        )
    ]
    return lines


def _measure_groups(service: Service, *, size: int, repeats: int) -> list[BenchmarkLine]:
    questions = {
        "groups by a key of the config": {"by": "config.depth"},
        "groups by a key of the config, paired by day": {"by": "config.depth", "pairBy": "day"},
        "groups by tag": {"by": "tag"},
    }
    client = service.client()
    is_goal = size == GOALS_FROM
    lines = []
    for name, query in questions.items():
        url = f"/groups?{urlencode(query)}"
        taken_ms = measure_latency(lambda _, url=url: client.get(url), repeats=repeats).p50_ms
        goal = GOAL_GROUPS_MS if is_goal else None
        lines.append(BenchmarkLine(f"{name}, {size:,} runs", taken_ms, "ms", MAX_GROUPS_MS, goal))
        if is_goal:
            ratio = taken_ms / _mean_in_sql(service, repeats=repeats)
            lines.append(BenchmarkLine(f"the same against a mean in SQL, {name}", ratio, "times", MAX_GROUPS_RATIO))
    return lines


def _mean_in_sql(service: Service, *, repeats: int) -> float:
    """Return how many milliseconds Postgres takes for a mean over all runs, under a caller's policies."""
    with _as_caller(service) as connection:
        return measure_latency(
            lambda _: connection.execute(MEAN, [TRACKING_PROJECT]).fetchall(), repeats=repeats
        ).p50_ms


def _deep(client, size: int) -> dict[str, object]:
    """Return the query of a page in the middle of all runs, or as deep as an offset leads."""
    middle = client.get(
        "/runs?" + urlencode({"offset": min(size // 2, MAX_OFFSET), "limit": 20, "includeTotal": "false"})
    )
    return {"cursor": middle["pagination"]["nextCursor"], "includeTotal": "false"}


def _measure_sql(service: Service, *, size: int, repeats: int) -> dict[str, Timing]:
    """Return the service's own statements under a caller's role and policies, without HTTP."""
    values = {"project_id": TRACKING_PROJECT, "row_limit": 20, "row_offset": 0, "max_bytes": MAX_ANSWER_BYTES}
    top = render_query("top_runs", way="DESC")
    page = render_query("list_runs", asked=frozenset({"after_value"}), column="created_at", way="DESC")
    with _as_caller(service) as connection:
        place = "SELECT created_at, id FROM optimization_runs ORDER BY created_at DESC, id DESC OFFSET %s LIMIT 1"
        after = dict(
            zip(("after_value", "after_id"), connection.execute(place, [size // 2]).fetchone() or (), strict=True)
        )
        return {
            "top 10": measure_latency(
                lambda _: connection.execute(top, values | {"row_limit": 10}).fetchall(), repeats=repeats
            ),
            "deep page by cursor": measure_latency(
                lambda _: connection.execute(page, values | after).fetchall(), repeats=repeats
            ),
        }


@contextmanager
def _as_caller(service: Service) -> Iterator[Any]:
    """Give a connection under a caller's role and policies."""
    with service.connect() as connection:
        connection.execute("SET ROLE optimization_app")
        connection.execute("SELECT set_config('app.projects', %s, false)", [f"{{{TRACKING_PROJECT}}}"])
        yield connection
