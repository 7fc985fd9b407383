"""`python -m lab.benchmarks.run.work HOME ENTITY`: a run's steps in one process, which has imported what they need.

It prints the seconds that they took, the training among them, as its last line.
"""

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from airflow.providers.snowflake.hooks import snowflake  # noqa: F401  # as in a task, with all that it imports

from lab.history.morning_runs import RunOrder, make_run
from lab.stack import LocalStack, demo
from optimizer.artifacts.store import ObjectStore
from optimizer.runs.systems import Systems
from optimizer.training import fitting  # noqa: F401  # the training's libraries


def time_work(home: Path, entity_code: str) -> float:
    """Return the seconds of a run over the log up to today, from its first row to its last, tracking aside.

    Raises:
        RuntimeError: the run did not complete.
    """
    stack = LocalStack.open(home)
    engine = demo.prepare_control_plane(stack)
    systems = Systems(engine, ObjectStore(stack.connect_objects()), stack.connect_warehouse)
    values = {"data_end_dt": demo.today_utc().isoformat()}
    order = RunOrder(entity_code, datetime.now(UTC).replace(microsecond=0), values)
    started = time.perf_counter()
    row = make_run(order, systems=systems)
    seconds = time.perf_counter() - started
    if row.status != "completed":
        raise RuntimeError(f"run {row.run_id} is {row.status}: {row.error_message}")
    return seconds


if __name__ == "__main__":
    print(time_work(Path(sys.argv[1]), sys.argv[2]))
