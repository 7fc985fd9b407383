"""The command line on a fleet: processor time of a command, beyond that of a Python that does nothing."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from resource import RUSAGE_CHILDREN, getrusage
from time import perf_counter

from sqlalchemy import Engine

from lab.benchmarks.figures import Figure
from lab.benchmarks.fleet.airflow import serving_dags
from lab.stack.settings import StackSettings
from optimizer.artifacts.manifest import MANIFEST_NAME
from optimizer.artifacts.store import ObjectStore
from optimizer.cli.airflow import PASSWORD_VARIABLE, URL_VARIABLE, USER_VARIABLE
from optimizer.cli.control_plane import URL_VARIABLE as CONTROL_PLANE_VARIABLE
from optimizer.control_plane import consistency
from optimizer.control_plane.entities import read_definitions
from optimizer.lifecycle.doctor import MAX_COMPLETED
from optimizer.names import DAG_PREFIX

BOUNDS_S = {"--help": 0.5, "entities": 3.0, "doctor": 3.0}
"""Arguments of `optimizer`: the processor time that they may take."""


@dataclass(frozen=True, slots=True)
class CommandCost:
    """What a call took, the least of several: seconds of processor time beyond Python's start, and by the clock."""

    arguments: str
    processor_s: float
    wall_s: float


def publish_manifests(engine: Engine, store: ObjectStore) -> int:
    """Put a manifest where `doctor` looks for one, and return how many there are."""
    found = consistency.list_completed(engine, limit=MAX_COMPLETED)
    for run in found:
        store.put_bytes(f"{(run.s3_output_path or '').rstrip('/')}/{MANIFEST_NAME}", b"{}")
    return len(found)


def measure_commands(engine: Engine, objects: StackSettings, *, repeats: int) -> list[CommandCost]:
    """Return what each command of BOUNDS_S costs on the control plane.

    Raises:
        RuntimeError: a command fails, or `doctor` has findings.
    """
    dag_ids = sorted(DAG_PREFIX + definition.entity.entity_code for definition in read_definitions(engine)[0])
    with serving_dags(dag_ids) as address:
        environment = {
            **os.environ,
            CONTROL_PLANE_VARIABLE: engine.url.render_as_string(hide_password=False),
            URL_VARIABLE: address,
            USER_VARIABLE: "benchmark",
            PASSWORD_VARIABLE: "benchmark",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{objects.objects_port}",
            "AWS_ACCESS_KEY_ID": objects.objects_access_key,
            "AWS_SECRET_ACCESS_KEY": objects.objects_secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "NO_PROXY": "127.0.0.1",
        }
        start = min(_run([sys.executable, "-c", "pass"], environment)[0] for _ in range(repeats))
        return [_cost(arguments, environment, start=start, repeats=repeats) for arguments in BOUNDS_S]


def command_figures(costs: list[CommandCost]) -> list[Figure]:
    """Return each command's processor time beside its bound, and its wall time beside that."""
    timed = [
        Figure(f"optimizer {one.arguments}", one.processor_s, BOUNDS_S[one.arguments], "what it may take", "s", 1.0)
        for one in costs
    ]
    by_clock = [
        Figure(f"optimizer {one.arguments}, by the clock", one.wall_s, one.processor_s, "its processor time", "s")
        for one in costs
    ]
    return timed + by_clock


def _cost(arguments: str, environment: Mapping[str, str], *, start: float, repeats: int) -> CommandCost:
    command = [sys.executable, "-c", "from optimizer.cli import main; main()", arguments]
    took = [_run(command, environment) for _ in range(repeats)]
    return CommandCost(arguments, min(one for one, _ in took) - start, min(wall for _, wall in took))


def _run(command: list[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Run the command and return its seconds of processor time, and by the clock."""
    before, begun = _processor_seconds(), perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    took = _processor_seconds() - before, perf_counter() - begun
    if done.returncode:
        raise RuntimeError(f"{command[-1]} ends with {done.returncode}: {(done.stderr or done.stdout)[-2000:]}")
    return took


def _processor_seconds() -> float:
    used = getrusage(RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
