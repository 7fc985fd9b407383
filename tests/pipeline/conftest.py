"""The session's log and first run, and pipelines on control planes of their own."""

from collections.abc import Callable

import pytest
from pipeline.driver import Pipeline
from pipeline.first_run import FinishedRun, connect, first_run, log, new_pipeline, world
from servers.embedded import systems

__all__ = ["connect", "first_run", "log", "new_pipeline", "systems", "world"]


@pytest.fixture
def pipeline(new_pipeline: Callable[..., Pipeline]) -> Pipeline:
    """Return a pipeline that has run nothing yet."""
    return new_pipeline()


@pytest.fixture
def after_first_run(new_pipeline: Callable[..., Pipeline], first_run: FinishedRun) -> Pipeline:
    """Return a pipeline whose entity has the first run active."""
    return new_pipeline(copy_of=first_run.pipeline)
