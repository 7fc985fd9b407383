import numpy as np
import pytest
from core.worlds import confounded_cells

from optimizer.core.cells import group_cells, prepare_cells
from optimizer.core.logit import fit_logit
from optimizer.core.slope import find_slope, judge_slope, mean_by_group, pool_slopes, randomised_rows

FEATURES = ["adspace", "region"]


def slope_of(raw):
    cells = randomised_rows(group_cells(prepare_cells(raw, FEATURES), FEATURES))
    return find_slope(cells, cells.groupby(FEATURES, observed=True).ngroup().to_numpy())


def naive_slope(raw):
    design = np.column_stack([np.ones(len(raw)), np.log(raw["bid_cpm_sum"])])
    return fit_logit(design, wins=raw["wins"].to_numpy(float), trials=np.ones(len(raw))).coefficients[1]


def test_jitter_identifies_the_slope_that_the_naive_fit_misses():
    found = [slope_of(confounded_cells(seed)) for seed in range(12)]
    assert all(naive_slope(confounded_cells(seed)) < 0.5 for seed in range(3))
    assert all(slope.is_identified for slope in found)
    assert sum(abs(slope.value - 2.0) <= 2.5 * slope.error for slope in found) >= 10


def test_without_jitter_there_is_no_slope():
    assert slope_of(confounded_cells(1, jitter_sd=0.0)) is None


def test_before_an_optimizer_bid_there_is_no_slope():
    raw = confounded_cells(1, bids=5_000).assign(base_bid_cpm_sum=np.nan, base_price_bucket=None)
    assert slope_of(raw) is None


def test_an_uncertain_slope_is_not_identified():
    assert judge_slope(2.0, 0.3).is_identified
    assert not judge_slope(2.0, 0.6).is_identified
    assert not judge_slope(0.1, 0.06).is_identified


def drifting(seed, *, is_known):
    """A log whose planned bids follow a market that moves by itself: up where it gets dearer."""
    raw = confounded_cells(seed, jitter_sd=0.1)
    rng = np.random.default_rng(seed)
    number = raw.groupby([*FEATURES, "day"]).ngroup().to_numpy()
    drift = rng.normal(0, 0.25, number.max() + 1)[number]
    planned = 8 * np.exp(0.8 * np.linspace(-0.8, 0.8, 8)[raw["adspace"].str[1:].astype(int)] + drift)
    # The market of that segment and day is dearer by the drift, so the drift itself wins nothing.
    moved = raw.assign(
        bid_cpm_sum=raw["bid_cpm_sum"] * np.exp(drift),
        base_bid_cpm_sum=raw["base_bid_cpm_sum"] * np.exp(drift),
        log_planned=np.log(planned) if is_known else np.nan,
    )
    return moved.assign(
        price_bucket=np.round(np.log(moved["bid_cpm_sum"]) / 0.05).astype(int),
        base_price_bucket=np.round(np.log(moved["base_bid_cpm_sum"]) / 0.05).astype(int),
    )


def test_known_plans_tell_jitter_from_bids_that_followed_the_market():
    blind = [slope_of(drifting(seed, is_known=False)).value for seed in range(4)]
    knowing = [slope_of(drifting(seed, is_known=True)) for seed in range(8)]
    assert max(blind) < 1.0
    assert sum(abs(slope.value - 2.0) <= 2.5 * slope.error for slope in knowing) >= 7


def test_slopes_of_groups_are_pulled_to_the_overall_one_by_what_they_do_not_know():
    rng = np.random.default_rng(5)
    true = np.array([1.0, 2.0, 3.0, 2.0])
    group = np.repeat(np.arange(4), [40_000, 40_000, 40_000, 300])
    move, level = rng.normal(0, 0.1, len(group)), np.array([-1.0, 0.3, 0.0, 1.0])[group]
    won = (rng.random(len(group)) < 1 / (1 + np.exp(-(level + true[group] * move)))).astype(float)
    overall = judge_slope(2.0, 0.06)
    slopes, errors = pool_slopes(
        level + 2.0 * move, move, wins=won, bids=np.ones(len(group)), group=group, size=4, overall=overall
    )
    assert np.abs(slopes - true)[:3] == pytest.approx(np.zeros(3), abs=0.35)
    assert slopes[0] < 1.5 and slopes[2] > 2.5
    assert errors[3] > 2 * errors[0]


def test_groups_that_do_not_differ_share_one_slope():
    rng = np.random.default_rng(6)
    group, move = rng.integers(0, 20, 60_000), rng.normal(0, 0.1, 60_000)
    won = (rng.random(60_000) < 1 / (1 + np.exp(-2.0 * move))).astype(float)
    slopes, _ = pool_slopes(
        2.0 * move, move, wins=won, bids=np.ones(60_000), group=group, size=20, overall=judge_slope(2.0, 0.1)
    )
    assert slopes.std() < 0.25


def test_a_group_without_weight_has_the_mean_zero():
    assert mean_by_group(np.array([2.0, 4.0]), np.array([0, 0]), weights=np.array([1.0, 3.0]), size=2).tolist() == [
        3.5,
        0,
    ]
