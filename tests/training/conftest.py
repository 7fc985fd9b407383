"""Training jobs on small cells whose truth is known."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from optimizer.training.job import CELLS_FILE, JOB_FILE, TrainingJob

NewJob = Callable[..., Path]


@pytest.fixture(scope="module")
def new_job(tmp_path_factory: pytest.TempPathFactory) -> NewJob:
    """Return a function that writes a job's folder: `new_job(cells, seed=1, features=(...))`."""

    def write(cells: pd.DataFrame, *, seed: int = 1, features: tuple[str, ...] = ("adspace", "region")) -> Path:
        folder = tmp_path_factory.mktemp("job")
        totals = {"total_views": int(cells["wins"].sum()), "total_clicks": int(cells["clicks"].sum())}
        job = TrainingJob(features=features, half_life_days=None, seed=seed, threads=1, **totals)
        (folder / JOB_FILE).write_text(job.model_dump_json())
        cells.to_parquet(folder / CELLS_FILE, index=False)
        return folder

    return write
