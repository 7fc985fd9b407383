"""What one long run costs: its pages, its history, a comparison, an export, and its deletion."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from lab.benchmarks.tracking.lines import BenchmarkLine
from lab.benchmarks.tracking.service import HttpClient, Service
from lab.benchmarks.tracking.timing import measure_latency
from optimizer.names import TRACKING_API_URL_VARIABLE, TRACKING_KEY_VARIABLE, TRACKING_PROJECT

MAX_MS, MAX_DELETE_MS = 200, 200
MAX_DELETE_RATIO = 50
"""Deleting a run against reading it: what removes its rows would take thousands of times as long."""
MAX_MEMORY_RATIO = 1.5
"""An export of the whole run against one of a hundredth of it: what it holds at once does not grow with the rows."""
PORTION = 100_000
READS = 20

FILL_ITERATIONS = """
INSERT INTO optimization_iterations (project_id, run_id, iteration, score, params, duration_ms)
SELECT %(project_id)s, %(run_id)s, n, (n::bigint * 7919 %% 1000003) / 1000003.0,
    jsonb_build_object('learning_rate', 0.1, 'num_leaves', n %% 64), 250
FROM generate_series(%(first)s::integer, %(last)s) AS n
"""
FILL_SAMPLES = """
INSERT INTO optimization_samples (project_id, run_id, iteration_id, iteration, sample_index, input, score, is_correct)
SELECT it.project_id, it.run_id, it.id, it.iteration, n, '{"segment": 7}', 0.5, n %% 2 = 0
FROM optimization_iterations AS it, generate_series(%(first)s::integer, %(last)s) AS n
WHERE it.run_id = %(run_id)s AND it.iteration = 0
"""


def measure_long_runs(
    service: Service, *, iterations: int, samples: int, repeats: int, tell: Callable[[str], None]
) -> list[BenchmarkLine]:
    """Return what a run of that many iterations, and one of that many samples, cost their readers."""
    client = service.client()
    tell(f"filling a run with {iterations:,} iterations")
    long, short = (_filled(service, client, iterations=count) for count in (iterations, iterations // 100))
    tell(f"reading a run of {iterations:,} iterations")
    middle = client.get(f"/runs/{long}/iterations?limit=1&offset={min(iterations // 2, 10_000)}")
    cursor = middle["pagination"]["nextCursor"]
    questions = {
        "page of 100 iterations": f"/runs/{long}/iterations",
        "page of 100 iterations by cursor": f"/runs/{long}/iterations?cursor={cursor}",
        "the run with its first iterations": f"/runs/{long}",
        "the run's page, with its history": f"/dashboard/runs/{long}",
        "comparison with another run": f"/dashboard/compare?run={long}&run={short}",
    }
    lines = []
    for name, path in questions.items():
        timing = measure_latency(lambda _, path=path: client.send("GET", path), repeats=repeats)
        lines.append(BenchmarkLine(f"{name}, {iterations:,} iterations", timing.p50_ms, "ms", MAX_MS))
    tell(f"exporting {iterations:,} iterations")
    return lines + _measure_export(service, long, short, rows=iterations) + _measure_deletion(service, samples, tell)


def _filled(service: Service, client: HttpClient, *, iterations: int) -> str:
    run_id = _create(client)
    _fill(service, FILL_ITERATIONS, run_id, rows=iterations)
    return run_id


def _create(client: HttpClient) -> str:
    run = client.post("/runs", {"runName": "long", "optimizerType": "rtb", "status": "running"})
    return str(run["data"]["id"])


def _fill(service: Service, statement: str, run_id: str, *, rows: int) -> None:
    with service.connect() as connection:
        connection.execute("SET ROLE optimization_service")
        for first in range(0, rows, PORTION):
            place = {"first": first, "last": min(first + PORTION, rows) - 1}
            connection.execute(statement, {"project_id": TRACKING_PROJECT, "run_id": run_id, **place})
        connection.execute("RESET ROLE")
        connection.execute("VACUUM ANALYZE optimization_iterations, optimization_samples")


def _measure_export(service: Service, long: str, short: str, *, rows: int) -> list[BenchmarkLine]:
    files = {run: service.folder / f"{run}.parquet" for run in (short, long)}
    (_, small_bytes), (taken_s, peak_bytes) = (_export(service, run, file) for run, file in files.items())
    name = f"export of {rows:,} iterations to Parquet"
    return [
        BenchmarkLine(name, rows / taken_s, "/s"),
        BenchmarkLine(f"{name}: memory", peak_bytes / 2**20, "MiB"),
        BenchmarkLine(f"{name}: memory against a hundredth", peak_bytes / small_bytes, "times", MAX_MEMORY_RATIO),
    ]


def _export(service: Service, run_id: str, file: Path) -> tuple[float, int]:
    """Return the seconds that the command takes, and its largest memory in bytes."""
    words = ("-m", "optimization_tracking", "export", str(file), "--what", "iterations", "--run", run_id)
    variables = {TRACKING_API_URL_VARIABLE: service.address, TRACKING_KEY_VARIABLE: service.key}
    begun = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603
        (sys.executable, *words), env={**os.environ, **variables}, stdout=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)
    return time.perf_counter() - begun, used.ru_maxrss * 1024


def _measure_deletion(service: Service, samples: int, tell: Callable[[str], None]) -> list[BenchmarkLine]:
    client = service.client()
    tell(f"filling a run with {samples:,} samples")
    run_id = _filled(service, client, iterations=1)
    _fill(service, FILL_SAMPLES, run_id, rows=samples)
    tell(f"deleting a run of {samples:,} samples")
    read_ms = measure_latency(lambda _: client.send("GET", f"/runs/{run_id}"), repeats=READS).p50_ms
    begun = time.perf_counter()
    client.send("DELETE", f"/runs/{run_id}")
    deleted_ms = (time.perf_counter() - begun) * 1000
    with service.connect() as connection:
        connection.execute("SET ROLE optimization_service")
        while connection.execute("SELECT true FROM optimization_deleted_runs").fetchone():
            time.sleep(0.1)
    return [
        BenchmarkLine(f"deletion of a run of {samples:,} samples", deleted_ms, "ms", MAX_DELETE_MS),
        BenchmarkLine(
            f"the same against reading the run, {samples:,} samples", deleted_ms / read_ms, "times", MAX_DELETE_RATIO
        ),
        BenchmarkLine(f"the same until its rows are gone, {samples:,} samples", time.perf_counter() - begun, "s"),
    ]
