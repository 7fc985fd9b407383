"""train_models: win-rate curves and click rates, from a training process of their own."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zlib import crc32

from optimizer.core.checks.model import outcome_check
from optimizer.core.records import run_files
from optimizer.core.records.window_totals import StagedLog
from optimizer.errors import ConfigError, DataError
from optimizer.names import DASK_SCHEDULER_VARIABLE
from optimizer.runs import artifacts, staging
from optimizer.runs.cell_run import training_cells, training_job
from optimizer.runs.handle import RunHandle, read_snapshot
from optimizer.runs.systems import Systems
from optimizer.runs.tracking import tracked_training
from optimizer.training import job as training
from optimizer.training.process import started_training

CLUSTER_LIBRARIES = ("dask", "distributed", "sklearn")
"""What the extra `dask` installs."""


def train_models(
    run: RunHandle,
    *,
    systems: Systems,
    threads: int = 1,
    scheduler: str | None = None,
    run_training: Callable[..., training.TrainingReport] | None = None,
) -> dict[str, Any]:
    """Leave models, segments and the training report in the staging prefix; return the headline figures.

    Args:
        threads: of the training.
        scheduler: address of the Dask cluster that trains entities whose `training_cluster` is true.
        run_training: runs the job of a folder; by default a fresh process does, as Airflow's tasks need it. It loads
            its libraries while the cells are read.
    Raises:
        ConfigError: `training_cluster` is true, and the worker has no address of a scheduler, or not the extra `dask`.
    """
    settings = read_snapshot(run, systems).settings
    scheduler = _known_scheduler(run, scheduler) if settings.training_cluster else None
    with (
        TemporaryDirectory(prefix="optimizer-") as name,
        _training(Path(name), run_training, threads, scheduler) as train,
    ):
        folder, stage = Path(name), run.staging(systems)
        found, features = artifacts.TOTALS.read(stage), artifacts.SELECTION.read(stage).features
        seed = crc32(run.run_id.encode()) % 2**31
        job = training_job(features, settings=settings, views=found, seed=seed, threads=threads, scheduler=scheduler)
        (folder / training.JOB_FILE).write_text(job.model_dump_json())
        cells = training_cells(stage.get_frame(run_files.CELLS), features)
        cells.to_parquet(folder / training.CELLS_FILE, index=False)
        with tracked_training(run, systems=systems) as tracked:
            with _naming_outcome_leaks(stage, found, features):
                report = train(on_trial=tracked.log_trial)
            tracked.log_fit(report)
        for output in (run_files.WIN_MODEL, run_files.CLICK_MODEL, run_files.SEGMENTS):
            if (folder / output).exists():
                stage.put_file(output, folder / output)
    artifacts.TRAINING.write(stage, report)
    artifacts.TRACKING.write(stage, tracked.figures)
    return {"wr_model_auc": report.wr_model_auc, "bid_coefficient": report.bid_coefficient}


def _known_scheduler(run: RunHandle, scheduler: str | None) -> str:
    wanted = f"entity {run.entity_code}: training_cluster=true needs"
    otherwise = f"or `optimizer configure {run.entity_code} training_cluster=false`"
    if not scheduler:
        raise ConfigError(
            f"{wanted} {DASK_SCHEDULER_VARIABLE}, which is not set on this worker: set it to the address of a Dask "
            f"scheduler, {otherwise}"
        )
    if missing := [name for name in CLUSTER_LIBRARIES if find_spec(name) is None]:
        raise ConfigError(
            f"{wanted} {', '.join(missing)}, which this worker lacks: install rtb-optimizer[airflow,dask] on the "
            f"Airflow workers, {otherwise}"
        )
    return scheduler


def _training(
    folder: Path,
    run_training: Callable[..., training.TrainingReport] | None,
    threads: int,
    scheduler: str | None,
) -> AbstractContextManager[Callable[..., training.TrainingReport]]:
    if run_training is not None:
        return nullcontext(partial(run_training, folder))
    return started_training(folder, threads=threads, scheduler=scheduler)


@contextmanager
def _naming_outcome_leaks(stage: staging.Staging, found: StagedLog, features: Sequence[str]) -> Iterator[None]:
    """Name a feature that knows whether the bid won where nothing can be learned beside it."""
    try:
        yield
    except DataError as error:
        cells = stage.get_frame(found.files[run_files.SEGMENT_CELLS])
        check = outcome_check(cells, found.candidate_features, selected=features)
        if check.is_passed:
            raise
        raise DataError(f"{error}: {check.problem}; {check.next_step}") from error
