"""The DAG files of a fleet, next to a bare file of as many DAGs and tasks, and next to Airflow's own import."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.benchmarks.figures import Figure
from optimizer.names import DAG_PREFIX

ENTITIES_FILE = Path(__file__).parents[3] / "dags/entities.py"
IMPORT_TIMEOUT_S = 30
"""Airflow's `dagbag_import_timeout`, as it is shipped: a DAG file that takes longer loses all its DAGs."""

MORE_IN_A_TASK_S = 0.2

_BARE = '''\
from airflow.sdk import DAG, CronTriggerTimetable, chain, task

for number in range({dags}):
    schedule = CronTriggerTimetable("0 6 * * *", timezone="UTC")
    with DAG(f"bare_{{number}}", schedule=schedule, catchup=False, max_active_runs=1) as dag:
        tasks = []
        for name in range({tasks}):

            @task(task_id=f"task_{{name}}")
            def nothing() -> None:
                """Do nothing."""

            tasks.append(nothing())
        chain(*tasks)
    globals()[dag.dag_id] = dag
'''
_SHARD = """\
from airflow.sdk import get_parsing_context

from optimizer.orchestration.entity_dag import build_entity_dags
from optimizer.orchestration.shards import Shard

for dag in build_entity_dags(only=get_parsing_context().dag_id, shard=Shard({number}, {count})):
    globals()[dag.dag_id] = dag
"""


@dataclass(frozen=True, slots=True)
class Parse:
    """What one reading of a DAG file took; seconds are processor time, but for `parse_wall_s`."""

    dags: int
    tasks: int
    import_s: float
    parse_s: float
    parse_wall_s: float
    serialize_s: float


@dataclass(frozen=True, slots=True)
class Parser:
    """Reads DAG files in processes of their own, on a control plane in a SQLite file: all that it takes is counted.

    repeats: readings after the first one, which counts only where there are no others.
    """

    folder: Path
    database: Path
    repeats: int = 3

    def entities(self) -> Parse:
        """Return the least of dags/entities.py, once its snapshot of the entities is written."""
        return self._best("processor", ENTITIES_FILE)

    def bare(self, *, dags: int, tasks: int) -> Parse:
        """Return the least of a file with as many DAGs, each of as many tasks in a row that do nothing."""
        return self._best("processor", self._write("bare.py", _BARE.format(dags=dags, tasks=tasks)))

    def shard(self, number: int, count: int) -> Parse:
        """Return the least of a file that builds one part of the entities."""
        text = _SHARD.format(number=number, count=count)
        return self._best("processor", self._write(f"shard_{number}.py", text))

    def in_task(self, entity_code: str) -> Parse:
        """Return the least of dags/entities.py where a task of the entity's DAG runs."""
        context = {"_AIRFLOW_PARSING_CONTEXT_DAG_ID": DAG_PREFIX + entity_code}
        return self._best("task", ENTITIES_FILE, context | {"_AIRFLOW_PARSING_CONTEXT_TASK_ID": "extract"})

    def _write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def _best(self, mode: str, path: Path, context: Mapping[str, str] | None = None) -> Parse:
        # The first one writes the snapshot, or reads cold files.
        first, *others = (self._parse(mode, path, context or {}) for _ in range(self.repeats + 1))
        return min(others or [first], key=lambda one: one.parse_s)

    def _parse(self, mode: str, path: Path, context: Mapping[str, str]) -> Parse:
        connection = json.dumps({"conn_type": "sqlite", "host": str(self.database)})
        environment = {
            **os.environ,
            "AIRFLOW_HOME": str(self.folder / "airflow"),
            "AIRFLOW_CONN_OPTIMIZER_CONTROL_PLANE": connection,
            **context,
        }
        command = [sys.executable, "-m", "lab.benchmarks.fleet.parse_file", mode, str(path)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise RuntimeError(f"{path.name} cannot be read: {done.stderr[-2000:]}")
        return Parse(**json.loads(done.stdout.splitlines()[-1]))


def parse_figures(ours: Parse, bare: Parse) -> list[Figure]:
    """Return what DAGs of entities take next to bare ones.

    Raises:
        RuntimeError: the two files have not as many DAGs and tasks: there is nothing to compare.
    """
    if (ours.dags, ours.tasks) != (bare.dags, bare.tasks):
        raise RuntimeError(f"{ours.dags} DAGs of {ours.tasks} tasks are not {bare.dags} of {bare.tasks}")
    against = "a bare file of as many DAGs and tasks"
    return [
        Figure(f"parse of {ours.dags:,} entities", ours.parse_s, bare.parse_s, against, "s", 2.0),
        Figure(f"serialization of {ours.dags:,} entities", ours.serialize_s, bare.serialize_s, against, "s", 2.0),
    ]


def task_figure(found: Parse, *, entities: int) -> Figure:
    """Return what the one DAG takes in a task, next to Airflow's own import."""
    allowed = found.import_s + MORE_IN_A_TASK_S
    against = f"Airflow's own import and {MORE_IN_A_TASK_S:g} s"
    return Figure(
        f"the DAG file in a task, {entities:,} entities", found.import_s + found.parse_s, allowed, against, "s", 1.0
    )


def shard_figures(shards: Sequence[Parse]) -> list[Figure]:
    """Return what each part of the entities takes next to Airflow's time-out."""
    entities, against = sum(shard.dags for shard in shards), "Airflow's time-out for a DAG file"
    return [
        Figure(
            f"parse of part {number} of {len(shards)}, {entities:,} entities",
            shard.parse_s,
            IMPORT_TIMEOUT_S,
            against,
            "s",
            0.5,
        )
        for number, shard in enumerate(shards, start=1)
    ]
