"""One training, in this process, for all runs of the test session that learn from the same cells in the same way.

Most of a training is the start of the process that a task takes for it. Such processes train in tests/training, in the
runs through Airflow, and for a pipeline that is given nothing else.
"""

import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from optimizer.training import job as training
from optimizer.training.fitting import fit_models


def shared_folder(folders: pytest.TempPathFactory) -> Path:
    """Return the folder that all test processes of the session find."""
    own = folders.getbasetemp()
    return (own.parent if own.name.startswith("popen-") else own) / "trained"


def train_once(folder: Path, job: Path, *, on_trial: Callable[[training.Trial], None]) -> training.TrainingReport:
    """Run the job, or take its models and its report from the folder where they are there."""
    kept = folder / _mark_of(job)
    if kept.exists():
        shutil.copytree(kept, job, dirs_exist_ok=True)
        return _read_report(job)
    fit_models(job, on_trial=on_trial)
    report = _read_report(job)
    if report.tuning is None:  # trials are heard while it trains
        _keep(job, kept)
    return report


def _read_report(job: Path) -> training.TrainingReport:
    return training.TrainingReport.model_validate_json((job / training.REPORT_FILE).read_text())


def _mark_of(job: Path) -> str:
    return sha256((job / training.JOB_FILE).read_bytes() + (job / training.CELLS_FILE).read_bytes()).hexdigest()


def _keep(job: Path, kept: Path) -> None:
    """Copy the whole folder, which appears at once: another test process may look for it."""
    kept.parent.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=kept.parent) as name:
        copied = shutil.copytree(job, Path(name) / kept.name)
        if not kept.exists():
            copied.rename(kept)
