"""Tasks are retried: whatever runs twice leaves what it left the first time."""

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pipeline.driver import LATER, NEXT_DAY, NOW, STEPS, Pipeline
from pipeline.first_run import FinishedRun

from optimizer.control_plane import deployment_history, registry
from optimizer.control_plane.audit import system
from optimizer.core.records import run_files
from optimizer.errors import RunStateError
from optimizer.steps.promote import promote

SLACK = 1 + 1e-6


def rows_of(pipeline: Pipeline, run_id: str) -> list[Any]:
    engine = pipeline.systems.engine
    return [
        registry.read_features(engine, run_id),
        registry.read_metrics(engine, run_id),
        registry.read_outputs(engine, run_id),
        registry.read_macro(engine, run_id),
    ]


def test_every_step_run_twice_leaves_the_same_objects_and_rows(pipeline: Pipeline):
    pipeline = Pipeline(pipeline.systems)  # which trains each time
    run = pipeline.open()
    assert pipeline.open() == run
    base = run.output_uri.removesuffix(f"runs/{run.run_code}/")
    for name in STEPS:
        first_answer = pipeline.step(run, name)
        objects, rows, row = pipeline.checksums(base), rows_of(pipeline, run.run_id), pipeline.row(run)
        assert row.held_by.startswith(f"{name} ")
        assert pipeline.step(run, name) == first_answer
        assert pipeline.checksums(base) == objects, name
        assert rows_of(pipeline, run.run_id) == rows
        assert pipeline.row(run) == row.model_copy(update={"held_by": pipeline.row(run).held_by})
    assert pipeline.promote(run, approved_by="anna") == pipeline.promote(run, now=NEXT_DAY, approved_by="anna")
    assert len(deployment_history.read_history(pipeline.systems.engine, "drugs_hcp")) == 1
    assert pipeline.close() == pipeline.close()


@pytest.mark.parametrize("name", [name for name in STEPS if name != "register"])
def test_a_step_that_comes_late_changes_nothing_of_a_completed_run(first_run: FinishedRun, name: str):
    objects = first_run.pipeline.checksums(first_run.handle.output_uri)
    with pytest.raises(RunStateError, match="is completed, not running; its results stand"):
        first_run.pipeline.step(first_run.handle, name)
    assert first_run.pipeline.checksums(first_run.handle.output_uri) == objects
    assert first_run.pipeline.row(first_run.handle).error_message is None


def test_a_dag_run_that_starts_again_after_its_run_completed_is_refused(after_first_run: Pipeline):
    with pytest.raises(RunStateError, match="is completed, not pending; its results stand"):
        after_first_run.open()


def test_a_second_run_of_the_same_log_bids_on_the_same_segments_with_a_jitter_of_its_own(
    second_run: tuple[Pipeline, Any], first_run: FinishedRun
):
    pipeline, handle = second_run
    first, second = table(first_run.pipeline, first_run.handle), table(pipeline, handle)
    assert sorted(first["segment_key"]) == sorted(second["segment_key"])
    assert (first.set_index("segment_key")["jitter"] != second.set_index("segment_key")["jitter"]).any()


@pytest.fixture(scope="module")
def second_run(new_pipeline: Callable[..., Pipeline], first_run: FinishedRun) -> tuple[Pipeline, Any]:
    """Return a run of the next day, which wants to win far more than the active one and may move 5 % a day."""
    pipeline = new_pipeline(copy_of=first_run.pipeline)
    values = {
        "daily_step_limit": 0.05,
        "target_win_rate": 0.6,
        "data_end_dt": NOW.date().isoformat(),
        "promotion": "approval",
    }
    return pipeline, pipeline.complete("second", now=NEXT_DAY, **values)


def test_a_second_run_serves_no_bid_further_than_the_step_limit_from_what_was_served_before(
    second_run: tuple[Pipeline, Any], first_run: FinishedRun
):
    pipeline, handle = second_run
    before = table(first_run.pipeline, first_run.handle).set_index("segment_key")["suggested_bid_cpm"]
    after = table(pipeline, handle).set_index("segment_key")
    served = before.reindex(after.index)
    assert after["step_from_cpm"].to_numpy() == pytest.approx(served.to_numpy())
    step = (after["suggested_bid_cpm"] - served).abs() / np.maximum(0.05 * served, 0.01)
    free = ~after["reason"].isin(["margin", "cap", "floor"])
    assert free.sum() > 100
    assert (step[free] <= SLACK).all()
    assert (after["reason"] == "step").sum() > 100
    assert pipeline.row(handle).validation_status == "passed"


def test_a_second_run_of_the_same_day_moves_bids_no_further_than_the_first_may(
    new_pipeline: Callable[..., Pipeline], first_run: FinishedRun
):
    pipeline = new_pipeline(copy_of=first_run.pipeline)
    handle = pipeline.open("again", now=LATER, target_win_rate=0.6)
    for name in ("extract", "select_features", "train_models", "compute_bids"):
        pipeline.step(handle, name, now=LATER)
    bids = handle.staging(pipeline.systems).get_frame(run_files.BIDS).set_index("segment_key")
    first = table(first_run.pipeline, first_run.handle).set_index("segment_key").reindex(bids.index)
    assert bids["step_from_cpm"].to_numpy() == pytest.approx(first["step_from_cpm"].to_numpy(), rel=1e-6)
    before = first["step_from_cpm"]
    step = (bids["suggested_bid_cpm"] - before).abs() / np.maximum(0.15 * before, 0.01)
    free = ~bids["reason"].isin(["margin", "cap", "floor"])
    assert (bids["reason"] == "step").sum() > 100 and (step[free] <= SLACK).all()


def test_a_run_is_compared_with_the_run_that_was_active_when_it_began(second_run: tuple[Pipeline, Any]):
    pipeline, handle = second_run
    inputs = pipeline.row(handle).config_snapshot["inputs"]
    assert inputs["active_run_id"] == pipeline.row_of("first").run_id
    assert json.loads(pipeline.systems.store.get_bytes(handle.output_uri + "config.json"))["inputs"] == inputs


def test_promoting_the_second_run_takes_all_traffic_and_keeps_the_history(
    second_run: tuple[Pipeline, Any], new_pipeline: Callable[..., Pipeline]
):
    pipeline = new_pipeline(copy_of=second_run[0])
    promoted = promote(second_run[1], systems=pipeline.systems, author=system("test"), now=NEXT_DAY, approved_by="anna")
    assert promoted["is_promoted"], promoted["reason"]
    history = deployment_history.read_history(pipeline.systems.engine, "drugs_hcp")
    assert [(item.run_id, item.is_active) for item in history] == [
        (second_run[1].run_id, True),
        (pipeline.row_of("first").run_id, False),
    ]


def table(pipeline: Pipeline, handle: Any) -> pd.DataFrame:
    content = pipeline.systems.store.get_bytes(handle.output_uri + "suggested_bids.csv")
    return pd.read_csv(io.BytesIO(content), keep_default_na=False)
