import numpy as np
import pytest

from optimizer.training.curves import UNRIVALLED_SHARES, summit


def worth(top: float, *, shares: int = len(UNRIVALLED_SHARES)) -> list[float]:
    """Return what each share is worth where `top` is the best."""
    return [-40_000 * (share - top) ** 2 for share in UNRIVALLED_SHARES[:shares]]


@pytest.mark.parametrize("top", [0.0, 0.003, 0.0299, 0.03, 0.0301, 0.05, 0.0912])
def test_the_best_share_is_between_those_that_were_tried(top):
    assert summit(worth(top)) == pytest.approx(top, abs=1e-9)


def test_hardly_another_log_likelihood_is_hardly_another_share():
    nearly_even = [-20.0, 0.0, 0.01, -20.0]
    assert summit(nearly_even) == pytest.approx(summit([-20.0, 0.01, 0.0, -20.0]), abs=1e-4)


@pytest.mark.parametrize("shares", [1, 2])
def test_of_too_few_shares_for_a_parabola_the_best_is_taken(shares):
    assert summit(worth(0.05, shares=shares)) == UNRIVALLED_SHARES[shares - 1]


def test_a_share_beyond_the_last_that_the_log_bears_is_never_taken():
    assert summit(worth(0.09, shares=4)) == UNRIVALLED_SHARES[3]


def test_without_bids_far_apart_no_share_is_worth_its_cost():
    assert summit([-100 * share for share in UNRIVALLED_SHARES[:3]]) == 0.0
    assert summit(np.array([0.0, -3.0, -1.0])) == 0.0  # no top at all
