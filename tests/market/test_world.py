"""The truth that can be asked agrees with what is drawn."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from lab.market.auctions import Requests, draw_requests
from lab.market.ideal import find_ideal_bids
from lab.market.market import ROUND_PRICES_CPM
from lab.market.outcome import expect_outcome, request_click_rate, request_win_probability
from lab.market.policies import FlatPolicy, Prices
from lab.market.presets import PRESETS
from lab.market.scenarios import SCENARIOS, with_scenario
from lab.market.settings import WorldSettings
from lab.market.world import World
from optimizer.errors import ConfigError, DataError

FIRST_DAY = date(2026, 1, 5)


def one_day(world: World, count: int = 300_000) -> Requests:
    return draw_requests(world, start_day=FIRST_DAY, days=1, count=count)


def wins(requests: Requests, bid_cpm: np.ndarray) -> np.ndarray:
    return (bid_cpm >= np.maximum(requests.rival_cpm, requests.floor_cpm)) & ~requests.is_lost_otherwise


@pytest.fixture(scope="module", params=sorted(PRESETS))
def preset_day(request) -> tuple[World, Requests]:
    world = World.create(3, settings=PRESETS[request.param])
    return world, one_day(world)


@pytest.mark.parametrize("multiple", [0.3, 0.7, 1.0, 1.5, 3.0])
def test_segments_win_as_often_as_the_truth_says(preset_day: tuple[World, Requests], multiple: float):
    world, requests = preset_day
    bid = round(multiple * world.flat_bid_cpm, 2)
    won = np.bincount(requests.segment, wins(requests, bid), minlength=len(world.segments))
    bids = np.bincount(requests.segment, minlength=len(world.segments))
    p = world.win_probability(bid_cpm=bid, day=FIRST_DAY)

    z = ((won - bids * p) / np.sqrt(bids * p * (1 - p) + 1e-9))[(bids >= 200) & (p > 0)]
    assert abs(won.sum() - bids @ p) < 4 * np.sqrt(bids @ (p * (1 - p)))
    assert np.mean(z**2) == pytest.approx(1, abs=4 * np.sqrt(2 / len(z)))


def test_single_requests_win_and_click_as_often_as_the_truth_says(world: World):
    requests = one_day(world)
    rng = np.random.default_rng(0)
    bid = world.flat_bid_cpm * np.exp(rng.normal(0, 0.6, len(requests)))
    p = request_win_probability(world, requests, bid_cpm=bid)
    won = wins(requests, bid)
    for bucket in np.array_split(np.argsort(p), 20):
        assert abs(won[bucket].sum() - p[bucket].sum()) < 4 * np.sqrt((p * (1 - p))[bucket].sum())

    rate = request_click_rate(world, requests)
    clicks = (requests.click_draw < rate).sum()
    assert abs(clicks - rate.sum()) < 4 * np.sqrt(rate.sum())


def test_the_segment_truth_is_the_mean_of_the_request_truth(world: World):
    requests, bid = one_day(world, 1_000_000), world.flat_bid_cpm
    prices = FlatPolicy(bid).price(world, requests)
    segments = np.bincount(requests.segment, minlength=len(world.segments)) / len(requests)
    won = segments * world.win_probability(bid_cpm=bid, day=FIRST_DAY)
    expected = expect_outcome(world, requests, prices=prices)

    assert expected.win_rate == pytest.approx(won.sum(), rel=0.005)
    assert expected.cpm == pytest.approx(bid)
    clicks = won @ world.true_ctr(bid_cpm=np.full(len(segments), bid), day=FIRST_DAY)
    assert expected.clicks / len(requests) == pytest.approx(clicks, rel=0.1)


def test_the_views_of_flat_bids_have_the_click_rate_of_the_settings(world: World):
    share, bid = world.population.request_share, world.flat_bid_cpm
    won = share * world.win_probability(bid_cpm=bid, day=FIRST_DAY)
    assert won.sum() == pytest.approx(0.30, abs=0.005)
    assert won @ world.true_ctr(bid_cpm=bid, day=FIRST_DAY) / won.sum() == pytest.approx(0.00035)


def test_win_probability_rises_with_the_bid_and_ends_at_what_is_lost_otherwise(world: World):
    grid = np.geomspace(0.01, 5_000, 400)
    p = world.win_probability(np.arange(50)[:, None], bid_cpm=grid, day=FIRST_DAY)
    assert (np.diff(p, axis=1) >= -1e-12).all()  # sums of products round differently from processor to processor
    assert p[:, -1] == pytest.approx(0.97, abs=1e-3)
    assert p[:, 0] == pytest.approx(0.97 * 0.05, abs=0.02)


def test_a_quarter_to_a_third_of_the_prices_are_round(world: World):
    prices = one_day(world).rival_cpm
    assert 0.20 <= np.isin(prices, ROUND_PRICES_CPM).mean() <= 0.35
    assert (prices == 0).mean() == pytest.approx(0.05, abs=0.002)


def test_prices_spread_as_in_the_published_histograms(world: World):
    prices = one_day(world).rival_cpm
    assert 0.75 <= np.log(prices[prices > 0]).std() <= 1.15


def test_segments_are_as_small_as_in_the_real_logs(world: World):
    requests = draw_requests(world, start_day=FIRST_DAY, days=30, count=world.settings.typical_bids)
    bids = np.bincount(requests.segment)
    bids = bids[bids > 0]
    assert 1_400 <= len(bids) <= 1_500
    assert (bids < 10).mean() == pytest.approx(0.43, abs=0.03)
    assert ((bids >= 10) & (bids < 50)).mean() == pytest.approx(0.27, abs=0.03)


def test_three_in_four_clicking_visitors_click_once():
    shares = []
    for seed in range(6):
        world = World.create(seed, settings=PRESETS["drugs_hcp"])
        requests = one_day(world)
        known = requests.npi >= 0
        p = request_win_probability(world, requests, bid_cpm=np.full(len(requests), world.flat_bid_cpm))
        rate = (p * request_click_rate(world, requests))[known] * 1_000_000 / len(requests)
        clicks = np.bincount(requests.npi[known], rate)
        shares.append((clicks * np.exp(-clicks)).sum() / -np.expm1(-clicks).sum())
    assert np.mean(shares) == pytest.approx(0.74, abs=0.06)


def test_ideal_bids_reach_the_target_in_truth_and_cost_less_than_any_other(world: World):
    share = world.population.request_share
    ideal = find_ideal_bids(world, target_win_rate=0.30, day=FIRST_DAY)
    p = world.win_probability(bid_cpm=ideal.bid_cpm, day=FIRST_DAY)
    assert share @ p == pytest.approx(ideal.win_rate)
    assert 0.30 <= ideal.win_rate <= 0.303

    by_segment = find_ideal_bids(world, target_win_rate=0.30, day=FIRST_DAY, scope="segment")
    assert (by_segment.win_probability >= 0.30).all()
    assert ideal.cpm < world.flat_bid_cpm < by_segment.cpm
    assert 1.2 < by_segment.cpm / ideal.cpm < 2.0


def test_a_margin_of_thirty_percent_can_be_had_and_is_not_free(world: World):
    ideal = find_ideal_bids(world, target_win_rate=0.30, day=FIRST_DAY)
    assert world.true_margin(ideal.bid_cpm, day=FIRST_DAY) > 0.30
    greedy = find_ideal_bids(world, target_win_rate=0.90, day=FIRST_DAY)
    assert world.true_margin(greedy.bid_cpm, day=FIRST_DAY) < 0.30


def test_a_target_beyond_reach_is_refused(world: World):
    with pytest.raises(DataError, match=r"no bids reach a win rate of 0\.99"):
        find_ideal_bids(world, target_win_rate=0.99, day=FIRST_DAY)


def test_segments_are_found_by_their_features_and_strangers_refused(world: World):
    columns = world.segments.slice(5, 3).to_pydict()
    assert world.find_segments(columns).tolist() == [5, 6, 7]
    assert any(" " in region for region in world.segments["geo_region_name"].to_pylist())
    with pytest.raises(DataError, match="not a segment of this market"):
        world.find_segments({**columns, "os_code": ["amiga"] * 3})


def test_a_day_outside_the_market_is_refused(world: World):
    with pytest.raises(DataError, match="set first_day"):
        world.win_probability(bid_cpm=1.0, day=FIRST_DAY - timedelta(days=1))


def test_settings_that_make_no_sense_are_refused_together():
    with pytest.raises(ConfigError, match=r"adspaces=1 .*round_price_share=1\.2"):
        WorldSettings(adspaces=1, round_price_share=1.2)


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_a_scenario_sets_in_on_its_day_and_changes_nothing_before(name: str):
    settings = with_scenario(PRESETS["drugs_com"], name=name, change_day=5)
    steady, changed = (World.create(4, settings=each) for each in (PRESETS["drugs_com"], settings))
    bid, seen = steady.flat_bid_cpm, np.full(settings.adspaces, 2 * steady.flat_bid_cpm)
    before, after = (FIRST_DAY + timedelta(days=days) for days in (4, 5))

    def difference(day: date) -> float:
        p, q = (w.win_probability(bid_cpm=bid, day=day, seen_bid_cpm=seen) for w in (steady, changed))
        return float(steady.population.request_share @ np.abs(p - q))

    assert difference(before) == 0
    assert (difference(after) > 0.02) == (name in {"demand_step", "new_rival", "floor_chasing"})


@pytest.mark.parametrize(("name", "expected"), [("adspace_appears", (False, True)), ("adspace_goes", (True, False))])
def test_an_adspace_comes_or_goes(name: str, expected: tuple[bool, bool]):
    world = World.create(4, settings=with_scenario(PRESETS["drugs_com"], name=name, change_day=5))
    requests = draw_requests(world, start_day=FIRST_DAY, days=10, count=50_000)
    early, late = (
        set(world.population.adspace[part.segment]) for part in (requests.between(0, 5), requests.between(5, 10))
    )
    (changed,) = early ^ late
    assert (changed in early, changed in late) == expected


def test_the_new_rival_wins_what_the_truth_says():
    settings = with_scenario(PRESETS["drugs_com"], name="new_rival", change_day=0)
    world = World.create(4, settings=settings)
    requests, bid = one_day(world), world.flat_bid_cpm
    p = request_win_probability(world, requests, bid_cpm=np.full(len(requests), bid))
    assert wins(requests, bid).mean() == pytest.approx(p.mean(), abs=0.004)
    by_segment = np.bincount(requests.segment, minlength=len(world.segments)) / len(requests)
    assert by_segment @ world.win_probability(bid_cpm=bid, day=FIRST_DAY) == pytest.approx(p.mean(), abs=0.003)


def test_higher_bids_on_the_same_requests_win_all_that_lower_ones_win(world: World):
    requests = one_day(world, 10_000)
    cheap, dear = wins(requests, 8.0), wins(requests, 12.0)
    assert (dear | ~cheap).all()
    outcomes = [expect_outcome(world, requests, prices=Prices(np.full(10_000, bid))) for bid in (8.0, 12.0)]
    assert outcomes[0].win_rate < outcomes[1].win_rate


def test_a_world_without_visitors_or_rounding_can_be_made():
    settings = replace(PRESETS["drugs_hcp"], npis=0, round_price_share=0.0, no_rival_share=0.0)
    world = World.create(1, settings=settings)
    requests = one_day(world, 5_000)
    assert (requests.npi == -1).all() and (requests.rival_cpm > 0).all()
