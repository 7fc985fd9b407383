"""Lambda over many segments, where the search is led by a sample, against a plain search over all of them."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq

from optimizer.core.landscape.curves import Landscape, Link
from optimizer.core.landscape.logit import Tails
from optimizer.core.pricing.shadow_price import SAMPLE, WinCurve, find_shadow_price

SIZE = 10 * SAMPLE
START_CPM = 9.0
LINKS = [Link(), Link(np.linspace(-0.6, 0.6, 9), np.full(9, 1 / 9), tails=Tails(0.05))]


def curve(link: Link, *, is_second_price: bool = False, size: int = SIZE) -> WinCurve:
    rng = np.random.default_rng(4)
    level, slope = rng.normal(-0.5, 1.0, size), rng.choice([1.8, 2.5, 3.1], size)
    solver = Landscape(8.0, link).solver(level, slope)
    return WinCurve(
        requests=rng.zipf(1.5, size).clip(max=5_000).astype(float),
        worth_cpm=rng.gamma(2.0, 2.0, size),
        slope=slope,
        low=np.log(rng.uniform(0.5, 6.0, size)) - solver.log_scale,
        high=np.log(rng.uniform(10.0, 60.0, size)) - solver.log_scale,
        solver=solver,
        link=link,
        is_second_price=is_second_price,
    )


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("is_second_price", [False, True])
@pytest.mark.parametrize("target", [0.55, 0.7, 0.8])
def test_a_sample_leads_to_the_lambda_of_a_search_over_all_segments(link, is_second_price, target):
    wins = curve(link, is_second_price=is_second_price)
    goal = target * wins.requests.sum()
    assert wins(0.0) < goal < wins.reachable
    plain = brentq(lambda price: wins(price) - goal, 0.0, 1e4, xtol=1e-9, rtol=1e-9)
    found = find_shadow_price(wins, target_wins=goal, start_cpm=START_CPM)
    assert found == pytest.approx(plain, rel=1e-5, abs=1e-5)
    assert wins(found) == pytest.approx(goal, rel=1e-5)


def test_where_the_target_is_out_of_reach_lambda_reaches_all_that_can_be():
    wins = curve(LINKS[0])
    price = find_shadow_price(wins, target_wins=wins.requests.sum(), start_cpm=START_CPM)
    assert wins(price) >= wins.reachable * (1 - 1e-6) > wins(price / 2)


@pytest.mark.parametrize("size", [50, SIZE])
def test_a_target_that_value_reaches_alone_needs_no_lambda(size):
    wins = curve(LINKS[1], size=size)
    assert find_shadow_price(wins, target_wins=0.5 * wins(0.0), start_cpm=START_CPM) == 0.0


def test_one_segment_with_half_of_all_requests_does_not_mislead_the_sample():
    wins = curve(LINKS[0])
    requests = wins.requests.copy()
    requests[SIZE // 2] = requests.sum()
    wins = replace(wins, requests=requests)
    goal = 0.5 * (wins(0.0) + wins.reachable)
    assert wins(find_shadow_price(wins, target_wins=goal, start_cpm=START_CPM)) == pytest.approx(goal, rel=1e-5)


def test_a_sample_keeps_the_requests_and_wins_about_as_many():
    wins = curve(LINKS[0])
    sample = wins.sample(SAMPLE)
    assert sample.requests.sum() == pytest.approx(wins.requests.sum())
    assert sample(5.0) == pytest.approx(wins(5.0), rel=0.02)
