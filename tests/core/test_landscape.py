import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from optimizer.core.landscape import Landscape

LANDSCAPE = Landscape(reference_cpm=8.0, slope=3.0)


def test_bid_for_win_rate_inverts_the_win_rate():
    level = np.linspace(-3, 3, 13)
    bid = LANDSCAPE.bid_for_win_rate(level, 0.3)
    assert LANDSCAPE.win_rate(level, bid) == pytest.approx(np.full(13, 0.3))


@pytest.mark.parametrize("slope", [0.4, 1.9, 8.0])
@pytest.mark.parametrize("value", [0.5, 9.0, 60.0])
@pytest.mark.parametrize("level", [-2.0, 0.0, 2.0])
def test_best_response_is_where_the_expected_surplus_is_largest(slope, value, level):
    landscape = Landscape(8.0, slope)
    found = minimize_scalar(
        lambda bid: -(value - bid) * landscape.win_rate(np.array(level), bid), bounds=(1e-6, value), method="bounded",
        options={"xatol": 1e-9},
    )  # fmt: skip
    surplus = value - landscape.best_response(np.array([level]), np.array([value]))[0]
    assert surplus == pytest.approx(value - found.x, rel=1e-3)


def test_nothing_is_bid_for_what_is_worth_nothing():
    assert LANDSCAPE.best_response(np.zeros(2), np.array([0.0, -1.0])).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("reference", "slope"), [(8.0, 0.0), (8.0, -1.0), (8.0, float("nan")), (0.0, 1.0)])
def test_a_curve_that_does_not_rise_is_no_landscape(reference, slope):
    with pytest.raises(ValueError, match="must be positive"):
        Landscape(reference, slope)
