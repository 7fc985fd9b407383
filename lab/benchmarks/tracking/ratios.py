"""How many times as fast tracking is as MLflow in the same run: that holds on machines of any speed."""

from collections.abc import Sequence

from lab.benchmarks.tracking.lines import BenchmarkLine

FLOOR, GOAL = 3, 10

PAIRS = {
    "runs created, {by}": "MLflow: runs created, {by}",
    "iterations one by one, {by}": "MLflow: metrics one by one, {by}",
    "one iteration, 99 in 100, {by}": "MLflow: one metric, 99 in 100, {by}",
    "iterations in batches, {by}": "MLflow: metrics in batches, {by}",
    "samples in batches, {by}": "MLflow: metrics in batches, {by}",
}


def compare_with_mlflow(lines: Sequence[BenchmarkLine]) -> list[BenchmarkLine]:
    """Return a line for each of ours that MLflow has too: its rate by MLflow's, or MLflow's time by its own."""
    known = {line.what: line for line in lines}
    ratios = []
    for by in ("1 client", "8 clients"):
        for ours, theirs in PAIRS.items():
            mine, other = known[ours.format(by=by)], known[theirs.format(by=by)]
            ratio = mine.measured / other.measured if mine.unit == "/s" else other.measured / mine.measured
            ratios.append(BenchmarkLine(f"{mine.what}, against MLflow", ratio, "times as fast", FLOOR, GOAL))
    return ratios
