import numpy as np
import pytest
from core.worlds import logistic_cells, true_level
from scipy.special import expit

from optimizer.core.landscape.cells import prepare_cells
from optimizer.core.landscape.logit import Tails
from optimizer.core.landscape.slope import POOLED_ERROR_SHARE, PriceMoves, price_moves
from optimizer.core.landscape.win_rate import LandscapeData, fit_landscape, segment_levels

FEATURES = ["adspace", "region"]


def at_reference(cells):
    """Moves that are measured from the reference bid of 8 in every segment."""
    zero = np.zeros(len(cells))
    move = cells["log_bid"].to_numpy(float) - np.log(8)
    return PriceMoves(usual=zero + np.log(8), drift=zero, move=move, is_randomised=True)


def fitted(seed, **options):
    cells = prepare_cells(logistic_cells(seed, **options), FEATURES)
    score = true_level(cells.astype({"adspace": str, "region": str}))
    return cells, score, curve(cells, score)


def curve(cells, score, **options):
    group = cells["adspace"].cat.codes.to_numpy()
    segment = cells.groupby(FEATURES, observed=True).ngroup().to_numpy()
    data = LandscapeData(cells, score=score, moves=at_reference(cells), segment=segment, group=group, groups=8)
    return fit_landscape(data, reference_cpm=8.0, **options)


def test_the_slope_and_its_interval_cover_the_truth():
    fits = [fitted(seed, bids=8_000)[2] for seed in range(30)]
    assert sum(abs(fit.slope - 3.0) <= 1.96 * fit.slope_error for fit in fits) >= 25


def test_an_unbiased_score_gets_weight_one():
    _, _, fit = fitted(1)
    assert fit.score_weight == pytest.approx(1.0, abs=0.05) and fit.intercept == pytest.approx(0.0, abs=0.1)


def test_a_level_at_the_usual_price_is_carried_to_the_reference_by_the_slope():
    _, _, fit = fitted(1)
    usual, group = np.log(8.0) + np.array([-0.2, 0.0, 0.3]), np.array([0, 3, 5])
    carried = fit.level(np.zeros(3), usual, group) - fit.intercept
    assert carried == pytest.approx(-fit.group_slopes[group] * np.array([-0.2, 0.0, 0.3]))


def test_flat_bids_hold():
    flat = logistic_cells(1, bids=5_000).assign(bid_cpm_sum=8.0, base_bid_cpm_sum=8.0)
    cells = prepare_cells(flat, FEATURES)
    fit = curve(cells, np.zeros(len(cells)))
    assert fit.is_held and fit.is_naive and not fit.is_group_identified.any()


def test_a_log_in_which_higher_bids_win_less_holds():
    cells = prepare_cells(logistic_cells(1, bids=20_000, slope=-2.0), FEATURES)
    fit = curve(cells, np.zeros(len(cells)))
    assert fit.is_held and not fit.is_group_identified.any()


def levels_of(cells, score, fit, group):
    z = fit.win_logit(score, at_reference(cells), group)
    return segment_levels(cells, group=group, size=8, curve=z, weights=np.ones(len(cells)), fit=fit)


def test_a_segment_level_moves_by_its_evidence():
    cells, score, fit = fitted(2)
    group = cells["adspace"].cat.codes.to_numpy()
    off = score - 0.8 * (group == 0)  # the model underrates the first adspace
    levels = levels_of(cells, off, fit, group)
    assert levels.shift[0] - levels.shift[1:].mean() == pytest.approx(0.8, abs=0.1)
    assert levels.error.max() < 0.05
    assert levels.effective_bids.sum() == pytest.approx(len(cells))


def test_auctions_without_rivals_are_likelier_where_there_are_some():
    cells, score, _ = fitted(4, bids=40_000)
    rng = np.random.default_rng(4)
    lost = (cells["bids"] - cells["wins"]).to_numpy()
    cells = cells.assign(wins=cells["wins"] + rng.binomial(lost, 0.15))
    group = cells["adspace"].cat.codes.to_numpy()
    fits = {share: curve(cells, score, tails=Tails(share)) for share in (0.0, 0.15)}
    likely = {share: levels_of(cells, score, fit, group).log_likelihood for share, fit in fits.items()}
    assert likely[0.15] > likely[0.0] + 10
    assert fits[0.15].slope == pytest.approx(3.0, abs=0.2)
    assert fits[0.15].bid_coefficient < fits[0.15].slope


def anchors_of(seed: int, bids: int):
    """The curve of a log whose anchors have slopes of their own, 2 to 4."""
    cells = prepare_cells(logistic_cells(seed, bids=bids), FEATURES)
    score = true_level(cells.astype({"adspace": str, "region": str}))
    own = np.linspace(2.0, 4.0, 8)[cells["adspace"].cat.codes.to_numpy()]
    move = cells["log_bid"].to_numpy(float) - np.log(8)
    won = np.random.default_rng(seed).random(len(cells)) < expit(score + own * move)
    return curve(cells.assign(wins=won.astype(int)), score)


def test_the_slope_of_an_anchor_counts_though_its_own_error_is_a_third_of_it():
    fit = anchors_of(1, bids=4_000)
    shares = fit.group_errors / fit.group_slopes
    assert fit.is_group_identified.all() and 0.1 < shares.max() < POOLED_ERROR_SHARE
    assert np.corrcoef(fit.group_slopes, np.linspace(2.0, 4.0, 8))[0, 1] > 0.5


def test_no_slope_of_an_anchor_counts_where_the_overall_one_is_not_identified():
    fit = anchors_of(1, bids=120)
    assert fit.is_naive and not fit.is_group_identified.any()


def test_moves_are_measured_from_each_segments_own_mean_price():
    cells = prepare_cells(logistic_cells(3, bids=5_000), FEATURES)
    group = cells["adspace"].cat.codes.to_numpy()
    moves = price_moves(cells, group, is_randomised=True)
    mean = np.bincount(group, cells["bids"] * moves.move) / np.bincount(group, cells["bids"])
    assert mean == pytest.approx(np.zeros(8), abs=1e-12)
    assert moves.usual + moves.move == pytest.approx(cells["log_base"].to_numpy())
