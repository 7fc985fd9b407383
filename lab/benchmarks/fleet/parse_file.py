"""`python -m lab.benchmarks.fleet.parse_file MODE FILE`: read a DAG file as Airflow does, print what it took as JSON.

MODE `processor`: as the dag-processor, which has imported what serializes DAGs before it reads a file; `task`: as the
process of a task.
"""

import importlib.util
import json
import sys
from pathlib import Path
from time import perf_counter, process_time


def parse(mode: str, path: Path) -> dict[str, float]:
    """Return the numbers of DAGs and tasks, and seconds: of Airflow's import, the file and the serialization.

    All seconds are processor time; `parse_wall_s` is by the clock.
    """
    begun = process_time()
    from airflow.sdk import DAG

    if mode == "processor":
        from airflow.serialization.serialized_objects import DagSerialization
    else:
        import airflow.sdk.execution_time.task_runner  # noqa: F401
    imported, clock = process_time(), perf_counter()
    spec = importlib.util.spec_from_file_location("parsed_dag_file", path)
    assert spec is not None and spec.loader is not None  # noqa: S101 - it is a file with the suffix .py
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    parsed, parsed_clock = process_time(), perf_counter()
    dags = {dag.dag_id: dag for dag in vars(module).values() if isinstance(dag, DAG)}
    if mode == "processor":
        for dag in dags.values():
            DagSerialization.to_dict(dag)
    return {
        "dags": len(dags),
        "tasks": sum(len(dag.tasks) for dag in dags.values()),
        "import_s": imported - begun,
        "parse_s": parsed - imported,
        "parse_wall_s": parsed_clock - clock,
        "serialize_s": process_time() - parsed,
    }


if __name__ == "__main__":
    print(json.dumps(parse(sys.argv[1], Path(sys.argv[2]))))
