import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from optimizer.core.landscape.calibration import (
    auc_standard_error,
    calibration_error,
    expected_calibration_error,
    group_bias,
    logistic_loss,
    weighted_auc,
)


def test_auc_of_cells_equals_auc_of_rows():
    rng = np.random.default_rng(0)
    predicted, trials = rng.random(40), rng.integers(1, 30, 40)
    successes = rng.binomial(trials, predicted)
    labels = np.concatenate([[1] * s + [0] * (t - s) for s, t in zip(successes, trials, strict=True)])
    rows = np.repeat(predicted, trials)
    assert weighted_auc(predicted, successes=successes, trials=trials) == pytest.approx(roc_auc_score(labels, rows))


def test_equal_predictions_rank_a_win_and_a_loss_half():
    predicted, trials, successes = np.array([0.5, 0.5, 0.5]), np.array([3, 1, 4]), np.array([3, 0, 2])
    assert weighted_auc(predicted, successes=successes, trials=trials) == 0.5


def test_the_loss_of_cells_equals_that_of_rows_and_is_finite_where_a_certain_prediction_fails():
    rng = np.random.default_rng(0)
    predicted, trials = rng.random(40), rng.integers(1, 30, 40)
    successes = rng.binomial(trials, predicted)
    labels = np.concatenate([[1] * s + [0] * (t - s) for s, t in zip(successes, trials, strict=True)])
    expected = log_loss(labels, np.repeat(predicted, trials))
    assert logistic_loss(predicted, successes=successes, trials=trials) == pytest.approx(expected)
    assert 30 < logistic_loss(np.array([1.0]), successes=np.array([0]), trials=np.array([1])) < 40


def test_there_is_no_auc_if_all_outcomes_are_equal():
    assert weighted_auc(np.array([0.5]), successes=np.array([3]), trials=np.array([3])) is None


def test_200_clicks_leave_a_standard_error_of_two_points():
    assert auc_standard_error(0.5, successes=200, failures=500_000) == pytest.approx(0.0204, abs=0.0005)


def test_a_model_that_is_right_has_no_calibration_error_and_one_that_is_off_has_its_offset():
    predicted, trials = np.linspace(0.1, 0.9, 50), np.full(50, 1_000)
    assert expected_calibration_error(predicted, successes=predicted * trials, trials=trials) < 1e-12
    shifted = expected_calibration_error(predicted - 0.05, successes=predicted * trials, trials=trials)
    assert shifted == pytest.approx(0.05)


def drawn(seed, *, day_shock=0.0):
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(14), 200)
    predicted = rng.uniform(0.05, 0.6, len(day))
    trials = rng.integers(1, 40, len(day)).astype(float)
    true = np.clip(predicted + rng.normal(0, day_shock, 14)[day], 0.01, 0.99)
    return {"predicted": predicted, "successes": rng.binomial(trials.astype(int), true), "trials": trials, "day": day}


def test_a_right_model_has_no_more_calibration_error_than_chance():
    errors = [calibration_error(**drawn(seed)) for seed in range(20)]
    assert np.mean([error.value for error in errors]) == pytest.approx(np.mean([e.noise for e in errors]), rel=0.15)
    assert all(error.low <= error.value <= error.high for error in errors)


def test_days_that_shake_all_auctions_widen_the_interval_and_not_the_noise():
    calm, shaken = calibration_error(**drawn(1)), calibration_error(**drawn(1, day_shock=0.1))
    assert shaken.high - shaken.low > 3 * (calm.high - calm.low)
    assert shaken.noise == pytest.approx(calm.noise, rel=0.05)


def test_errors_that_cancel_over_predictions_show_where_the_bins_are_made_of_the_bid():
    log = drawn(2)
    bid = np.random.default_rng(99).uniform(-1, 1, len(log["day"]))
    tilted = log | {"predicted": np.clip(log["predicted"] + 0.05 * np.sign(bid), 0.01, 0.99)}
    assert calibration_error(**tilted, by=bid).value == pytest.approx(0.05, abs=0.01)
    assert calibration_error(**tilted).value < 0.02


def test_bias_is_the_mean_gap_of_groups():
    predicted, trials = np.array([0.2, 0.2, 0.6]), np.array([100.0, 100.0, 200.0])
    successes = np.array([30.0, 10.0, 140.0])
    assert group_bias(predicted, successes=successes, trials=trials, group=np.array([0, 0, 1])) == pytest.approx(0.05)
    assert group_bias(predicted, successes=successes, trials=trials, group=np.arange(3)) == pytest.approx(0.1)
