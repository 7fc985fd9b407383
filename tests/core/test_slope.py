import numpy as np
import pandas as pd
import pytest
from core.worlds import confounded_cells
from scipy.special import expit

from optimizer.core.landscape.cells import group_cells, prepare_cells
from optimizer.core.landscape.jitter import learn_variation
from optimizer.core.landscape.logit import fit_logit
from optimizer.core.landscape.slope import (
    PriceMoves,
    find_slope,
    fit_jitter,
    judge_slope,
    mean_by_group,
    pool_slopes,
    randomised_rows,
)

FEATURES = ["adspace", "region"]


def slope_of(raw):
    """The slope of the rows that varied at random."""
    cells, _ = learn_variation(prepare_cells(raw, FEATURES), FEATURES)
    cells = randomised_rows(group_cells(cells, FEATURES))
    return find_slope(cells, cells.groupby(FEATURES, observed=True).ngroup().to_numpy())


def naive_slope(raw):
    design = np.column_stack([np.ones(len(raw)), np.log(raw["bid_cpm_sum"])])
    return fit_logit(design, wins=raw["wins"].to_numpy(float), trials=np.ones(len(raw))).coefficients[1]


@pytest.mark.slow
def test_jitter_identifies_the_slope_that_the_naive_fit_misses():
    found = [slope_of(confounded_cells(seed, bids=30_000)) for seed in range(12)]
    assert all(naive_slope(confounded_cells(seed, bids=30_000)) < 0.5 for seed in range(3))
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
    """A log whose planned bids follow a market that moves by itself: up where prices rise."""
    raw = confounded_cells(seed, bids=40_000, jitter_sd=0.1)
    rng = np.random.default_rng(seed)
    number = raw.groupby([*FEATURES, "day"]).ngroup().to_numpy()
    drift = rng.normal(0, 0.25, number.max() + 1)[number]
    planned = 8 * np.exp(0.8 * np.linspace(-0.8, 0.8, 8)[raw["adspace"].str[1:].astype(int)] + drift)
    # The market of that segment and day costs more by the drift, so the drift itself wins nothing.
    moved = raw.assign(
        bid_cpm_sum=raw["bid_cpm_sum"] * np.exp(drift),
        base_bid_cpm_sum=raw["base_bid_cpm_sum"] * np.exp(drift),
        log_planned=np.log(planned) if is_known else np.nan,
    )
    return moved.assign(
        price_bucket=np.round(np.log(moved["bid_cpm_sum"]) / 0.05).astype(int),
        base_price_bucket=np.round(np.log(moved["base_bid_cpm_sum"]) / 0.05).astype(int),
    )


@pytest.mark.slow
def test_known_plans_separate_jitter_from_bids_that_followed_the_market():
    blind = [slope_of(drifting(seed, is_known=False)) for seed in range(4)]
    knowing = [slope_of(drifting(seed, is_known=True)) for seed in range(8)]
    assert all(slope is None or slope.value < 1.0 for slope in blind)
    assert sum(abs(slope.value - 2.0) <= 2.5 * slope.error for slope in knowing) >= 7


def jittered(true, *, segments, days=20, bids=300, seed=5):
    """Cells of segments with a jitter a day; `true` is the slope of each group, segments belong to them in turn."""
    rng = np.random.default_rng(seed)
    segment = np.repeat(np.arange(segments), days)
    group = segment % len(true)
    move, level = rng.normal(0, 0.1, len(segment)), rng.normal(-0.5, 0.5, segments)[segment]
    wins = rng.binomial(bids, expit(level + np.asarray(true)[group] * move))
    day = pd.Timestamp("2026-01-05") + pd.to_timedelta(np.tile(np.arange(days), segments), unit="D")
    cells = pd.DataFrame({"day": day, "bids": bids, "wins": wins})
    moves = PriceMoves(usual=np.zeros(len(segment)), drift=np.zeros(len(segment)), move=move, is_randomised=True)
    return cells, moves, segment, group, level


def pooled(true, **options):
    cells, moves, segment, group, level = jittered(true, **options)
    fit = fit_jitter(cells, moves=moves, segment=segment, score=level)
    return fit, *pool_slopes(fit, cells, group=group, size=len(true) + 1, segment=segment)


def test_slopes_of_groups_are_pulled_to_the_overall_one_by_what_they_do_not_know():
    fit, slopes, errors = pooled([1.0, 2.0, 3.0], segments=120)
    assert slopes[:3] == pytest.approx([1.0, 2.0, 3.0], abs=0.4)
    assert slopes[3] == fit.slope.value and errors[3] > 2 * errors[0]  # nobody bid in the last group


def test_the_latest_days_count_more_for_the_slope_of_a_market_that_changed():
    before, moves, segment, _, level = jittered([2.0], segments=40, days=18, bids=20_000)
    is_old = before["day"] < before["day"].min() + pd.Timedelta(days=4)
    slope = np.where(is_old, 3.0, 2.0)
    cells = before.assign(
        wins=np.random.default_rng(1).binomial(before["bids"], expit(level + slope * moves.move)).astype(float)
    )
    found = fit_jitter(cells, moves=moves, segment=segment, score=level).slope
    by_days = 2.0 + is_old.mean()  # what days that count alike would find
    assert 2.0 < found.value + 1.96 * found.error < by_days


def test_groups_that_do_not_differ_share_one_slope():
    _, slopes, _ = pooled([2.0] * 20, segments=60)
    assert slopes.std() < 0.2


def test_the_interval_of_the_slope_covers_where_days_shake_whole_segments():
    covered = []
    for seed in range(60):
        cells, moves, segment, _, level = jittered([2.0], segments=40, seed=seed)
        rng = np.random.default_rng(seed + 1_000)
        shaken = rng.binomial(cells["bids"], expit(level + 2.0 * moves.move + rng.normal(0, 0.25, len(cells))))
        slope = fit_jitter(cells.assign(wins=shaken), moves=moves, segment=segment, score=level).slope
        covered.append(abs(slope.value - 2.0) <= 1.96 * slope.error)
    assert np.mean(covered) >= 0.85


def test_a_group_without_weight_has_the_mean_zero():
    assert mean_by_group(np.array([2.0, 4.0]), np.array([0, 0]), weights=np.array([1.0, 3.0]), size=2).tolist() == [
        3.5,
        0,
    ]


def test_one_segment_alone_identifies_no_slope_beyond_its_days():
    cells, moves, segment, _, level = jittered([2.0], segments=1, days=20, bids=5_000)
    slope = fit_jitter(cells, moves=moves, segment=segment, score=level).slope
    assert not slope.is_identified


def test_a_segment_with_most_of_the_traffic_does_not_feign_certainty():
    covered = []
    for seed in range(40):
        cells, moves, segment, _, level = jittered([2.0], segments=12, seed=seed)
        big = np.where(segment == 0, 30, 1)
        wins = np.random.default_rng(seed).binomial(cells["bids"] * big, expit(level + 2.0 * moves.move))
        cells = cells.assign(bids=cells["bids"] * big, wins=wins)
        slope = fit_jitter(cells, moves=moves, segment=segment, score=level).slope
        covered.append(abs(slope.value - 2.0) <= 1.96 * slope.error)
    assert np.mean(covered) >= 0.8
