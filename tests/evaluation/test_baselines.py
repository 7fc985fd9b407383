"""The baselines on logs of known truth (tests/core/worlds.py), and judged on a simulated market."""

import numpy as np
import pandas as pd
import pytest
from core.worlds import confounded_cells, logistic_cells, true_level
from scipy.special import expit

from lab.evaluation import judgement
from lab.evaluation.baselines import (
    BASELINES,
    MIN_SEGMENT_BIDS,
    BoostedCurve,
    OneHotLogit,
    isotonic_per_segment,
    lightgbm_alone,
    one_global_bid,
    one_hot_logit,
)
from lab.evaluation.cases import Case
from lab.evaluation.suggestion import Suggestion
from optimizer.core.landscape.cells import prepare_cells
from optimizer.core.serving.keys import split_key

FEATURES = ("adspace", "region")
TRUE_SLOPE, TARGET = 3.0, 0.4


@pytest.fixture(scope="module")
def cells() -> pd.DataFrame:
    """A log whose bids follow nobody: what a baseline can learn at its best."""
    return logistic_cells(3, bids=60_000, slope=TRUE_SLOPE)


def true_win_rate(suggestion: Suggestion) -> np.ndarray:
    """P(win) of each suggested bid in the world of `logistic_cells`."""
    segments = pd.DataFrame([split_key(key) for key in suggestion.table.bids], columns=list(FEATURES))
    bids = np.array(list(suggestion.table.bids.values()))
    return expit(true_level(segments) + TRUE_SLOPE * np.log(bids / 8))


def expected_win_rate(suggestion: Suggestion) -> np.ndarray:
    keys = np.array(list(suggestion.table.bids), dtype=object)
    return suggestion.win_rate(keys, np.array(list(suggestion.table.bids.values())))


def test_one_global_bid_reaches_the_target_over_all_and_not_in_each_segment(cells):
    suggestion = one_global_bid(cells, target_win_rate=TARGET, features=FEATURES)
    assert suggestion.scope == "portfolio"
    assert len(set(suggestion.table.bids.values())) == 1
    won = true_win_rate(suggestion)
    assert won.mean() == pytest.approx(TARGET, abs=0.03)
    assert won.std() > 0.1


@pytest.mark.parametrize(
    ("baseline", "error"),
    [(isotonic_per_segment, 0.12), (lightgbm_alone, 0.06), (one_hot_logit, 0.02)],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_baseline_is_near_the_target_in_every_segment_if_bids_followed_no_rival(cells, baseline, error):
    suggestion = baseline(cells, target_win_rate=TARGET, features=FEATURES)
    assert suggestion.scope == "segment"
    assert len(suggestion.table.bids) == 96
    inside = np.array(list(suggestion.table.bids.values())) < np.exp(np.log(8) + 2 * 0.3)
    assert np.abs(true_win_rate(suggestion) - TARGET)[inside].mean() < error
    assert np.abs(expected_win_rate(suggestion) - TARGET)[inside].mean() < error


def test_the_logits_own_curve_is_the_truth_if_bids_followed_no_rival(cells):
    suggestion = one_hot_logit(cells, target_win_rate=TARGET, features=FEATURES)
    keys = np.array(list(suggestion.table.bids), dtype=object)
    levels = true_level(pd.DataFrame([split_key(key) for key in keys], columns=list(FEATURES)))
    for bid in (5.0, 8.0, 12.0):
        expected = suggestion.win_rate(keys, np.full(len(keys), bid))
        assert np.abs(expected - expit(levels + TRUE_SLOPE * np.log(bid / 8))).mean() < 0.02


def test_the_logit_takes_the_habits_of_earlier_bids_for_an_effect_of_the_price():
    log = confounded_cells(4, bids=40_000, slope=2.0)
    model = OneHotLogit.fit(log.assign(log_bid=np.log(log["bid_cpm_sum"])), FEATURES)
    assert model.bid_coefficient < 1.0


def test_a_log_in_which_higher_bids_won_less_is_kept_within_its_bids(cells):
    turned = cells.assign(bid_cpm_sum=64 / cells["bid_cpm_sum"], price_bucket=-cells["price_bucket"])
    suggestion = one_hot_logit(turned, target_win_rate=0.95, features=FEATURES)
    assert list(suggestion.table.bids.values()) == pytest.approx([turned["bid_cpm_sum"].min()] * 96)


@pytest.mark.parametrize("baseline", [lightgbm_alone, one_hot_logit])
def test_a_target_out_of_reach_gets_the_bid_of_the_highest_win_rate(cells, baseline):
    suggestion = baseline(cells, target_win_rate=0.9999, features=FEATURES)
    keys, bids = np.array(list(suggestion.table.bids), dtype=object), np.array(list(suggestion.table.bids.values()))
    highest = cells["bid_cpm_sum"].max()
    assert bids.max() <= highest * (1 + 1e-9)
    assert suggestion.win_rate(keys, bids) == pytest.approx(suggestion.win_rate(keys, np.full(len(keys), highest)))


def test_a_segment_of_few_bids_gets_the_global_bid_and_its_curve(cells):
    thin = cells[(cells["adspace"] == "a1") & (cells["region"] == "r1")].head(MIN_SEGMENT_BIDS - 1)
    others = cells[(cells["adspace"] != "a1") | (cells["region"] != "r1")]
    log = pd.concat([others, thin])
    suggestion = isotonic_per_segment(log, target_win_rate=TARGET, features=FEATURES)
    everywhere = one_global_bid(log, target_win_rate=TARGET, features=FEATURES)
    assert suggestion.table.bids["a1|r1"] == everywhere.table.bids["a1|r1"] == suggestion.table.fallback_bid_cpm
    key, bids = np.array(["a1|r1"] * 3, dtype=object), np.array([5.0, 8.0, 12.0])
    assert (suggestion.win_rate(key, bids) == everywhere.win_rate(key, bids)).all()


def test_a_segment_that_never_reached_the_target_gets_its_highest_bid(cells):
    lost = (cells["adspace"] == "a2") & (cells["region"] == "r2")
    log = cells.assign(wins=cells["wins"].mask(lost, 0), clicks=0)
    suggestion = isotonic_per_segment(log, target_win_rate=TARGET, features=FEATURES)
    assert suggestion.table.bids["a2|r2"] == pytest.approx(cells.loc[lost, "bid_cpm_sum"].max())
    assert suggestion.win_rate(np.array(["a2|r2"], dtype=object), np.array([8.0])) == 0


def test_lightgbm_knows_no_effect_of_a_value_that_it_never_saw(cells):
    model = BoostedCurve.fit(prepare_cells(cells, FEATURES), FEATURES)
    rows = pd.DataFrame({"adspace": ["a1", "new", "newer"], "region": "r1"})
    won = model.win_rate(rows, np.full(3, 8.0))
    assert won[0] != won[1] == won[2]


def test_null_feature_values_are_spelled_as_the_bidder_spells_them(cells):
    log = cells.head(10_000).assign(region=lambda log: log["region"].where(log["region"] != "r0", None))
    for baseline in BASELINES:
        keys = baseline(log, target_win_rate=TARGET, features=FEATURES).table.bids.keys()
        assert "a0|%EMPTY" in keys and len(keys) == 96


@pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result:UserWarning")  # fakesnow's way to read DuckDB
def test_every_baseline_can_be_judged_on_a_simulated_market_and_expects_more_wins_for_higher_bids(
    monkeypatch,
):
    monkeypatch.setattr(judgement, "REQUESTS", 10_000)
    case = Case(seed=2, bids=20_000, days=15)
    world = case.create_world()
    log = case.extract(world, case.generate_log(world))
    features = ("internal_adspace_id", "geo_region_name", "os_code")
    found = {}
    for baseline in BASELINES:
        suggestion = baseline(log.cells, target_win_rate=0.3, features=features)
        judged = judgement.judge(world, suggestion, day=case.end_day, target_win_rate=0.3)
        assert 0.2 < judged.achieved < 0.4
        assert 0.7 < judged.bid_over_ideal < 1.4
        keys = np.array(list(suggestion.table.bids)[:50], dtype=object)
        rising = np.array([suggestion.win_rate(keys, np.full(len(keys), bid)) for bid in (5.0, 15.0, 45.0)])
        assert (np.diff(rising, axis=0) >= 0).all()
        found[suggestion.method] = judged
    assert list(found) == ["one global bid", "isotonic per segment", "LightGBM alone, inverted", "logit, one-hot"]
    assert found["one global bid"].segment_error > 2 * found["logit, one-hot"].segment_error
