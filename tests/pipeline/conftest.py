"""The session's log and first run, and pipelines on control planes of their own."""

from collections.abc import Callable

import pytest
from pipeline.driver import NEXT_DAY, WISH, Pipeline
from pipeline.first_run import FinishedRun, connect, first_run, log, new_pipeline, world
from servers.embedded import systems

from optimizer.errors import RunCancelled
from optimizer.runs.handle import RunHandle

__all__ = ["connect", "first_run", "log", "new_pipeline", "systems", "world"]


@pytest.fixture
def pipeline(new_pipeline: Callable[..., Pipeline]) -> Pipeline:
    """Return a pipeline that has run nothing yet."""
    return new_pipeline()


@pytest.fixture
def after_first_run(new_pipeline: Callable[..., Pipeline], first_run: FinishedRun) -> Pipeline:
    """Return a pipeline whose entity has the first run active."""
    return new_pipeline(copy_of=first_run.pipeline)


@pytest.fixture(scope="session")
def dry_run(new_pipeline: Callable[..., Pipeline], first_run: FinishedRun) -> tuple[Pipeline, RunHandle]:
    """Return a dry run on the first run's log, of the day after it, with the values of WISH; and its pipeline."""
    pipeline, row = new_pipeline(copy_of=first_run.pipeline), first_run.pipeline.row(first_run.handle)
    window = {name: getattr(row, name).date().isoformat() for name in ("data_start_dt", "data_end_dt")}
    run = pipeline.open("dry", now=NEXT_DAY, dry_run=True, max_spend_change=0.8, **WISH, **window)
    for name in ("extract", "select_features", "train_models", "compute_bids", "validate"):
        pipeline.step(run, name, now=NEXT_DAY)
    with pytest.raises(RunCancelled, match="dry run: validation passed"):  # Airflow shows the task as skipped
        pipeline.step(run, "upload", now=NEXT_DAY)
    return pipeline, run
