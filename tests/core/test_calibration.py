import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from optimizer.core.calibration import auc_standard_error, expected_calibration_error, weighted_auc


def test_auc_of_cells_equals_auc_of_rows():
    rng = np.random.default_rng(0)
    predicted, trials = rng.random(40), rng.integers(1, 30, 40)
    successes = rng.binomial(trials, predicted)
    labels = np.concatenate([[1] * s + [0] * (t - s) for s, t in zip(successes, trials, strict=True)])
    rows = np.repeat(predicted, trials)
    assert weighted_auc(predicted, successes=successes, trials=trials) == pytest.approx(roc_auc_score(labels, rows))


def test_there_is_no_auc_where_all_ended_alike():
    assert weighted_auc(np.array([0.5]), successes=np.array([3]), trials=np.array([3])) is None


def test_200_clicks_leave_a_standard_error_of_two_points():
    assert auc_standard_error(0.5, successes=200, failures=500_000) == pytest.approx(0.0204, abs=0.0005)


def test_a_model_that_is_right_has_no_calibration_error_and_one_that_is_off_has_its_offset():
    predicted, trials = np.linspace(0.1, 0.9, 50), np.full(50, 1_000)
    assert expected_calibration_error(predicted, successes=predicted * trials, trials=trials) < 1e-12
    shifted = expected_calibration_error(predicted - 0.05, successes=predicted * trials, trials=trials)
    assert shifted == pytest.approx(0.05)
