"""A short run of the benchmark: few seeds, smaller logs, and bounds that leave room for both."""

from itertools import pairwise
from unittest.mock import patch

import numpy as np
import pytest

from lab.evaluation import judgement
from lab.evaluation.cases import DAILY, Case
from lab.evaluation.goals import TrialFigures
from lab.evaluation.loop import run_loop
from lab.evaluation.trials import SCENARIO_NAMES, Job

BIDS, REQUESTS = 120_000, 50_000


@pytest.fixture(scope="module")
def steady() -> list[TrialFigures]:
    with patch.object(judgement, "REQUESTS", REQUESTS):
        return [figures for seed in (1, 2) for figures in Job("steady", seed, BIDS).run()]


def of(trials: list[TrialFigures], method: str) -> list[TrialFigures]:
    return [trial for trial in trials if trial.method == method]


def test_the_optimizer_comes_near_the_truth(steady):
    own = of(steady, "optimizer")
    assert np.mean([abs(trial.gap) for trial in own]) <= 0.05
    assert np.mean([trial.segment_error for trial in own]) <= 0.05
    assert np.mean([trial.landscape_error for trial in own]) <= 0.05
    assert 0.85 <= np.mean([trial.bid_over_ideal for trial in own]) <= 1.20
    assert all(abs(trial.slope - trial.true_slope) < 0.6 for trial in own)


def test_simpler_methods_know_the_landscape_less_well(steady):
    own = np.mean([trial.landscape_error for trial in of(steady, "optimizer")])
    others = {trial.method for trial in steady} - {"optimizer"}
    assert len(others) == 4
    for method in others:
        assert np.mean([trial.landscape_error for trial in of(steady, method)]) > own


def test_flat_bids_are_held():
    (trial,) = Job("flat bids", 1, BIDS // 2).run()
    assert trial.is_refused == 1.0


def test_a_second_price_log_shows_its_landscape_without_jitter():
    (trial,) = Job("second price", 1, BIDS // 2).run()
    assert abs(trial.gap) <= 0.06 and trial.landscape_error <= 0.05


def test_backtest_intervals_hold_the_truth():
    trials = [trial for seed in (1, 2) for trial in Job("backtest", seed, BIDS).run()]
    assert [trial.backtest_refused for trial in trials] == [0.0, 0.0]
    assert np.mean([trial.backtest_covered for trial in trials]) >= 5 / 6


def test_dirt_in_the_log_hardly_moves_the_bids():
    change = {trial.scenario: trial.bid_change for trial in Job("dirt", 1, BIDS // 4).run()}
    assert change.pop("dirt: null tokens") <= 0.01
    assert len(change) == 4 and max(change.values()) <= 0.001


def test_a_daily_loop_learns_from_its_own_bids():
    days = list(run_loop(Case(2, bids=BIDS // 2), settings=DAILY, live_days=3))
    assert [day.run.run_id[:8] for day in days] == ["20260306", "20260307", "20260308"]
    for before, after in pairwise(days):
        assert not after.run.report.is_slope_naive
        bids = after.run.priced.bids
        plan = before.run.as_earlier.plan
        if plan.features == after.run.selection.features:
            known = bids["segment_key"].map(plan.planned_cpm).fillna(plan.fallback_cpm)
            assert bids["previous_bid_cpm"].to_numpy() == pytest.approx(known.to_numpy())
        step = (bids["suggested_bid_cpm"] - bids["step_from_cpm"]).abs()
        limit = np.maximum(DAILY.daily_step_limit * bids["step_from_cpm"], 0.01)
        is_free = ~bids["reason"].isin(["margin", "cap", "floor"])
        assert bids["is_served"].all() and (step <= limit + 1e-9)[is_free].all()
    assert all(abs(day.win_rate - 0.3) < 0.1 for day in days)


def test_every_scenario_has_a_name():
    assert {"steady", "demand step", "new rival", "floor chasing", "adspace appears", "adspace goes"} <= set(
        SCENARIO_NAMES
    )
