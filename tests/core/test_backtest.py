"""The backtest against the truth of simulated markets: what it says of new bids, and when it says nothing."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from core.backtest_worlds import QUANTITIES, Outcome, Scene, shift_logit, simulate

from optimizer.core.pricing.backtest import Backtest, run_backtest
from optimizer.core.pricing.backtest_estimate import QuantityComparison
from optimizer.errors import DataError

SEEDS = range(8)
WRONG_LEVEL = 0.5


@cache
def scene(seed: int, is_held: bool = True) -> Scene:
    return simulate(seed, bids=60_000, is_held=is_held)


def backtest(world: Scene, *, outcome: Outcome | None = None, **changes: float) -> Backtest:
    jitters = {"logging_jitter_sd": 0.10, "active_jitter_sd": 0.10, "new_jitter_sd": 0.10, "seed": 1} | changes
    return run_backtest(world.cells, segments=world.segments, outcome=outcome or world.outcome, **jitters)


def is_covered(truth: float, row: QuantityComparison, policy: str) -> bool:
    return getattr(row, f"{policy}_low") <= truth <= getattr(row, f"{policy}_high")


@pytest.mark.slow
@pytest.mark.parametrize("is_held", [True, False], ids=["held bids", "moving bids"])
@pytest.mark.parametrize("level", [0.0, WRONG_LEVEL], ids=["good curve", "wrong level"])
def test_intervals_cover_the_truth_whether_the_curve_is_right_or_not(is_held: bool, level: float):
    """Four of 8 seeds miss once in 300 at a coverage of 91 %, even if a seed's quantities miss together."""
    covered = {"new": [], "difference": []}
    for seed in SEEDS:
        world = scene(seed, is_held)
        result = backtest(world, outcome=shift_logit(world.outcome, level))
        assert result.is_supported and result.reason is None
        for policy, hits in covered.items():
            truth = getattr(world, policy)
            hits += [is_covered(truth[name], result.find(name), policy) for name in ("win_rate", "cpm", "spend")]
    assert sum(covered["new"]) >= 22
    assert sum(covered["difference"]) >= 15


def test_a_wrong_level_moves_the_answer_much_less_than_its_error():
    world = scene(0)
    good, wrong = (backtest(world, outcome=shift_logit(world.outcome, by)) for by in (0.0, WRONG_LEVEL))
    for name in QUANTITIES:
        assert wrong.find(name).new == pytest.approx(good.find(name).new, rel=0.002)


def test_a_raise_that_wins_more_is_distinguished_from_a_cut_that_wins_less():
    for factor, sign in ((1.1, 1), (0.9, -1)):
        world = simulate(3, bids=60_000, factors=(factor, factor))
        result = backtest(world)
        row = result.find("win_rate")
        assert np.sign(row.difference_low) == np.sign(row.difference_high) == sign
        assert row.difference == pytest.approx(world.difference["win_rate"], rel=0.3)
        assert np.sign(result.find("cpm").difference) == sign


@pytest.mark.parametrize("new_jitter_sd", [0.0, 0.02, 0.15])
def test_the_new_jitter_may_differ_from_the_logged_one(new_jitter_sd: float):
    world = scene(1)
    result = backtest(world, new_jitter_sd=new_jitter_sd)
    assert result.is_supported
    assert result.find("win_rate").new == pytest.approx(world.new["win_rate"], abs=0.02)


def test_without_planned_bids_the_mean_logged_bid_is_the_centre():
    world = scene(2)
    blind = replace(world, cells=world.cells.assign(log_planned=np.nan))
    assert backtest(blind).find("win_rate").new == pytest.approx(world.new["win_rate"], abs=0.02)
    assert is_covered(world.new["cpm"], backtest(blind).find("cpm"), "new")


@pytest.mark.parametrize("seed", SEEDS)
def test_replay_bounds_contain_the_truth(seed: int):
    world = scene(seed)
    result = backtest(world)
    assert 0 < result.replay_low < world.new["win_rate"] < result.replay_high < 1


def test_replay_bounds_meet_at_what_was_won_where_nothing_changes():
    world = scene(0)
    base = np.exp(world.cells["log_base"].groupby(world.cells["segment"]).mean())
    still = world.cells.assign(log_base=np.log(base)[world.cells["segment"]].to_numpy())
    bids = world.segments.assign(planned_new_cpm=base.reindex(world.segments.index).fillna(1.0) * 0.999_999)
    result = backtest(replace(world, cells=still, segments=bids), new_jitter_sd=0.0)
    won = world.cells["wins"].sum() / world.cells["bids"].sum()
    assert (result.replay_low, result.replay_high) == (0.0, pytest.approx(won))
    bids["planned_new_cpm"] *= 1.000_002
    result = backtest(replace(world, cells=still, segments=bids), new_jitter_sd=0.0)
    assert (result.replay_low, result.replay_high) == (pytest.approx(won), 1.0)


def test_equal_policies_differ_by_exactly_nothing():
    world = scene(0)
    same = world.segments.assign(planned_new_cpm=world.segments["planned_active_cpm"])
    for row in backtest(replace(world, segments=same)).rows:
        assert row.new == row.active
        assert row.difference == 0
        assert row.difference_low <= 0 <= row.difference_high


def test_the_same_seed_gives_the_same_record_and_another_only_other_intervals():
    first, again, other = (backtest(scene(0), seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert [row.new for row in first.rows] == [row.new for row in other.rows]
    assert first.find("spend").new_low != other.find("spend").new_low


def test_the_amounts_hang_together():
    result = backtest(scene(0))
    requests = scene(0).cells["bids"].sum()
    wins = result.find("win_rate").new * requests
    spend, surplus = result.find("spend").new, result.find("surplus").new
    revenue = wins * scene(0).segments["value_cpm"].iloc[0] / 1_000
    assert spend == pytest.approx(wins * result.find("cpm").new / 1_000)
    assert surplus == pytest.approx(revenue - spend)
    assert result.find("margin").new == pytest.approx(surplus / revenue)


def test_an_unknown_value_leaves_surplus_and_margin_open():
    world = scene(0)
    values = world.segments["value_cpm"].where(world.segments.index != world.cells["segment"].iloc[0])
    result = backtest(replace(world, segments=world.segments.assign(value_cpm=values)))
    assert result.find("margin").new is result.find("surplus").difference_low is None
    assert result.find("cpm") == backtest(world).find("cpm")


def test_segments_without_a_new_bid_win_nothing_and_cost_nothing():
    world = scene(0)
    largest = world.cells.groupby("segment")["bids"].sum().idxmax()
    bids = world.segments["planned_active_cpm"].where(world.segments.index != largest)
    result = backtest(replace(world, segments=world.segments.assign(planned_new_cpm=bids)))
    own = world.cells[world.cells["segment"] == largest]
    lost_wins = -result.find("win_rate").difference * world.cells["bids"].sum()
    assert lost_wins == pytest.approx(own["wins"].sum(), rel=0.15)
    assert -result.find("spend").difference == pytest.approx(own["cost_cpm_sum"].sum() / 1_000, rel=0.15)


def test_bids_that_no_optimizer_priced_count_as_requests_that_the_curve_answers():
    world = scene(0)
    is_unpriced = np.arange(len(world.cells)) % 5 == 0
    cells = world.cells.assign(log_base=world.cells["log_base"].mask(is_unpriced))
    result = backtest(replace(world, cells=cells))
    assert result.requests == world.cells["bids"].sum()
    assert result.supported_share == pytest.approx(1 - cells["bids"][is_unpriced].sum() / cells["bids"].sum())


def refusal(world: Scene, **changes: float) -> str:
    result = backtest(world, **changes)
    assert not result.is_supported and result.rows == () and result.reason
    json.dumps(result.to_record(), allow_nan=False)
    return result.reason


def test_flat_bids_are_refused():
    world = scene(0)
    flat = world.cells.assign(log_base=world.cells["log_planned"])
    assert "were not varied at random" in refusal(replace(world, cells=flat))
    assert "were not varied at random" in refusal(world, logging_jitter_sd=0.0)


def test_a_log_that_no_optimizer_bid_is_refused():
    world = scene(0)
    assert "0 days of the log" in refusal(replace(world, cells=world.cells.assign(log_base=np.nan)))


def test_less_than_a_week_is_refused():
    world = scene(0)
    days = sorted(world.cells["day"].unique())
    assert "6 days" in refusal(replace(world, cells=world.cells[world.cells["day"].isin(days[:6])]))


@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_far_bids_are_refused(factor: float):
    world = scene(0)
    far = world.segments.assign(planned_new_cpm=factor * world.segments["planned_active_cpm"])
    assert "only 0% of the requests" in refusal(replace(world, segments=far))


def test_few_requests_are_refused():
    world = scene(0)
    few = world.cells.groupby("day").sample(n=8, random_state=1)
    assert "at least 300 are needed" in refusal(replace(world, cells=few))


def test_an_estimate_that_contradicts_the_replay_is_refused():
    """Where lower bids win more, the weighted log says that bids cut by a tenth win far more than a replay allows."""
    world = simulate(0, bids=60_000, factors=(0.9, 0.9))
    is_low = world.cells["log_base"] < world.cells["log_planned"]
    wins = np.random.default_rng(0).binomial(world.cells["bids"], np.where(is_low, 0.9, 0.1))
    assert "contradicts the replay" in refusal(replace(world, cells=world.cells.assign(wins=wins)))


def test_a_segment_without_bids_is_named():
    world = scene(0)
    with pytest.raises(DataError, match=r"segment \d+ of the cells is not among the segments"):
        backtest(replace(world, segments=world.segments.iloc[:0]))


def test_the_record_is_json_without_nan():
    world = scene(0)
    record = backtest(replace(world, segments=world.segments.assign(value_cpm=np.nan))).to_record()
    assert json.loads(json.dumps(record, allow_nan=False))["rows"][4]["quantity"] == "margin"
    assert pd.DataFrame(record["rows"])["quantity"].tolist() == list(QUANTITIES)
