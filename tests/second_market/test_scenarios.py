"""That the scenarios are what their notes say."""

import numpy as np
import pytest

from lab.second_market.auctions import Auctions, log_auctions
from lab.second_market.ideal import flat_bid
from lab.second_market.market import Market
from lab.second_market.prices import win_probability
from lab.second_market.requests import candidates, draw_requests
from lab.second_market.scenarios import SCENARIOS
from optimizer.core.config.settings import RunSettings

STEP = RunSettings().daily_step_limit


def opened(name: str, seed: int = 1) -> tuple[Market, Auctions]:
    market = SCENARIOS[name].create(seed)
    return market, log_auctions(market)


Named = tuple[str, Market, Auctions]


@pytest.fixture(scope="module")
def scenario(request) -> Named:
    """The scenario of this name with its market and log; all tests on one scenario follow each other."""
    return request.param, *opened(request.param)


@pytest.mark.parametrize("scenario", SCENARIOS, indirect=True)
def test_the_log_shows_the_win_rate_that_it_was_scaled_to(scenario: Named):
    _, market, log = scenario
    assert len(log) == market.settings.log_bids
    assert log.is_won.mean() == pytest.approx(market.settings.logged_win_rate, abs=4 * 0.5 / len(log) ** 0.5 + 0.005)


REACHED = [name for name, scenario in SCENARIOS.items() if scenario.expected == "reach"]


@pytest.mark.parametrize("scenario", REACHED, indirect=True)
def test_a_target_that_can_be_reached_is_within_two_daily_steps(scenario: Named):
    name, market, log = scenario
    is_last = log.requests.day >= market.settings.log_days - 7
    requests, bid = log.requests.pick(is_last), log.bids.bid_cpm[is_last]
    assert win_probability(market, requests, bid * (1 + STEP) ** 2).mean() > SCENARIOS[name].target_win_rate


@pytest.mark.parametrize("name", ["margin_binding", "unreachable_target"])
def test_a_target_out_of_reach_is_above_what_the_bound_wins(name):
    scenario = SCENARIOS[name]
    bound = scenario.market.margin_win_rate or scenario.market.cap_win_rate
    assert scenario.market.logged_win_rate < bound < scenario.target_win_rate


def test_one_seed_is_one_market_and_another_seed_another():
    (first, log), (again, same), (other, _) = opened("base"), opened("base"), opened("base", seed=2)
    assert (log.bids.bid_cpm == same.bids.bid_cpm).all() and (log.is_won == same.is_won).all()
    assert (first.level == again.level).all() and (first.level != other.level).any()


def test_jitter_is_independent_of_the_rivals_and_following_is_not():
    def correlation(name: str) -> float:
        market, log = opened(name)
        requests = log.requests
        log_bid = np.log(log.bids.base_cpm)
        mean = np.bincount(requests.segment, log_bid) / np.maximum(np.bincount(requests.segment), 1)
        moved = log_bid - mean[requests.segment]
        return float(np.corrcoef(moved, market.day_shift[requests.day, requests.segment])[0, 1])

    assert abs(correlation("base")) < 0.05
    assert correlation("follow_segment_day") > 0.9
    assert correlation("follow_adspace_day") > 0.5 and correlation("follow_region_day") > 0.5


def test_without_jitter_a_segment_has_one_bid_on_all_days():
    _, log = opened("no_jitter")
    pairs = np.unique(np.column_stack([log.requests.segment, log.bids.base_cpm]), axis=0)
    assert len(pairs) == len(np.unique(log.requests.segment))


def test_plans_follow_the_rivals_across_segments():
    market, log = opened("no_jitter")
    assert np.corrcoef(market.level[log.requests.segment], np.log(log.bids.base_cpm))[0, 1] > 0.95


def test_noise_columns_have_their_values_and_no_effect():
    market, log = opened("noise_500")
    assert "noise_code" in candidates(market) and "noise_code" not in candidates(opened("base")[0])
    counts, wins = np.bincount(log.requests.noise), np.bincount(log.requests.noise, log.is_won)
    assert len(counts) == 500
    spread = np.var(wins / counts) / np.mean(0.45 * 0.55 / counts)
    assert spread == pytest.approx(1.0, abs=0.25)


def test_prices_rise_by_a_fifth_and_go_on_only_where_the_scenario_says_so():
    def rise(name: str, day: int) -> float:
        plain, moved = (Market.create(SCENARIOS[each].market, seed=1) for each in ("base", name))
        return float(np.exp(moved.drift - plain.drift)[day])

    assert [rise("drift_up_20", day) for day in (45, 59, 66)] == pytest.approx([1.0, 1.2, 1.2], abs=0.001)
    assert rise("drift_goes_on", 66) == pytest.approx(1.2**1.5, abs=0.001)


def test_a_flat_bid_costs_more_than_the_usual_bids_of_the_base_log_can_cost():
    market, log = opened("base")
    requests = draw_requests(market, days=range(60, 67), per_day=5_000)
    assert flat_bid(market, requests, win_rate=0.5) == pytest.approx(10.0, rel=0.35)
    assert np.median(log.bids.bid_cpm) < flat_bid(market, requests, win_rate=0.5)
