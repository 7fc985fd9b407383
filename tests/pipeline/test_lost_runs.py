"""A step whose run failed, or was taken over by another copy of its task, stops writing and says so."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from typing import Any

import pytest
from pipeline.driver import LATER, NOW, Pipeline
from pipeline.first_run import FinishedRun

from optimizer.control_plane import transitions
from optimizer.core.records import run_files
from optimizer.errors import RunCompleted, RunStateError, RunTaken
from optimizer.runs.handle import RunHandle

DEADLINE_S = 120


def fail(pipeline: Pipeline, run: RunHandle) -> None:
    transitions.fail_run(pipeline.systems.engine, run.run_id, message="its DAG run timed out", now=NOW)


def take_over(pipeline: Pipeline, run: RunHandle) -> None:
    transitions.take_run(pipeline.systems.engine, run.run_id, holder="a newer copy", now=NOW)


LOSSES = {
    fail: r"is failed, not running \(its DAG run timed out\); read its error_message and start a new run",
    take_over: r"this copy of the task \({step} [0-9a-f]{{8}} on .*\) lost: a newer copy took the run over",
}


def interrupted(pipeline: Pipeline, interrupt: Callable[[], object]) -> Pipeline:
    """Return the pipeline with a warehouse and a training that something happens in before they answer."""

    def connect() -> Any:
        connection = pipeline.systems.connect_warehouse()
        interrupt()
        return connection

    def train(*arguments: Any, **options: Any) -> Any:
        report = pipeline.run_training(*arguments, **options)
        interrupt()
        return report

    return Pipeline(replace(pipeline.systems, connect_warehouse=connect), run_training=train)


@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__)
def test_an_extract_and_a_training_that_lose_their_run_write_nothing_more(
    pipeline: Pipeline, lose: Callable[[Pipeline, RunHandle], None]
):
    run = pipeline.open()
    for name in ("extract", "train_models"):
        if name == "train_models":
            run = pipeline.open("second", now=LATER)
            pipeline.step(run, "extract")
            pipeline.step(run, "select_features")
        before = pipeline.checksums(run.staging_uri)
        with pytest.raises(RunStateError, match=LOSSES[lose].format(step=name)):
            interrupted(pipeline, lambda run=run: lose(pipeline, run)).step(run, name)
        assert pipeline.checksums(run.staging_uri) == before
        assert pipeline.row(run).error_message == ("its DAG run timed out" if lose is fail else None)


def test_of_two_copies_that_extract_at_once_the_newer_one_leaves_its_log_and_the_older_one_says_that_it_lost(
    pipeline: Pipeline,
):
    run = pipeline.open()
    begun, go_on = Event(), Event()

    def wait() -> None:
        begun.set()
        assert go_on.wait(DEADLINE_S)

    with ThreadPoolExecutor(1) as pool:
        older = pool.submit(interrupted(pipeline, wait).step, run, "extract")
        assert begun.wait(DEADLINE_S)
        answer = pipeline.step(run, "extract")
        objects = pipeline.checksums(run.staging_uri)
        go_on.set()
        with pytest.raises(RunTaken, match=r"this copy of the task \(extract .*\) lost: extract .* took the run over"):
            older.result(timeout=DEADLINE_S)
    assert pipeline.checksums(run.staging_uri) == objects
    assert sum(key.endswith(run_files.SEGMENT_CELLS) for key in objects) == 1
    assert pipeline.step(run, "extract") == answer
    assert (pipeline.row(run).status, pipeline.row(run).error_message) == ("running", None)


def test_a_copy_whose_run_the_others_have_completed_meanwhile_says_so(pipeline: Pipeline, first_run: FinishedRun):
    with pytest.raises(RunCompleted, match="is completed, not running; its results stand"):
        first_run.pipeline.step(first_run.handle, "upload")


def test_of_two_copies_that_register_one_completes_the_run_and_the_other_says_who_was_first(
    after_first_run: Pipeline, first_run: FinishedRun, caplog: pytest.LogCaptureFixture
):
    pipeline, run = after_first_run, first_run.handle
    row = pipeline.row(run)
    with caplog.at_level("INFO"):
        assert pipeline.step(run, "register")["status"] == "completed"
    assert f"run {run.run_id} is completed: another copy of register was first, and its results stand" in caplog.text
    assert pipeline.row(run) == row
