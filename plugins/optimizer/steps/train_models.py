"""train_models: win-rate curves and click rates, from a training process of their own."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zlib import crc32

from optimizer.core.checks.model import outcome_check
from optimizer.errors import DataError
from optimizer.runs import staging
from optimizer.runs.cell_run import training_cells, training_job
from optimizer.runs.handle import RunHandle, read_settings, read_snapshot
from optimizer.runs.systems import Systems
from optimizer.runs.tracking import tracked_training
from optimizer.training import job as training


def train_models(run: RunHandle, *, systems: Systems, threads: int = 1) -> dict[str, Any]:
    """Leave models, segments and the training report in the staging prefix; return the headline figures.

    Training runs in a fresh process, with `threads` threads.
    """
    settings, stage = read_settings(read_snapshot(run, systems)), run.staging(systems)
    totals, features = stage.get_json(staging.TOTALS), stage.get_json(staging.SELECTION)["features"]
    seed = crc32(run.run_id.encode()) % 2**31
    job = training_job(features, settings=settings, totals=totals, seed=seed, threads=threads)
    with TemporaryDirectory(prefix="optimizer-") as name:
        folder = Path(name)
        (folder / training.JOB_FILE).write_text(job.model_dump_json())
        cells = training_cells(stage.get_frame(staging.CELLS), features)
        cells.to_parquet(folder / training.CELLS_FILE, index=False)
        with tracked_training(run, systems=systems) as tracked:
            with _naming_outcome_leaks(stage, totals, features):
                report = training.run_training(folder, on_trial=tracked.log_trial)
            tracked.log_fit(report)
        for output in (training.WIN_MODEL_FILE, training.CLICK_MODEL_FILE, training.SEGMENTS_FILE):
            if (folder / output).exists():
                stage.put_file(output, folder / output)
    stage.put_json(staging.TRAINING, report.model_dump())
    stage.put_json(staging.TRACKING, tracked.figures)
    return {"wr_model_auc": report.wr_model_auc, "bid_coefficient": report.bid_coefficient}


@contextmanager
def _naming_outcome_leaks(stage: staging.Staging, totals: dict[str, Any], features: Sequence[str]) -> Iterator[None]:
    """Name a feature that knows whether the bid won, if it prevents learning anything else."""
    try:
        yield
    except DataError as error:
        cells = stage.get_frame(totals["files"][staging.SEGMENT_CELLS])
        check = outcome_check(cells, totals["candidate_features"], selected=features)
        if check.is_passed:
            raise
        raise DataError(f"{error}: {check.problem}; {check.next_step}") from error
