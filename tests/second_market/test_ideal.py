"""The cheapest bids, against every combination of bids in a market small enough for that."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from lab.second_market.ideal import best_on_curves, find_ideal, flat_bid, flat_cpm, true_curves
from lab.second_market.market import Market
from lab.second_market.prices import expected_cost, win_probability
from lab.second_market.requests import draw_requests
from lab.second_market.scenarios import SCENARIOS
from lab.second_market.settings import MarketSettings

TINY = MarketSettings(adspaces=3, regions=1, systems=1, adspace_sd=0.4, drift_sd=0.0)


def test_no_combination_of_bids_wins_as_much_for_less():
    market = Market.create(TINY, seed=4)
    requests = draw_requests(market, days=[60], per_day=3_000)
    curves = true_curves(market, requests)
    some = np.flatnonzero((curves.grid > 2) & (curves.grid < 60))[::7]
    share = curves.counts / curves.counts.sum()
    combinations = np.array(list(product(some, repeat=3)))
    won = sum(share[number] * curves.win_rate[number, combinations[:, number]] for number in range(3))
    spent = sum(
        share[number] * curves.win_rate[number, combinations[:, number]] * curves.grid[combinations[:, number]]
        for number in range(3)
    )
    for target in (0.3, 0.5, 0.7):
        ideal = best_on_curves(market, curves, win_rate=target)
        enough = won >= target
        assert ideal.win_rate == pytest.approx(target)
        assert ideal.cpm * target <= spent[enough].min() * 1.0005
        assert ideal.cpm * target >= 0.98 * spent[enough].min()


@pytest.mark.parametrize("name", ["base", "hour_of_day", "bimodal", "follow_segment_day", "round_prices_hidden_floors"])
def test_ideal_bids_bring_what_they_say_on_the_requests_themselves(name):
    market = SCENARIOS[name].create(2)
    requests = draw_requests(market, days=range(60, 67), per_day=20_000)
    ideal = find_ideal(market, requests, win_rate=0.5)
    bids = ideal.bid_cpm[requests.segment]
    p = win_probability(market, requests, bids)
    assert p.mean() == pytest.approx(0.5, abs=0.004)
    assert expected_cost(market, requests, bids).sum() / p.sum() == pytest.approx(ideal.cpm, rel=0.005)
    assert ideal.cpm < flat_cpm(market, requests, win_rate=0.5)


def test_a_flat_bid_is_the_lowest_that_wins_the_share():
    market = SCENARIOS["round_prices_hidden_floors"].create(1)
    requests = draw_requests(market, days=[60], per_day=20_000)
    bid = flat_bid(market, requests, win_rate=0.45)
    below, at = (win_probability(market, requests, price).mean() for price in (bid * 0.999, bid))
    assert below < 0.45 <= at
    assert flat_cpm(market, requests, win_rate=0.45) == pytest.approx(bid)


def test_a_cap_bounds_the_ideal_bids():
    market = SCENARIOS["base"].create(1)
    requests = draw_requests(market, days=[60], per_day=5_000)
    ideal = find_ideal(market, requests, win_rate=0.6, highest_cpm=8.0)
    assert np.nanmax(ideal.bid_cpm) == 8.0 and ideal.win_rate < 0.6


def test_in_second_price_one_bid_for_all_is_the_cheapest():
    scenario = SCENARIOS["second_price"]
    market = replace(scenario, market=replace(scenario.market, drift_sd=0.0)).create(1)
    requests = draw_requests(market, days=[60], per_day=50_000)
    ideal = find_ideal(market, requests, win_rate=0.5)
    assert np.ptp(ideal.bid_cpm) == 0 and ideal.cpm < 0.8 * ideal.bid_cpm[0]
    moved = ideal.bid_cpm[0] * np.exp(0.2 * np.random.default_rng(1).choice([-1, 1], len(market.level)))
    bids = moved[requests.segment]
    won = win_probability(market, requests, bids)
    same = find_ideal(market, requests, win_rate=float(won.mean()))
    assert same.cpm < expected_cost(market, requests, bids).sum() / won.sum()
