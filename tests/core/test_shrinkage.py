import numpy as np
import pytest

from optimizer.core.landscape.shrinkage import between_group_variance, prior_strength, shrink_effects, shrink_rates


def test_pure_noise_has_no_variance_between_groups():
    rng = np.random.default_rng(0)
    weights = rng.uniform(10, 1_000, 300)
    found = [between_group_variance(rng.normal(0, 1 / np.sqrt(weights)), weights) for _ in range(50)]
    assert np.median(found) < 1e-4


def test_true_variance_is_found_under_the_noise():
    rng = np.random.default_rng(1)
    weights = rng.uniform(10, 1_000, 5_000)
    effects = rng.normal(0, 0.2, 5_000) + rng.normal(0, 1 / np.sqrt(weights))
    assert between_group_variance(effects, weights) == pytest.approx(0.04, rel=0.1)


def test_shrinking_pulls_thin_groups_most():
    effects, weights = np.array([0.5, 0.5, -0.5, -0.5]), np.array([1_000.0, 10.0, 1_000.0, 10.0])
    shrunk = shrink_effects(effects, weights)
    assert abs(shrunk[0]) > abs(shrunk[1]) > 0


def test_a_single_group_is_shrunk_to_nothing():
    assert shrink_effects(np.array([0.7]), np.array([5.0])).tolist() == [0.0]


def test_prior_strength_finds_the_beta_that_made_the_rates():
    rng = np.random.default_rng(2)
    rates = rng.beta(2, 98, 4_000)
    trials = rng.integers(50, 500, 4_000)
    strength = prior_strength(rng.binomial(trials, rates), trials, np.full(4_000, 0.02))
    assert strength == pytest.approx(100, rel=0.15)


def test_shrunk_rates_lie_between_the_observed_and_the_parents():
    shrunk = shrink_rates(np.array([0.0, 30.0]), np.array([100.0, 100.0]), np.array([0.1, 0.1]))
    assert 0.0 < shrunk[0] < 0.1 < shrunk[1] < 0.3
