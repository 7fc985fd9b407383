"""The training job: from a folder with cells to models, segments and a report in the same folder."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from optimizer.core.landscape.cells import prepare_cells
from optimizer.core.records import run_files
from optimizer.training.clicks import ClickModel, fit_clicks
from optimizer.training.context import TrainingContext, open_context
from optimizer.training.job import (
    CELLS_FILE,
    JOB_FILE,
    REPORT_FILE,
    TrainingJob,
    TrainingReport,
    Trial,
    TuningReport,
)
from optimizer.training.results import segment_rows, training_report
from optimizer.training.win_rate import fit_win_rate


@dataclass(frozen=True, slots=True)
class FittedModels:
    """What a training job leaves: one row a segment, the report and the models in LightGBM's text format."""

    segments: pd.DataFrame
    report: TrainingReport
    win_model: str
    click_model: str | None


def fit_models(folder: Path, *, on_trial: Callable[[Trial], None]) -> None:
    """Fit the models of the folder's job, and write models, segments and report into the folder.

    Args:
        on_trial: hears of each trial of the tuning as it ends.
    Raises:
        DataError: the cells cannot be learned from.
    """
    job = TrainingJob.model_validate_json((folder / JOB_FILE).read_text())
    fitted = fit(job, pd.read_parquet(folder / CELLS_FILE), on_trial=on_trial)
    (folder / run_files.WIN_MODEL).write_text(fitted.win_model)
    if fitted.click_model is not None:
        (folder / run_files.CLICK_MODEL).write_text(fitted.click_model)
    fitted.segments.to_parquet(folder / run_files.SEGMENTS, index=False)
    (folder / REPORT_FILE).write_text(fitted.report.model_dump_json())


def fit(
    job: TrainingJob, cells: pd.DataFrame, *, on_trial: Callable[[Trial], None] = lambda trial: None
) -> FittedModels:
    """Return what the cells teach, the cells by the job's features, with tuned parameters if they help.

    Raises:
        DataError: the cells cannot be learned from.
    """
    prepared = prepare_cells(cells, job.features)
    tuning = _tune(job, prepared, on_trial) if job.tuning_trials else None
    if tuning is not None and tuning.is_used:
        job = job.model_copy(update={"parameters": tuning.parameters})
    context = open_context(job, prepared)
    win_rate, clicks = fit_win_rate(context), _fit_clicks(context)
    return FittedModels(
        segments=segment_rows(context, win_rate, clicks),
        report=training_report(context, win_rate, clicks).model_copy(update={"tuning": tuning}),
        win_model=win_rate.booster.model_to_string(),
        click_model=None if clicks.booster is None else clicks.booster.model_to_string(),
    )


def _tune(job: TrainingJob, prepared: pd.DataFrame, on_trial: Callable[[Trial], None]) -> TuningReport:
    # Most jobs tune nothing, and need not load Optuna.
    from optimizer.training.tuning import tune

    return tune(job, prepared, on_trial=on_trial)


def _fit_clicks(context: TrainingContext) -> ClickModel:
    train, calibrate, test = context.split.slices(context.cells)
    later, job = pd.concat([calibrate, test]), context.job
    return fit_clicks(train, later, categories=context.categories, seed=job.seed, threads=job.threads)
