"""A run on a log that began a few days ago."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from pipeline.driver import FIRST_DAY, Pipeline


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
    if days == 4:
        assert "os_code" in found["select_features"]["features"]
        assert found["train_models"]["wr_model_auc"] > 0.7
