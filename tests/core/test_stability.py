"""The index must warn when the bids changed, and only then."""

import numpy as np
import pytest

from optimizer.core.checks.stability import MAX_STABILITY_INDEX, stability_index

TRIALS = 200


def market(segments: int, spread: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    """Return bids, requests by Zipf's law, and more chance."""
    chance = np.random.default_rng(seed)
    return np.exp(chance.normal(2, spread, segments)), chance.permutation(1 / np.arange(1, segments + 1)), chance


def warnings(segments: int, spread: float, *, shift: float, noise: float) -> int:
    count = 0
    for seed in range(TRIALS):
        old, requests, chance = market(segments, spread, seed)
        new = old * (1 + shift) * (1 + noise * chance.standard_normal(segments).clip(-2, 2))
        count += stability_index(old, new, weights=requests) > MAX_STABILITY_INDEX
    return count


SIZES = pytest.mark.parametrize(("segments", "spread"), [(30, 0.3), (200, 0.2), (200, 1.0), (1_000, 0.5)])


@SIZES
def test_estimates_that_move_by_chance_do_not_warn(segments: int, spread: float):
    assert warnings(segments, spread, shift=0.0, noise=0.03) <= 0.01 * TRIALS


@SIZES
def test_a_shift_of_ten_percent_warns(segments: int, spread: float):
    assert warnings(segments, spread, shift=0.10, noise=0.03) >= 0.99 * TRIALS


def test_even_the_jitter_of_served_bids_hardly_warns_over_many_segments():
    assert warnings(1_000, 0.5, shift=0.0, noise=0.10) <= 0.01 * TRIALS


def test_nothing_moved_is_zero_and_a_shift_is_its_logarithm():
    old, requests, _ = market(100, 0.5, 1)
    assert stability_index(old, old, weights=requests) == 0
    assert stability_index(old, 1.1 * old, weights=requests) == pytest.approx(np.log(1.1))


def test_a_fallback_that_moves_by_a_cent_is_not_a_change():
    old = np.full(1_000, 10.88)
    assert stability_index(old, old + 0.01, weights=np.ones(1_000)) < 0.001
