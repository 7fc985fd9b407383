import numpy as np
import pytest

from optimizer.core.landscape.drift import latest_level


def test_without_drift_all_days_count_by_their_evidence():
    levels, errors = np.array([0.02, -0.03, 0.01, 0.0]), np.array([0.02, 0.04, 0.02, 0.02])
    level, drift_sd = latest_level(levels, errors)
    assert drift_sd == 0.0
    assert level == pytest.approx(np.average(levels, weights=errors**-2.0))


def test_a_level_that_moves_is_taken_from_the_latest_days():
    levels, errors = np.linspace(0.4, -0.4, 10), np.full(10, 0.05)
    level, drift_sd = latest_level(levels, errors)
    assert drift_sd > 0.05
    assert level == pytest.approx(-0.36, abs=0.06)


def test_on_random_walks_it_is_nearer_to_the_next_day_than_the_mean_is():
    rng = np.random.default_rng(0)
    own, of_mean = [], []
    for _ in range(200):
        walk = rng.normal(0, 0.1, 9).cumsum()
        seen = walk[:-1] + rng.normal(0, 0.05, 8)
        own.append(latest_level(seen, np.full(8, 0.05))[0] - walk[-1])
        of_mean.append(seen.mean() - walk[-1])
    assert np.std(own) < 0.75 * np.std(of_mean)


def test_one_day_is_its_own_level():
    assert latest_level(np.array([0.3]), np.array([0.1])) == (0.3, 0.0)
