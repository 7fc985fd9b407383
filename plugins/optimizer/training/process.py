"""The process that trains: a fresh interpreter, started ahead of its job because its libraries take long to load."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import optimizer
from optimizer.errors import PermanentError, UnavailableError
from optimizer.names import DASK_SCHEDULER_VARIABLE, THREAD_VARIABLES
from optimizer.training.job import (
    ERROR_STATUSES,
    ERRORS_FILE,
    JOB_FILE,
    REPORT_FILE,
    START,
    TrainingJob,
    TrainingReport,
    Trial,
)


def run_training(folder: Path, *, on_trial: Callable[[Trial], None] | None = None) -> TrainingReport:
    """Run the job of the folder in a process of its own, which ends when this one does, and return its report.

    Args:
        on_trial: hears of each trial of the tuning as it ends.
    Raises:
        DataError, ConfigError: the data cannot be learned from, or the Dask cluster cannot be used; the message is the
            training's own.
        UnavailableError: the cluster is away, or a signal ended the process, e.g. because memory ran out.
        PermanentError: it failed for a reason of its own, which the message ends with.
    """
    job = TrainingJob.model_validate_json((folder / JOB_FILE).read_text())
    with started_training(folder, threads=job.threads, scheduler=job.scheduler) as train:
        return train(on_trial=on_trial)


@contextmanager
def started_training(
    folder: Path, *, threads: int, scheduler: str | None = None
) -> Iterator[Callable[..., TrainingReport]]:
    """Start the process that trains in the folder, and give the function that does so: `run_training` without a folder.

    The process loads its libraries at once. The folder needs job and cells when the function is called, which is once.
    The process ends with the block, or when this process does.

    Args:
        scheduler: of the job's Dask cluster, which takes more libraries.
    """
    command = [sys.executable, "-m", "optimizer.training", str(folder)]
    with (
        (folder / ERRORS_FILE).open("w") as errors,
        subprocess.Popen(  # noqa: S603 - our own module, arguments are ours
            command,
            env=process_environment(threads, scheduler=scheduler),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            yield partial(_train, folder, process)
        finally:
            process.kill()


def process_environment(threads: int, *, scheduler: str | None = None) -> dict[str, str]:
    """Return the environment of the training process: this one's, with our sources, the job's threads and scheduler.

    Left alone, BLAS takes a thread for each core. The matrices of the curves are small, so that the threads mostly wait
    for each other: with one thread, training takes about half the processor time.
    """
    source = str(Path(optimizer.__file__).resolve().parents[1])
    others = {name: value for name, value in os.environ.items() if name != DASK_SCHEDULER_VARIABLE}
    return {
        **others,
        **({} if scheduler is None else {DASK_SCHEDULER_VARIABLE: scheduler}),
        **dict.fromkeys(THREAD_VARIABLES, str(threads)),
        "PYTHONPATH": os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")])),
    }


def _train(
    folder: Path, process: subprocess.Popen[str], *, on_trial: Callable[[Trial], None] | None = None
) -> TrainingReport:
    if process.stdin is not None:
        with suppress(BrokenPipeError):  # it has ended: its status says why
            os.write(process.stdin.fileno(), START)
    for line in process.stdout or ():
        if on_trial is not None:
            on_trial(Trial.model_validate_json(line))
    status = process.wait()
    written = (folder / ERRORS_FILE).read_text(errors="replace")
    if status in ERROR_STATUSES:
        raise ERROR_STATUSES[status](written.strip().splitlines()[-1])
    if status < 0:
        raise UnavailableError(f"signal {-status} ended the training process; it may have run out of memory")
    if status > 0:
        raise PermanentError(f"the training process failed with status {status}: {written[-2000:]}")
    return TrainingReport.model_validate_json((folder / REPORT_FILE).read_text())
