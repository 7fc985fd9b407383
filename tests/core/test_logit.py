import numpy as np
import pandas as pd
import pytest
from core.worlds import confounded_cells
from scipy.special import expit

from optimizer.core.landscape.cells import prepare_cells
from optimizer.core.landscape.design import Design
from optimizer.core.landscape.logit import Tails, fit_logit, log_likelihood
from optimizer.core.landscape.slope import PriceMoves, find_slope, fit_jitter, judge_slope
from optimizer.core.landscape.win_rate import LandscapeData, fit_landscape


def test_counts_fit_like_the_rows_that_they_count():
    rng = np.random.default_rng(3)
    design = np.column_stack([np.ones(50), rng.normal(size=50)])
    trials = rng.integers(1, 20, 50)
    wins = rng.binomial(trials, 0.4)
    rows = np.repeat(design, trials, axis=0)
    won = np.concatenate([[1] * w + [0] * (t - w) for w, t in zip(wins, trials, strict=True)])
    counted, single = fit_logit(design, wins=wins, trials=trials), fit_logit(rows, wins=won, trials=np.ones(len(won)))
    assert counted.coefficients == pytest.approx(single.coefficients)
    assert counted.standard_errors == pytest.approx(single.standard_errors)


def test_levels_fit_like_the_columns_of_zeros_and_ones_that_they_stand_for():
    rng = np.random.default_rng(4)
    columns, level = rng.normal(size=(400, 2)), rng.integers(0, 7, 400)
    trials = rng.integers(1, 20, 400)
    known = {"wins": rng.binomial(trials, 0.4), "trials": trials, "tails": Tails(0.02, 0.97)}
    levels, spelled = Design(columns, level, 7), np.column_stack([columns, np.eye(7)[level]])
    short, long = fit_logit(levels, **known), fit_logit(spelled, **known)
    assert short.coefficients == pytest.approx(long.coefficients, rel=1e-9)
    assert short.covariance == pytest.approx(long.covariance, rel=1e-9)
    assert levels.predict(short.coefficients) == pytest.approx(spelled @ short.coefficients)
    others = levels.without(0)
    assert others.predict(np.arange(8.0)) == pytest.approx(spelled[:, 1:] @ np.arange(8.0))


@pytest.mark.parametrize("share", [0.0, 0.05])
def test_the_truth_is_found_however_far_offsets_throw_the_first_steps(share: float):
    """Plain Fisher scoring jumps to and fro for ever on a part of these."""
    for seed in range(100):
        rng = np.random.default_rng(seed)
        design = np.column_stack([rng.normal(size=8), np.ones(8)])
        offset, true = rng.normal(0, 4, 8), rng.normal(0, 3, 2)
        wins = 100 * (share + (1 - share) * expit(offset + design @ true))
        known = {"wins": wins, "trials": np.full(8, 100.0), "tails": Tails(share), "offset": offset}
        fit = fit_logit(design, **known, prior_sd=1e4, max_steps=1_000)
        assert fit.coefficients == pytest.approx(true, abs=1e-3)


def test_the_log_likelihood_is_that_of_the_counts():
    logit, wins, trials = np.array([-1.0, 0.5]), np.array([1.0, 3.0]), np.array([4.0, 3.0])
    won = 0.1 + 0.9 * expit(logit)
    expected = (wins * np.log(won) + (trials - wins) * np.log(1 - won)).sum()
    assert log_likelihood(logit, wins=wins, trials=trials, tails=Tails(0.1)) == pytest.approx(expected)


def test_the_prior_hardly_moves_what_a_log_knows():
    rng = np.random.default_rng(5)
    design = np.column_stack([rng.normal(0, 0.1, 5_000), np.ones(5_000)])
    wins = rng.binomial(20, expit(design @ [2.0, -0.8]))
    weak, none = (fit_logit(design, wins=wins, trials=np.full(5_000, 20), prior_sd=sd) for sd in (10.0, 1e4))
    assert (np.abs(weak.coefficients - none.coefficients) / none.standard_errors).max() < 0.01


def separated(*, bids: int, width: float = 0.1, days: int = 20, segments: int = 10):
    """Cells in which every bid above its plan wins and every other loses, as with a floor at the plan."""
    rng = np.random.default_rng(1)
    segment = np.repeat(np.arange(segments), days)
    move = rng.uniform(-width, width, len(segment))
    day = pd.Timestamp("2026-01-05") + pd.to_timedelta(np.tile(np.arange(days), segments), unit="D")
    cells = pd.DataFrame({"day": day, "bids": bids, "wins": np.where(move > 0, bids, 0)})
    zero = np.zeros(len(segment))
    return cells, PriceMoves(usual=zero, drift=zero, move=move, is_randomised=True), segment


@pytest.mark.parametrize("bids", [1, 20, 1_000, 50_000])
def test_a_price_that_separates_wins_from_losses_ends_in_held_bids_and_no_error(bids: int):
    cells, moves, segment = separated(bids=bids)
    slope = fit_jitter(cells, moves=moves, segment=segment, score=np.zeros(len(cells))).slope
    assert np.isfinite(slope.value) and slope.value > 0 and not slope.is_identified
    data = LandscapeData(cells, np.zeros(len(cells)), moves=moves, segment=segment, group=segment, groups=10)
    fit = fit_landscape(data, reference_cpm=8.0)
    assert fit.is_held and fit.is_naive and not fit.is_group_identified.any() and fit.slope == 1.0


def test_a_log_in_which_jitter_meets_a_step_has_no_slope_to_bid_by():
    cells = prepare_cells(confounded_cells(2, bids=20_000), ["adspace", "region"])
    stepped = cells.assign(wins=(cells["log_base"] > np.log(8)).astype(int))
    found = find_slope(stepped, stepped.groupby(["adspace", "region"], observed=True).ngroup().to_numpy())
    assert found is None or not found.is_identified


def test_a_curve_as_steep_as_a_step_is_not_identified_however_small_its_error():
    assert judge_slope(9.0, 0.1).is_identified
    assert not judge_slope(11.0, 0.1).is_identified


def test_a_fit_next_to_a_score_that_separates_wins_from_losses_ends_though_no_bid_may_win_for_sure():
    """As where a feature knows the outcome, and a curve has a ceiling: steps of the scoring overshoot for ever."""
    won = np.tile([1.0, 0.0], 200)
    bids = np.random.default_rng(0).integers(1, 400, 400).astype(float)
    days = np.eye(20)[np.arange(400) // 20]
    design = np.column_stack([np.where(won > 0, 12.0, -12.0), days])
    fit = fit_logit(design, wins=won * bids, trials=bids, tails=Tails(0.0, 0.98))
    assert np.isfinite(fit.standard_errors).all() and fit.coefficients[0] > 0
