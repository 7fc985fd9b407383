import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from optimizer.core.landscape.curves import STEEPEST, Landscape, Link
from optimizer.core.landscape.logit import Tails

LANDSCAPE = Landscape(reference_cpm=8.0)
MIXED = Link(np.array([-1.5, 0.2, 1.0]), np.array([0.3, 0.5, 0.2]))
UNRIVALLED = Link(tails=Tails(0.05))
SLOPE = np.array([3.0])


@pytest.mark.parametrize("link", [Link(), MIXED, UNRIVALLED])
def test_bid_for_win_rate_inverts_the_win_rate(link):
    landscape, level = Landscape(8.0, link), np.linspace(-3, 3, 13)
    bid = landscape.bid_for_win_rate(level, SLOPE, 0.3)
    assert landscape.win_rate(level, SLOPE, bid) == pytest.approx(np.full(13, 0.3), abs=1e-5)


def test_the_link_is_the_mean_over_single_requests():
    logit = np.linspace(-4, 4, 9)
    by_hand = sum(p / (1 + np.exp(-(logit + d))) for p, d in zip(MIXED.shares, MIXED.shifts, strict=True))
    assert MIXED(logit) == pytest.approx(by_hand)
    assert UNRIVALLED(np.array([-np.inf, np.inf])).tolist() == [0.05, 1.0]


@pytest.mark.parametrize("link", [Link(), MIXED])
@pytest.mark.parametrize("slope", [0.4, 1.9, 8.0])
@pytest.mark.parametrize("value", [0.5, 9.0, 60.0])
@pytest.mark.parametrize("level", [-2.0, 0.0, 2.0])
def test_best_response_is_where_the_expected_surplus_is_largest(link, slope, value, level):
    landscape, at = Landscape(8.0, link), (np.array(level), np.array(slope))
    found = minimize_scalar(
        lambda bid: -(value - bid) * landscape.win_rate(*at, bid), bounds=(1e-6, value), method="bounded",
        options={"xatol": 1e-9},
    )  # fmt: skip
    surplus = value - landscape.best_response(np.array([level]), np.array([slope]), np.array([value]))[0]
    assert surplus == pytest.approx(value - found.x, rel=2e-3)


def test_segments_of_different_slopes_are_solved_each_by_its_own():
    level, slope, value = np.array([0.5, -1.0, 0.0]), np.array([1.2, 2.7, 1.2]), np.array([9.0, 14.0, 30.0])
    alone = [LANDSCAPE.best_response(level[[n]], slope[[n]], value[[n]])[0] for n in range(3)]
    assert LANDSCAPE.best_response(level, slope, value) == pytest.approx(alone)


def test_where_auctions_lack_rivals_the_bid_is_the_best_one_against_rivals():
    landscape, level = Landscape(8.0, UNRIVALLED), np.array([0.0])
    bid = landscape.best_response(level, SLOPE, np.array([20.0]))[0]
    near = bid * np.array([0.98, 1.0, 1.02])
    surplus = (20.0 - near) * landscape.win_rate(level, SLOPE, near)
    assert surplus.argmax() == 1


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1])
@pytest.mark.parametrize("slope", [1.5, 3.0, 6.0])
def test_where_no_bid_against_rivals_is_best_the_bid_falls_by_degrees(share, slope):
    landscape = Landscape(8.0, Link(tails=Tails(share)))
    value = np.geomspace(0.01, 200.0, 4_000)
    level, slopes = np.zeros(len(value)), np.full(len(value), slope)
    bid = landscape.best_response(level, slopes, value)
    surplus = [(value - bid * step) * landscape.win_rate(level, slopes, bid * step) for step in (0.99, 1.0, 1.01)]
    bids = bid > 0
    is_best = bids & (surplus[1] >= surplus[0]) & (surplus[1] >= surplus[2])
    assert is_best[-1] and not is_best[0] and (np.diff(is_best.astype(int)) >= 0).all()
    steepness = np.diff(np.log(bid[bids])) / np.diff(np.log(value[bids]))
    assert (steepness > 0).all() and steepness.max() == pytest.approx(STEEPEST, abs=0.02)
    # All the way down to where it matters no more, and never above the value.
    last = bid[is_best].min()
    assert bid[bids].min() < last / 100 and (bid <= value).all() and bid[0] == 0.0


def test_nothing_is_bid_for_what_is_worth_nothing():
    assert LANDSCAPE.best_response(np.zeros(2), SLOPE, np.array([0.0, -1.0])).tolist() == [0.0, 0.0]


def test_a_second_price_win_costs_the_mean_price_of_the_rivals_below_the_bid():
    rng = np.random.default_rng(3)
    rivals = 8.0 * np.exp(rng.logistic(0, 1 / 3.0, 400_000))
    bid = np.array([5.0, 9.0, 15.0])
    drawn = [rivals[rivals <= each].mean() for each in bid]
    assert LANDSCAPE.mean_price(np.zeros(3), SLOPE, bid) == pytest.approx(drawn, rel=0.01)


@pytest.mark.parametrize("slope", [0.0, -1.0, float("nan")])
def test_a_curve_that_does_not_rise_is_not_a_landscape(slope):
    with pytest.raises(ValueError, match="must be positive"):
        LANDSCAPE.best_response(np.zeros(1), np.array([slope]), np.ones(1))
    with pytest.raises(ValueError, match="must be positive"):
        Landscape(0.0)
