"""Every part of the benchmark, small: what it measures is right, however long it took."""

import json
from dataclasses import replace

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest

from lab.benchmarks.extracting import CELLS_FILE, measure_cells
from lab.benchmarks.growing import CELL_BYTES, MEBIBYTE, PROGRAM_BYTES, RunMemory, figures_of, measure_growth
from lab.benchmarks.inverting import BOUND_FROM, LINKS, POLICY, REFERENCE_CPM, make_segments, measure_inversion
from lab.benchmarks.market import DAYS, END_DAY, START_DAY, create_world, generate_parts
from lab.benchmarks.training import (
    alone_parameters,
    cell_rows,
    measure_training,
    raw_rows,
    train_alone,
    training_input,
)
from lab.benchmarks.what_if import LONGEST_SECONDS, SETTINGS, make_learned, measure_what_if
from lab.market.tables import concat_events
from optimizer.core.landscape.curves import Landscape
from optimizer.core.pricing.bids import plan_bids
from optimizer.runs.pricing import Priceable
from optimizer.training.fitting import fit

BIDS = 24_000


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Return the folder of a small log with its cells, and the figures of their making."""
    folder = tmp_path_factory.mktemp("log")
    return folder, measure_cells(folder, bids=BIDS, repeats=1)


def test_parts_of_two_seeds_fill_the_same_days_with_different_bids():
    world = create_world()
    first, second = (concat_events(generate_parts(world, bids=6_000, seed=seed)).bids.to_pandas() for seed in (1, 2))
    assert len(first) == len(second) == 6_000
    assert pd.concat([first, second])["bid_id"].is_unique
    assert first["bid_ts"].dt.floor("D").nunique() == DAYS
    assert first["bid_ts"].min().date() == START_DAY and first["bid_ts"].max().date() < END_DAY


def test_the_cells_hold_every_bid_and_are_fewer_and_smaller(log):
    folder, (cost, rows, weight) = log
    cells = pd.read_parquet(folder / CELLS_FILE)
    assert cells["bids"].sum() == rows.yardstick == BIDS
    assert rows.measured == len(cells) < BIDS
    assert weight.measured == (folder / CELLS_FILE).stat().st_size
    assert weight.yardstick == sum((folder / f"{name}.parquet").stat().st_size for name in ("bids", "views", "clicks"))
    assert cost.measured > 0 and cost.yardstick > 0 and cost.bound is not None


def test_training_is_held_against_lightgbm_on_the_same_evidence(log):
    folder, _ = log
    job, cells = training_input(pd.read_parquet(folder / CELLS_FILE))
    bids, views = (pd.read_parquet(folder / f"{name}.parquet") for name in ("bids", "views"))
    raw, grouped = raw_rows(bids, won=views["bid_id"]), cell_rows(cells)
    assert len(raw.won) == BIDS and len(grouped.won) == 2 * len(cells)
    assert raw.weights.sum() == pytest.approx(grouped.weights.sum())
    assert (raw.weights @ raw.won) == pytest.approx(grouped.weights @ grouped.won)
    fitted = fit(job, cells)
    model, alone = lgb.Booster(model_str=fitted.win_model), train_alone(fitted, grouped)()
    assert alone.num_trees() == model.num_trees()
    kept = {"learning_rate", "num_leaves", "monotone_constraints", "deterministic", "num_threads", "max_bin"}
    assert kept <= set(alone_parameters(model))
    assert all(alone.params[name] == model.params[name] for name in kept)


def test_training_has_a_line_for_raw_rows_and_one_for_cells(log):
    figures = measure_training(log[0], repeats=1)
    assert ["row a bid" in figure.against for figure in figures] == [True, False]
    assert all(figure.bound is not None and figure.ratio > 0 for figure in figures)


def test_the_measured_bids_need_a_search_for_lambda():
    segments = make_segments(2_000)
    for link in LINKS.values():
        plan = plan_bids(segments, landscape=Landscape(REFERENCE_CPM, link), policy=POLICY, seed="run")
        assert plan.shadow_price_cpm > 0
        assert plan.expected_win_rate == pytest.approx(POLICY.target_win_rate, abs=0.01)  # with jitter and in cents


def test_inversion_has_a_line_a_size_and_link_and_a_bound_for_a_million_alone():
    figures = measure_inversion(sizes=(100, 200), repeats=1)
    assert len(figures) == 2 * len(LINKS)
    assert all(figure.bound is None and figure.ratio > 0 for figure in figures)
    assert BOUND_FROM == 1_000_000


def test_memory_is_held_against_the_cells_and_its_growth_against_the_logs():
    runs = [RunMemory(1_000, 500, 400 * MEBIBYTE), RunMemory(5_000, 1_000, 1_200 * MEBIBYTE)]
    figures = figures_of(runs)
    assert len(figures) == 5
    assert figures[1].yardstick == pytest.approx((PROGRAM_BYTES + 500 * CELL_BYTES) / MEBIBYTE)
    assert figures[-1].ratio == pytest.approx(3 / 5) and not figures[-1].is_kept
    assert figures_of([runs[0], RunMemory(5_000, 1_000, 900 * MEBIBYTE)])[-1].is_kept


def test_a_growing_log_is_read_whole_by_a_process_of_its_own():
    told = []
    figures = measure_growth(sizes=(12_000, 24_000), tell=told.append)
    cells, memory = figures[0::2][:2], [figure for figure in figures if figure.unit == "MiB"]
    assert [figure.yardstick for figure in figures if figure.unit == "rows"] == [12_000, 24_000]
    assert 0 < cells[0].measured < 12_000
    assert all(50 < figure.measured < 4_000 for figure in memory)
    assert "a run on 24,000 bids" in told and json.dumps(told)
    assert np.isfinite([figure.ratio for figure in figures]).all()


def test_a_what_if_is_measured_with_its_frontier_against_the_time_of_a_slider():
    small, large = measure_what_if(sizes=[400], repeats=1), measure_what_if(sizes=[5_000], repeats=1)
    assert [figure.bound for figure in small] == [None]  # only the sizes that are promised have a bound
    assert [figure.against for figure in large] == ["pricing a run", "what a slider may take"]
    assert large[1].yardstick == LONGEST_SECONDS[5_000] and all(figure.measured > 0 for figure in small + large)


def test_the_what_if_that_is_measured_has_to_search_for_lambda():
    learned, active = make_learned(400)
    priceable = Priceable.of(learned, active)
    policy = replace(priceable.policy(SETTINGS), step_limit=float("inf"))
    assert priceable.plan(SETTINGS, policy, seed="a").plan.shadow_price_cpm > 0
