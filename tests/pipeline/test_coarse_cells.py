"""A run whose log has more cells than it may read."""

import io
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from pipeline.driver import Pipeline
from pipeline.first_run import FinishedRun

from optimizer.control_plane import registry

MAX_CELLS = 20_000


@pytest.fixture(scope="module")
def coarse(new_pipeline: Callable[..., Pipeline]) -> FinishedRun:
    pipeline = new_pipeline()
    return FinishedRun(pipeline, pipeline.complete(max_cells=MAX_CELLS), {}, "")


def bids_of(run: FinishedRun) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(run.read("suggested_bids.csv")), dtype={"segment_key": str}).set_index("segment_key")


def test_a_run_reads_no_more_cells_than_it_may_and_says_what_was_coarser(coarse: FinishedRun, first_run: FinishedRun):
    found, whole = coarse.read_json("metrics.json"), first_run.read_json("metrics.json")
    assert "coarse_cells" not in whole
    figures = found["coarse_cells"]
    assert figures["max_cells"] == MAX_CELLS < figures["finest_cells"]
    assert coarse.pipeline.row(coarse.handle).validation_status == "passed"
    stage = coarse.handle.staging(coarse.pipeline.systems)
    assert stage.get_json("totals.json")["rows"]["segment_cells.parquet"] <= MAX_CELLS
    report = coarse.read("report.html").decode()
    assert 'id="coarse">The log has ' in report and "max_cells is 20,000: it was read" in report
    assert 'id="coarse"' not in first_run.read("report.html").decode()


def test_every_candidate_has_a_score_whether_or_not_the_cells_are_by_it(coarse: FinishedRun, first_run: FinishedRun):
    scored, whole = (
        {score["feature_name"]: score["reason"] for score in run.read_json("metrics.json")["features"]}
        for run in (coarse, first_run)
    )
    assert scored.keys() == whole.keys()
    left_out = [name for name, reason in scored.items() if "max_cells" in reason]
    assert len(left_out) == coarse.read_json("metrics.json")["coarse_cells"]["features_left_out"]


def test_coarser_cells_hardly_change_a_bid(coarse: FinishedRun, first_run: FinishedRun):
    engine = coarse.pipeline.systems.engine
    features = [feature.feature_name for feature in registry.read_features(engine, coarse.handle.run_id)]
    assert features == first_run.read_json("manifest.json")["bidding"]["features"]
    found, whole = bids_of(coarse), bids_of(first_run)
    assert set(found.index) == set(whole.index)
    change = np.log(found["planned_bid_cpm"] / whole["planned_bid_cpm"]).reindex(whole.index)
    assert np.average(change.abs(), weights=whole["requests"]) < 0.02
