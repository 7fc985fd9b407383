"""What other teams would use, on the same Postgres in the same run: MLflow's tracking server, Optuna's RDB storage.

MLflow pins other packages than Airflow does, so `uv tool run` gives it an environment of its own.
"""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import optuna

from lab.benchmarks.tracking.lines import BenchmarkLine
from lab.benchmarks.tracking.service import HttpClient, Service, serving
from lab.benchmarks.tracking.timing import Action, measure_latency, measure_rate

MLFLOW = "mlflow==3.17.2"
PSYCOPG2 = "psycopg2-binary==2.9.13"
BATCH = 1000


def measure_optuna(service: Service, *, seconds: float) -> list[BenchmarkLine]:
    """Return how many trials a second Optuna's storage takes, each with three parameters and its value."""
    url = service.create_database("optuna").replace("postgresql://", "postgresql+psycopg://", 1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = optuna.storages.RDBStorage(url)
    study = optuna.create_study(storage=storage, sampler=optuna.samplers.RandomSampler(seed=1))

    def trial(_: int) -> None:
        asked = study.ask()
        for name in ("learning_rate", "num_leaves", "min_data_in_leaf"):
            asked.suggest_float(name, 0, 1)
        study.tell(asked, 0.5)

    timing = measure_rate(lambda _: trial, clients=1, seconds=seconds)
    storage.remove_session()
    storage.engine.dispose()
    return [BenchmarkLine("Optuna: trials, 1 client", timing.per_s, "/s")]


def measure_mlflow(service: Service, *, uv: Path, runs: int, seconds: float, repeats: int) -> list[BenchmarkLine]:
    """Return the same of MLflow's server, over its REST API: runs, metrics one by one and in batches, and a top 10."""
    database = service.create_database("mlflow").replace("postgresql://", "postgresql+psycopg2://", 1)
    command = (
        *(str(uv.resolve()), "tool", "run", "--from", MLFLOW, "--with", PSYCOPG2, "mlflow", "server"),
        *("--workers", "1", "--host", "127.0.0.1", "--artifacts-destination", str(service.folder / "artifacts")),
        "--port",
    )
    variables = {"MLFLOW_BACKEND_STORE_URI": database, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    with serving(command, health="/health", variables={**os.environ, **variables}) as address, ExitStack() as clients:

        def connect() -> HttpClient:
            return clients.enter_context(closing(HttpClient(address + "/api/2.0/mlflow")))

        return _measure_mlflow(connect, runs=runs, seconds=seconds, repeats=repeats)


def _measure_mlflow(
    connect: Callable[[], HttpClient], *, runs: int, seconds: float, repeats: int
) -> list[BenchmarkLine]:
    client = connect()
    experiment_id = client.post("/experiments/create", {"name": "bench"})["experiment_id"]

    def create(mlflow: HttpClient) -> str:
        body = {"experiment_id": experiment_id, "start_time": _now_ms()}
        return mlflow.post("/runs/create", body)["run"]["info"]["run_id"]

    def creating(_: int) -> Action:
        mlflow = connect()
        return lambda number: create(mlflow)

    def metrics(_: int) -> Action:
        mlflow = connect()
        run_id = create(mlflow)
        return lambda number: mlflow.post("/runs/log-metric", {"run_id": run_id, **_metric(number)})

    def batches(_: int) -> Action:
        mlflow = connect()
        run_id = create(mlflow)

        def write(number: int) -> None:
            metrics = ",".join(map(_spell_metric, range(number * BATCH, (number + 1) * BATCH)))
            mlflow.post("/runs/log-batch", f'{{"run_id":"{run_id}","metrics":[{metrics}]}}'.encode())

        return write

    lines = []
    for clients in (1, 8):
        by = f"{clients} client{'s' if clients > 1 else ''}"
        created, single, batch = (
            measure_rate(make, clients=clients, seconds=seconds) for make in (creating, metrics, batches)
        )
        lines += [
            BenchmarkLine(f"MLflow: runs created, {by}", created.per_s, "/s"),
            BenchmarkLine(f"MLflow: metrics one by one, {by}", single.per_s, "/s"),
            BenchmarkLine(f"MLflow: one metric, 99 in 100, {by}", single.p99_ms, "ms"),
            BenchmarkLine(f"MLflow: metrics in batches, {by}", batch.per_s * BATCH, "/s"),
        ]
    for number in range(runs):
        client.post("/runs/log-metric", {"run_id": create(client), **_metric(number)})
    search = {"experiment_ids": [experiment_id], "order_by": ["metrics.score DESC"], "max_results": 10}
    top = measure_latency(lambda _: client.post("/runs/search", search), repeats=repeats)
    return [*lines, BenchmarkLine(f"MLflow: top 10, {runs:,} runs and more", top.p50_ms, "ms")]


def _metric(number: int) -> dict[str, object]:
    return {"key": "score", "value": number % 997 / 997, "timestamp": _now_ms(), "step": number}


def _spell_metric(number: int) -> str:
    return f'{{"key":"score","value":{number % 997 / 997},"timestamp":{_now_ms()},"step":{number}}}'


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
