"""train_models: win-rate curves and click rates, from a training process of their own."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zlib import crc32

from optimizer.core.checks.model import outcome_check
from optimizer.core.records import run_files
from optimizer.core.records.window_totals import StagedLog
from optimizer.errors import DataError
from optimizer.runs import artifacts, staging
from optimizer.runs.cell_run import training_cells, training_job
from optimizer.runs.handle import RunHandle, read_snapshot
from optimizer.runs.systems import Systems
from optimizer.runs.tracking import tracked_training
from optimizer.training import job as training
from optimizer.training.process import started_training


def train_models(
    run: RunHandle,
    *,
    systems: Systems,
    threads: int = 1,
    run_training: Callable[..., training.TrainingReport] | None = None,
) -> dict[str, Any]:
    """Leave models, segments and the training report in the staging prefix; return the headline figures.

    Args:
        threads: of the training.
        run_training: runs the job of a folder; by default a fresh process does, as Airflow's tasks need it. It loads
            its libraries while the cells are read.
    """
    with TemporaryDirectory(prefix="optimizer-") as name, _training(Path(name), threads, run_training) as train:
        folder = Path(name)
        settings, stage = read_snapshot(run, systems).settings, run.staging(systems)
        found, features = artifacts.TOTALS.read(stage), artifacts.SELECTION.read(stage).features
        seed = crc32(run.run_id.encode()) % 2**31
        job = training_job(features, settings=settings, views=found, seed=seed, threads=threads)
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


def _training(
    folder: Path, threads: int, run_training: Callable[..., training.TrainingReport] | None
) -> AbstractContextManager[Callable[..., training.TrainingReport]]:
    if run_training is not None:
        return nullcontext(partial(run_training, folder))
    return started_training(folder, threads=threads)


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
