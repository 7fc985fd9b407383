"""What reading the log cost is on the run."""

from dataclasses import replace
from typing import Any

from pipeline.driver import Pipeline

from optimizer.core.records.window_totals import QueryCosts
from optimizer.runs import artifacts


class Telling:
    """A connection, or a cursor, of a warehouse that keeps the history of its sessions."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __enter__(self) -> "Telling":
        return Telling(self._real.__enter__())

    def __exit__(self, *error: Any) -> None:
        self._real.__exit__(*error)

    def cursor(self) -> "Telling":
        return Telling(self._real.cursor())

    def execute(self, query: str, *binds: Any) -> Any:
        if "QUERY_HISTORY_BY_SESSION" in query:
            query = "SELECT 7, 48000000, 2.5, 0.0004"
        return self._real.execute(query, *binds)


def test_what_the_statements_of_extract_scanned_and_cost_is_staged_for_the_runs_metrics(pipeline: Pipeline):
    connect = pipeline.systems.connect_warehouse
    telling = Pipeline(replace(pipeline.systems, connect_warehouse=lambda: Telling(connect())))
    run = telling.open()
    telling.step(run, "extract")
    assert artifacts.TOTALS.read(run.staging(telling.systems)).query_costs == QueryCosts(
        statements=7, bytes_scanned=48_000_000, execution_s=2.5, cloud_services_credits=0.0004
    )
