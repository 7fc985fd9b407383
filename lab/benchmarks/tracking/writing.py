"""What it costs to write: runs, iterations and samples, one by one and in batches, by one client and by eight."""

from collections.abc import Callable

from lab.benchmarks.tracking.lines import BenchmarkLine
from lab.benchmarks.tracking.service import Service
from lab.benchmarks.tracking.timing import Action, measure_latency, measure_rate
from optimizer.names import TRACKING_PROJECT

BATCH = 1000
CLIENTS = (1, 8)
RUN = {"runName": "bench", "optimizerType": "rtb", "status": "running", "config": {"depth": 6}, "tags": ["bench"]}
MINIMAL = {"Prefer": "return=minimal"}

MIN_INSERTS_PER_S = 1000
GOAL_ITERATIONS_PER_S, GOAL_ITERATION_P99_MS = 400, 30
GOAL_BATCH_ROWS_PER_S = 20_000


def iteration(number: int) -> dict[str, object]:
    """Return a step as an optimizer logs it."""
    return {
        "iteration": number,
        "score": number % 997 / 997,
        "params": {"learning_rate": 0.1, "num_leaves": number % 64, "min_data_in_leaf": 20},
        "tokensUsed": 128,
        "durationMs": 250,
    }


def spell_iteration(number: int) -> str:
    """Return the JSON of a step; made by hand, since the clients share the processors with the server."""
    params = f'{{"learning_rate":0.1,"num_leaves":{number % 64},"min_data_in_leaf":20}}'
    return f'{{"iteration":{number},"score":{number % 997 / 997},"params":{params},"tokensUsed":128,"durationMs":250}}'


def spell_sample(number: int) -> str:
    """Return the JSON of a sample of iteration 0."""
    outputs = '"predictedOutput":0.31,"expectedOutput":0.29,"score":0.9,"isCorrect":true'
    return f'{{"iteration":0,"sampleIndex":{number},"input":{{"segment":"segment-{number}"}},{outputs}}}'


def measure_writing(service: Service, *, seconds: float) -> list[BenchmarkLine]:
    """Return what writing costs, each measurement for that many seconds."""
    lines = []
    for clients in CLIENTS:
        by = f"{clients} client{'s' if clients > 1 else ''}"
        runs = measure_rate(_runs(service), clients=clients, seconds=seconds)
        single = measure_rate(_iterations(service), clients=clients, seconds=seconds)
        iterations = measure_rate(_batches(service, "iterations"), clients=clients, seconds=seconds)
        samples = measure_rate(_batches(service, "samples"), clients=clients, seconds=seconds)
        goal = GOAL_BATCH_ROWS_PER_S
        lines += [
            BenchmarkLine(f"runs created, {by}", runs.per_s, "/s"),
            BenchmarkLine(f"iterations one by one, {by}", single.per_s, "/s", goal=GOAL_ITERATIONS_PER_S),
            BenchmarkLine(f"one iteration, 99 in 100, {by}", single.p99_ms, "ms", goal=GOAL_ITERATION_P99_MS),
            BenchmarkLine(f"iterations in batches, {by}", iterations.per_s * BATCH, "/s", MIN_INSERTS_PER_S, goal),
            BenchmarkLine(f"samples in batches, {by}", samples.per_s * BATCH, "/s", MIN_INSERTS_PER_S, goal),
        ]
    return lines + measure_inserts(service, seconds=seconds)


def measure_inserts(service: Service, *, seconds: float) -> list[BenchmarkLine]:
    """Return what single inserts cost in SQL, and the cost of a run's ten-thousandth insert against its tenth."""
    client = service.client()
    with service.connect() as connection:
        connection.execute("SET ROLE optimization_app")
        connection.execute("SELECT set_config('app.projects', %s, false)", [f"{{{TRACKING_PROJECT}}}"])
        statement = "INSERT INTO optimization_iterations (project_id, run_id, iteration, score) VALUES (%s, %s, %s, %s)"

        def insert(run_id: str, begin: int) -> Action:
            return lambda number: connection.execute(
                statement, [TRACKING_PROJECT, run_id, begin + number, number % 7], prepare=True
            )

        rate = measure_rate(lambda _: insert(_create(client), 0), clients=1, seconds=seconds)
        early, late = _create(client), _create(client)
        for first in range(0, 10_000, BATCH):
            rows = [iteration(number) for number in range(first, first + BATCH)]
            client.post(f"/runs/{late}/iterations/batch", {"iterations": rows}, **MINIMAL)
        tenth = measure_latency(insert(early, 10), repeats=300)
        later = measure_latency(insert(late, 10_000), repeats=300)
    return [
        BenchmarkLine("inserts of one row each, SQL, 1 connection", rate.per_s, "/s", MIN_INSERTS_PER_S),
        BenchmarkLine("insert 10 of a run, SQL, median", tenth.p50_ms, "ms"),
        BenchmarkLine("insert 10,000 of a run, SQL, median", later.p50_ms, "ms", goal=tenth.p50_ms * 1.2),
    ]


def _create(client) -> str:
    return client.post("/runs", RUN)["data"]["id"]


def _runs(service: Service) -> Callable[[int], Action]:
    def make(_: int) -> Action:
        client = service.client()
        return lambda number: client.post("/runs", RUN)

    return make


def _iterations(service: Service) -> Callable[[int], Action]:
    def make(_: int) -> Action:
        client = service.client()
        path = f"/runs/{_create(client)}/iterations"
        return lambda number: client.post(path, iteration(number))

    return make


def _batches(service: Service, kind: str) -> Callable[[int], Action]:
    """Each client writes to a run of its own, a thousand rows a request, and asks for none of them back."""
    spell, path = (spell_iteration, "iterations/batch") if kind == "iterations" else (spell_sample, "samples")

    def make(_: int) -> Action:
        client = service.client()
        run_id = _create(client)
        if kind == "samples":
            client.post(f"/runs/{run_id}/iterations", iteration(0))

        def write(number: int) -> None:
            rows = ",".join(map(spell, range(number * BATCH, (number + 1) * BATCH)))
            client.post(f"/runs/{run_id}/{path}", f'{{"{kind}":[{rows}]}}'.encode(), **MINIMAL)

        return write

    return make
