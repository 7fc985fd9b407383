"""A run on a log that began a few days ago."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from pipeline.driver import FIRST_DAY, Pipeline

from optimizer.core.landscape.jitter import RandomnessTest, Variation
from optimizer.core.landscape.slope import Slope
from optimizer.core.records import run_files


@pytest.mark.parametrize("days", [1, 4])
def test_a_log_of_a_few_days_is_learned_from_by_blocks_of_hours_and_bid_on(
    new_pipeline: Callable[..., Pipeline], days: int
):
    pipeline = new_pipeline()
    now = datetime(FIRST_DAY.year, FIRST_DAY.month, FIRST_DAY.day, 6, tzinfo=UTC) + timedelta(days=days)
    run = pipeline.open("young", now=now)
    found = {
        name: pipeline.step(run, name, now=now)
        for name in ("extract", "select_features", "train_models", "compute_bids")
    }
    assert found["select_features"]["features"][0] == "internal_adspace_id"
    assert found["compute_bids"]["segments_count"] > 0
    stage = run.staging(pipeline.systems)
    figures, bids = stage.get_json(run_files.BID_FIGURES), stage.get_frame(run_files.BIDS)
    # No earlier run bid in this log, so no slope is known: the first run holds the log's bids and varies them.
    assert stage.get_json(run_files.VARIATION)["source"] == "none" and figures["is_learning"]
    assert set(bids["reason"]) == {"held"} and bids["is_served"].all()
    assert (bids["wanted_bid_cpm"] == bids["usual_bid_cpm"]).all() and figures["jitter_spread"] > 0.05
    if days == 4:
        assert "os_code" in found["select_features"]["features"]
        assert found["train_models"]["wr_model_auc"] > 0.7


def test_a_slope_that_few_rows_identify_is_written_without_its_infinite_error():
    test = RandomnessTest("placebo", np.inf, "<=", 0.2, np.bool_(False))
    variation = Variation("none", Slope(2.5, np.inf, False), own_days=np.int64(1), own_bids=40.0, tests=(test,))
    written = json.loads(json.dumps(variation.to_record(), allow_nan=False))
    assert written["slope"] == {"value": 2.5, "error": None, "is_identified": False}
    assert written["own_days"] == 1
    assert (written["tests"][0]["figure"], written["tests"][0]["is_passed"]) == (None, False)
