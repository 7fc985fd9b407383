"""Scripts that need Airflow, each in a process of its own: Airflow is configured once a process.

They are forked from one process that has imported Airflow, which takes longer than what a script does then.
"""

import os
import sys
from collections.abc import Mapping
from multiprocessing import get_context
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

PROJECT = Path(__file__).parents[2]
TIMEOUT_S = 120
_STREAMS = ("stdout", "stderr")
_processes = get_context("forkserver")
_processes.set_forkserver_preload(
    ["airflow.serialization.serialized_objects", "optimizer.orchestration.airflow_dags", "optimizer.plugin"]
)


def run_script(script: str, *arguments: str, environment: Mapping[str, str] | None = None) -> CompletedProcess[str]:
    """Run the script like `python -c`, with these variables beside this process's own, and return what it printed.

    It knows no connection but those of the given variables.

    Raises:
        AssertionError: the script does not end.
    """
    with TemporaryDirectory(prefix="optimizer-airflow-") as name:
        folder = Path(name)
        own = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_CONN_")}
        variables = {**own, "AIRFLOW_HOME": str(folder), **(environment or {})}
        process = _processes.Process(target=_run, args=(folder, script, arguments, variables))
        process.start()
        process.join(TIMEOUT_S)
        if process.is_alive():
            process.kill()
            process.join()
        assert process.exitcode is not None and process.exitcode >= 0, f"ended after {TIMEOUT_S} s: {script}"
        printed = [(folder / stream).read_text() for stream in _STREAMS]
        return CompletedProcess(["-c", *arguments], process.exitcode, *printed)


def _run(folder: Path, script: str, arguments: tuple[str, ...], variables: dict[str, str]) -> None:
    for stream in _STREAMS:
        with (folder / stream).open("wb") as file:
            os.dup2(file.fileno(), getattr(sys, stream).fileno())
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(PROJECT)
    sys.argv = ["-c", *arguments]
    exec(compile(script, "<script>", "exec"), {"__name__": "__main__"})  # noqa: S102 - a test's own script
