import numpy as np
import pytest
from core.worlds import logistic_cells, true_level

from optimizer.core.cells import prepare_cells
from optimizer.core.logit import fit_logit
from optimizer.core.slope import PriceMoves, price_moves
from optimizer.core.win_rate import fit_landscape, segment_levels
from optimizer.errors import DataError

FEATURES = ["adspace", "region"]


def at_reference(cells):
    """Moves that are measured from the reference bid of 8 in every segment."""
    zero = np.zeros(len(cells))
    return PriceMoves(zero + np.log(8), cells["log_bid"].to_numpy(float) - np.log(8), zero, is_randomised=True)


def fitted(seed, **options):
    cells = prepare_cells(logistic_cells(seed, **options), FEATURES)
    score = true_level(cells.astype({"adspace": str, "region": str}))
    return cells, score, fit_landscape(cells, score=score, moves=at_reference(cells), reference_cpm=8.0)


def test_the_slope_and_its_interval_cover_the_truth():
    fits = [fitted(seed, bids=8_000)[2] for seed in range(30)]
    assert sum(abs(fit.slope - 3.0) <= 1.96 * fit.slope_error for fit in fits) >= 25


def test_an_unbiased_score_gets_weight_one():
    _, _, fit = fitted(1)
    assert fit.score_weight == pytest.approx(1.0, abs=0.05) and fit.intercept == pytest.approx(0.0, abs=0.1)


def test_a_level_at_the_usual_price_is_carried_to_the_reference_by_the_slope():
    _, _, fit = fitted(1)
    usual = np.log(8.0) + np.array([-0.2, 0.0, 0.3])
    assert fit.level(np.zeros(3), usual) - fit.intercept == pytest.approx(-fit.slope * np.array([-0.2, 0.0, 0.3]))


def test_flat_bids_are_refused():
    flat = logistic_cells(1, bids=5_000).assign(bid_cpm_sum=8.0, base_bid_cpm_sum=8.0)
    cells = prepare_cells(flat, FEATURES)
    with pytest.raises(DataError, match="the logged bids do not vary"):
        fit_landscape(cells, score=np.zeros(len(cells)), moves=at_reference(cells), reference_cpm=8.0)


def test_a_log_in_which_higher_bids_win_less_is_refused():
    cells = prepare_cells(logistic_cells(1, bids=20_000, slope=-2.0), FEATURES)
    with pytest.raises(DataError, match="higher bids do not win more"):
        fit_landscape(cells, score=np.zeros(len(cells)), moves=at_reference(cells), reference_cpm=8.0)


def test_a_segment_level_moves_by_its_evidence():
    cells, score, fit = fitted(2)
    group = cells["adspace"].cat.codes.to_numpy()
    off = score - 0.8 * (group == 0)  # the model underrates the first adspace
    weights = np.ones(len(cells))
    levels = segment_levels(cells, group=group, size=8, fit=fit, score=off, moves=at_reference(cells), weights=weights)
    assert levels["level_shift"][0] - levels["level_shift"][1:].mean() == pytest.approx(0.8, abs=0.1)
    assert levels["level_error"].max() < 0.05
    assert levels["effective_bids"].sum() == pytest.approx(len(cells))


def test_moves_are_measured_from_each_segments_own_mean_price():
    cells = prepare_cells(logistic_cells(3, bids=5_000), FEATURES)
    group = cells["adspace"].cat.codes.to_numpy()
    moves = price_moves(cells, group, is_randomised=True)
    mean = np.bincount(group, cells["bids"] * moves.move) / np.bincount(group, cells["bids"])
    assert mean == pytest.approx(np.zeros(8), abs=1e-12)
    assert moves.usual + moves.move == pytest.approx(cells["log_base"].to_numpy())


def test_the_logit_fit_of_counts_equals_that_of_rows():
    rng = np.random.default_rng(3)
    design = np.column_stack([np.ones(50), rng.normal(size=50)])
    trials = rng.integers(1, 20, 50)
    wins = rng.binomial(trials, 0.4)
    rows = np.repeat(design, trials, axis=0)
    won = np.concatenate([[1] * w + [0] * (t - w) for w, t in zip(wins, trials, strict=True)])
    counted, single = fit_logit(design, wins=wins, trials=trials), fit_logit(rows, wins=won, trials=np.ones(len(won)))
    assert counted.coefficients == pytest.approx(single.coefficients)
    assert counted.standard_errors == pytest.approx(single.standard_errors)
