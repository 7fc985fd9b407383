"""What the Python client costs the program that logs, and how long an export takes."""

import os
import subprocess
import sys
import time

from lab.benchmarks.tracking.lines import BenchmarkLine
from lab.benchmarks.tracking.service import Service
from lab.benchmarks.tracking.timing import measure_latency
from optimization_tracking.client import ClientSettings, track_run
from optimizer.names import TRACKING_API_URL_VARIABLE, TRACKING_KEY_VARIABLE

GOAL_LOG_MS, GOAL_DURABLE_PER_S, GOAL_EXPORT_S = 0.05, 10_000, 5
EXPORTED_RUNS = 20_000
SPELLED_RUNS = "run"
"""What the names of the filled runs have in common."""


def measure_client(service: Service, *, entries: int) -> list[BenchmarkLine]:
    """Return what one log() takes, how many a second are safe on disk, and how many the service then has."""
    settings = ClientSettings(service.address, service.key, queue_folder=service.folder / "queue")
    with track_run("bench", optimizer_type="rtb", settings=settings) as run:
        begun = time.perf_counter()
        logged = measure_latency(lambda number: run.log_iteration(number, score=number / 7), repeats=entries)
        run.flush(timeout_s=600)
        sent_s = time.perf_counter() - begun
    return [
        BenchmarkLine("the client's log(), median", logged.p50_ms, "ms", goal=GOAL_LOG_MS),
        BenchmarkLine("the client's log(), safe on disk", logged.per_s, "/s", goal=GOAL_DURABLE_PER_S),
        BenchmarkLine("logged by the client and sent", entries / sent_s, "/s"),
    ]


def measure_export(service: Service) -> list[BenchmarkLine]:
    """Return how long the command takes that writes every run to a Parquet file, its own start included."""
    environment = {
        **os.environ,
        TRACKING_API_URL_VARIABLE: service.address,
        TRACKING_KEY_VARIABLE: service.key,
    }
    with service.connect() as connection:
        connection.execute("SET ROLE optimization_service")
        (runs,) = connection.execute("SELECT count(*) FROM optimization_runs").fetchone() or (0,)
    file = service.folder / "runs.parquet"
    begun = time.perf_counter()
    command = [sys.executable, "-m", "optimization_tracking", "export", str(file)]
    subprocess.run(command, env=environment, check=True, capture_output=True)  # noqa: S603
    taken_s = time.perf_counter() - begun
    name = f"export of {EXPORTED_RUNS:,} runs (from {runs:,}) to Parquet"
    return [BenchmarkLine(name, taken_s * EXPORTED_RUNS / runs, "s", goal=GOAL_EXPORT_S)]
