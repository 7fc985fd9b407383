"""The truth that a market reports, against many draws from it."""

import numpy as np
import pytest

from lab.second_market.auctions import Bids, settle
from lab.second_market.market import Market
from lab.second_market.prices import ROUND_PRICES, expected_cost, seen_share, win_probability
from lab.second_market.requests import draw_requests
from lab.second_market.scenarios import SCENARIOS

DRAWN = (
    "base",
    "round_prices_hidden_floors",
    "bimodal",
    "hour_of_day",
    "lost_notices",
    "follow_segment_day",
    "second_price",
    "sigma_1.5",
)


def one_bid(bid_cpm: np.ndarray) -> Bids:
    ones = np.ones(len(bid_cpm))
    return Bids(bid_cpm, bid_cpm, ones, ones)


def market_of(name: str) -> Market:
    return SCENARIOS[name].create(3)


@pytest.mark.parametrize("name", DRAWN)
def test_win_probability_and_expected_cost_are_what_many_auctions_show(name):
    market = market_of(name)
    requests = draw_requests(market, days=[61], per_day=400_000)
    for bid_cpm in (6.0, 10.01, 17.3):
        bids = np.full(len(requests), bid_cpm)
        shown = settle(market, requests, one_bid(bids), run_ids={})
        assert win_probability(market, requests, bids).mean() == pytest.approx(shown.is_won.mean(), abs=0.004)
        assert expected_cost(market, requests, bids).mean() == pytest.approx(shown.cost_cpm.mean(), rel=0.015)


def test_win_probability_rises_with_the_bid_up_to_what_can_be_won():
    market = market_of("round_prices_hidden_floors")
    requests = draw_requests(market, days=[60], per_day=500)
    p = np.array([win_probability(market, requests, bid) for bid in np.geomspace(0.1, 1_000, 300)])
    assert (np.diff(p, axis=0) >= 0).all() and p.max() <= seen_share(market)
    assert p[-1].mean() == pytest.approx(seen_share(market), abs=1e-4)


def test_a_bid_at_a_round_price_loses_to_it_and_a_cent_more_wins():
    market = market_of("round_prices_hidden_floors")
    requests = draw_requests(market, days=[60], per_day=2_000)
    at, above, further = (win_probability(market, requests, bid).mean() for bid in (10.0, 10.01, 10.02))
    assert above - at > 10 * (further - above) > 0
    assert 10.0 in ROUND_PRICES


def test_nothing_is_won_below_a_floor_or_without_a_bid():
    market = market_of("round_prices_hidden_floors")
    requests = draw_requests(market, days=[60], per_day=2_000)
    floor = market.floor_cpm[requests.segment]
    assert 0.3 < (floor > 0).mean() < 0.9
    assert (win_probability(market, requests, np.maximum(floor - 0.01, 0.01))[floor > 0] == 0).all()
    assert (win_probability(market, requests, np.nan) == 0).all()


def test_the_rivals_are_the_same_for_every_bidder():
    market = market_of("base")
    requests = draw_requests(market, days=[60], per_day=5_000)
    low, high = (settle(market, requests, one_bid(np.full(5_000, bid)), run_ids={}).is_won for bid in (8.0, 9.0))
    assert high[low].all() and high.sum() > low.sum()
