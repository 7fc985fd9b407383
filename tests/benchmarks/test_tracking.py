"""The tracking benchmark, small: what it measures is right, and what it concludes."""

import io

import pytest
from rich.console import Console

from lab.benchmarks.tracking.__main__ import conclude
from lab.benchmarks.tracking.clients import measure_client
from lab.benchmarks.tracking.lines import BenchmarkLine
from lab.benchmarks.tracking.long_runs import measure_long_runs
from lab.benchmarks.tracking.peers import measure_optuna
from lab.benchmarks.tracking.ratios import PAIRS, compare_with_mlflow
from lab.benchmarks.tracking.reading import measure_reading
from lab.benchmarks.tracking.recovery import measure_recovery
from lab.benchmarks.tracking.service import Service, run_service
from lab.benchmarks.tracking.timing import measure_latency, measure_rate
from lab.benchmarks.tracking.writing import measure_writing

SECONDS = 0.05


@pytest.mark.parametrize(
    ("line", "is_kept", "is_reached"),
    [
        (BenchmarkLine("rate", 1000, "/s", floor=1000, goal=1001), True, False),
        (BenchmarkLine("rate", 999, "/s", floor=1000), False, True),
        (BenchmarkLine("time", 50, "ms", floor=50, goal=20), True, False),
        (BenchmarkLine("time", 51, "ms", floor=50), False, True),
        (BenchmarkLine("peer", 7, "/s"), True, True),
    ],
    ids=str,
)
def test_more_is_better_of_rates_and_less_of_times(line, is_kept, is_reached):
    assert (line.is_kept, line.is_reached) == (is_kept, is_reached)


@pytest.mark.parametrize(("measured_ms", "status"), [(30, 0), (60, 1)])
def test_the_status_is_one_where_a_floor_is_missed_and_a_missed_goal_is_only_said(measured_ms, status):
    printed = io.StringIO()
    lines = [BenchmarkLine("read", measured_ms, "ms", floor=50, goal=20), BenchmarkLine("peer", 1, "/s")]
    assert conclude(lines, console=Console(file=printed, width=150)) == status
    assert ("floor missed" if status else "goal missed") in printed.getvalue()
    assert f"{1 - status} of 1 floors are kept, 0 of 1 goals are reached" in printed.getvalue()


def test_each_client_counts_its_own_actions_and_a_failure_ends_the_measurement():
    seen = []
    timing = measure_rate(lambda client: lambda number: seen.append((client, number)), clients=3, seconds=SECONDS)
    assert {client for client, _ in seen} == {0, 1, 2}
    assert timing.per_s > 0 and timing.p50_ms <= timing.p99_ms
    assert [number for client, number in seen if client == 1][:2] == [0, 1]
    numbers = []
    measure_latency(numbers.append, repeats=5)
    assert numbers == [0, 1, 2, 3, 4, 5]
    with pytest.raises(ZeroDivisionError):
        measure_rate(lambda client: lambda number: 1 / 0, clients=2, seconds=SECONDS)


@pytest.fixture(scope="module")
def service():
    with run_service() as running:
        yield running


def test_every_query_runs_at_the_size_that_its_line_says(service: Service):
    told = []
    lines = measure_reading(service, sizes=(50, 120), repeats=2, tell=told.append)
    assert service.client().get("/runs?limit=1")["pagination"]["total"] == 120
    names = {line.what.rpartition(",")[0] for line in lines}
    assert len(lines) == 2 * len(names) == 2 * 19
    assert all(line.measured > 0 and line.floor is not None for line in lines)
    assert "reading at 120 runs" in told


def test_what_is_written_is_there_afterwards(service: Service):
    client = service.client()
    lines = measure_writing(service, seconds=SECONDS)
    assert all(line.measured > 0 for line in lines)
    (late, *_) = client.get("/runs?search=bench&limit=1")["data"]
    assert late["iterations"] == 10_000 + 301
    assert client.get("/runs?search=bench&limit=1&includeIterations=false")["pagination"]["total"] > len(lines) / 2


def test_a_long_run_is_read_exported_and_deleted(service: Service):
    lines = measure_long_runs(service, iterations=12_000, samples=300, repeats=1, tell=lambda text: None)
    assert all(line.measured > 0 for line in lines)
    assert [line.unit for line in lines] == ["ms"] * 5 + ["/s", "MiB", "times", "ms", "times", "s"]
    stored = [run["iterationsStored"] for run in service.client().get("/runs?search=long")["data"]]
    assert sorted(stored) == [120, 12_000]  # the run of the samples is gone


def test_the_service_is_there_again_after_its_database(service: Service):
    (line,) = measure_recovery(service, outage_s=0.5)
    assert (line.unit, line.floor) == ("s", 2)
    assert service.client().get("/runs?limit=1")["success"]


def test_each_line_that_mlflow_has_too_is_compared_with_it():
    lines = []
    for by in ("1 client", "8 clients"):
        for ours, theirs in PAIRS.items():
            unit = "ms" if "99 in 100" in ours else "/s"
            lines.append(BenchmarkLine(ours.format(by=by), 2 if unit == "ms" else 50, unit))
            lines.append(BenchmarkLine(theirs.format(by=by), 24 if unit == "ms" else 4, unit))
    ratios = compare_with_mlflow(lines)
    assert {ratio.measured for ratio in ratios} == {12, 12.5} and len(ratios) == 2 * len(PAIRS)
    assert all(ratio.is_reached for ratio in ratios)


def test_the_clients_entries_reach_the_service_and_optunas_trials_its_own_tables(service: Service):
    log_ms, kept, sent = measure_client(service, entries=200)
    assert (log_ms.unit, kept.unit, sent.unit) == ("ms", "/s", "/s")
    (run, *_) = service.client().get("/runs?search=bench&limit=1")["data"]
    assert (run["status"], run["iterations"]) == ("completed", 201)
    (trials,) = measure_optuna(service, seconds=SECONDS)
    assert trials.measured > 0
