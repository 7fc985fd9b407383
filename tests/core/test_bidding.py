from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.core.landscape.curves import Landscape
from optimizer.core.landscape.price_steps import PriceSteps
from optimizer.core.pricing.bid_bounds import CENT, with_room
from optimizer.core.pricing.bid_jitter import JitterReach, jitter_factors
from optimizer.core.pricing.bid_policy import BidPolicy
from optimizer.core.pricing.bids import NO_BID, plan_bids

LANDSCAPE = Landscape(reference_cpm=8.0)
SLOPE = 3.0
POLICY = BidPolicy(
    target_win_rate=0.3, win_rate_scope="portfolio", target_margin=0.0, max_bid_cpm=30.0, floor_available=False,
    jitter_sd=0.1, step_limit=0.15, value_trust=0.0,
)  # fmt: skip


def segments(seed=0, size=200, **columns) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "segment_key": [f"s{number}" for number in range(size)],
            "requests": rng.zipf(1.5, size).clip(max=5_000).astype(float),
            "level": rng.normal(-0.5, 1.0, size),
            "level_error": 0.05,
            "own_share": 1.0,
            "slope": SLOPE,
            "is_held": False,
            "usual_bid_cpm": 8.0,
            "kept_bid_cpm": np.nan,
            "step_from_cpm": np.nan,
            "trust_low_cpm": 0.5,
            "trust_high_cpm": 60.0,
            "value_cpm": 20.0,
            "floor_cpm": np.nan,
            "hidden_floor_cpm": 0.0,
        }
    )
    return frame.assign(**columns)


def plan(frame, policy=POLICY):
    return plan_bids(frame, landscape=LANDSCAPE, policy=policy, seed="20260203_150000")


def win_rate(frame, bid):
    return LANDSCAPE.win_rate(frame["level"].to_numpy(), frame["slope"].to_numpy(), np.asarray(bid, float))


def expected_win_rate(frame, bid):
    return np.average(win_rate(frame, bid), weights=frame["requests"])


@pytest.mark.parametrize("target", [0.1, 0.3, 0.6, 0.9])
def test_the_planned_bids_reach_the_target_and_the_forecast_is_that_of_the_served_ones(target):
    frame = segments(trust_high_cpm=1_000.0)
    result = plan(frame, replace(POLICY, target_win_rate=target, max_bid_cpm=1_000))
    assert expected_win_rate(frame, result.table["planned_bid_cpm"]) == pytest.approx(target, abs=1e-4)
    assert result.expected_win_rate == pytest.approx(expected_win_rate(frame, result.table["suggested_bid_cpm"]))
    assert result.shadow_price_cpm > 0


def test_the_portfolio_costs_less_than_the_same_target_in_every_segment():
    frame = segments()
    portfolio, each = plan(frame), plan(frame, replace(POLICY, win_rate_scope="segment"))
    assert expected_win_rate(frame, each.table["planned_bid_cpm"]) == pytest.approx(0.3, abs=0.01)
    assert portfolio.expected_cpm < 0.95 * each.expected_cpm


def test_no_other_bids_reach_the_target_at_a_lower_price():
    frame = segments()
    best = plan(frame)
    spend = (frame["requests"] * best.table["planned_bid_cpm"] * win_rate(frame, best.table["planned_bid_cpm"])).sum()
    rng = np.random.default_rng(5)
    for _ in range(50):
        other = best.table["planned_bid_cpm"] * np.exp(rng.normal(0, 0.1, len(frame)))
        while expected_win_rate(frame, other) < 0.3:
            other = other * 1.002
        assert (frame["requests"] * other * win_rate(frame, other)).sum() > spend


def test_where_margin_and_win_rate_conflict_the_margin_wins_and_is_named():
    policy = replace(POLICY, value_trust=1.0, target_margin=0.7, target_win_rate=0.9)
    result = plan(segments(), policy)
    assert result.table["suggested_bid_cpm"].max() <= 6.0
    assert result.expected_win_rate < 0.9
    assert set(result.table["reason"]) == {"margin"}
    assert (result.table["expected_margin"] >= 0.7 - 1e-9).all()


def test_a_target_that_value_alone_exceeds_costs_no_price_of_a_win():
    result = plan(segments(), replace(POLICY, value_trust=1.0, target_win_rate=0.01))
    assert result.shadow_price_cpm == 0
    assert (result.table["reason"] == "value").any()


def test_a_floor_above_the_cap_means_no_bid_and_a_floor_below_lifts_the_bid():
    frame = segments(floor_cpm=np.where(np.arange(200) % 2, 35.0, 12.0))
    table = plan(frame, replace(POLICY, floor_available=True)).table
    assert table["suggested_bid_cpm"][1::2].isna().all() and set(table["reason"][1::2]) == {NO_BID}
    assert (table["suggested_bid_cpm"][::2] >= 12.0).all() and "floor" in set(table["reason"][::2])


def test_floors_that_the_ssp_does_not_pass_are_ignored():
    assert plan(segments(floor_cpm=35.0)).table["suggested_bid_cpm"].notna().all()


def test_a_served_bid_moves_at_most_one_step_from_what_was_served_before():
    table = plan(segments(kept_bid_cpm=6.0, step_from_cpm=5.0), replace(POLICY, target_win_rate=0.8)).table
    assert table["suggested_bid_cpm"].between(4.25, 5.75).all() and table["suggested_bid_cpm"].nunique() > 20
    assert table["planned_bid_cpm"].between(4.25 * 1.04 - 1e-9, 5.75 / 1.04 + 1e-9).all()
    assert "step" in set(table["reason"])


@pytest.mark.parametrize("step", [0.01, 0.02, 0.03, 0.05, 0.15])
def test_room_for_jitter_leaves_half_of_the_smallest_step_to_the_plan(step):
    table = plan(segments(step_from_cpm=5.0), replace(POLICY, target_win_rate=0.8, step_limit=step)).table
    assert table["planned_bid_cpm"].median() >= 5.0 * (1 + step / 2 - step**2)
    assert (table["suggested_bid_cpm"] <= 5.0 * (1 + step) + 1e-9).all()


def test_bids_of_a_few_cents_move_by_a_cent_a_day():
    frame = segments(step_from_cpm=0.03, usual_bid_cpm=0.03, trust_low_cpm=0.01)
    table = plan(frame, replace(POLICY, target_win_rate=0.8)).table
    assert set(table["suggested_bid_cpm"].round(2)) <= {0.02, 0.03, 0.04} and table["suggested_bid_cpm"].max() > 0.03


def test_bids_outside_what_the_log_knows_are_clipped_and_say_so():
    table = plan(segments(trust_high_cpm=9.0), replace(POLICY, target_win_rate=0.95)).table
    assert table["planned_bid_cpm"].max() == 9.0 and "trust_band" in set(table["reason"])


def test_in_a_second_price_auction_the_bid_is_what_a_win_is_worth():
    result = plan(segments(), replace(POLICY, is_second_price=True, value_trust=1.0, target_win_rate=0.9))
    unbound = result.table["reason"] == "target"
    assert result.table["planned_bid_cpm"][unbound].to_numpy() == pytest.approx(20.0 + result.shadow_price_cpm)
    assert (result.table["expected_cost_cpm"] < result.table["suggested_bid_cpm"]).all()
    first = plan(segments(), replace(POLICY, value_trust=1.0, target_win_rate=0.5))
    second = plan(segments(), replace(POLICY, is_second_price=True, value_trust=1.0, target_win_rate=0.5))
    assert second.expected_cpm < first.expected_cpm


def test_where_every_segment_has_to_reach_the_target_that_is_the_reason_and_no_value():
    result = plan(segments(value_cpm=np.nan), replace(POLICY, win_rate_scope="segment"))
    assert "target" in set(result.table["reason"]) and "value" not in set(result.table["reason"])


def test_a_segment_whose_slope_is_not_known_keeps_its_bid_with_jitter():
    has_bid = np.arange(200) < 50
    frame = segments(is_held=np.arange(200) < 100, kept_bid_cpm=np.where(has_bid, 6.0, np.nan))
    table = plan(frame).table
    assert set(table["reason"][:100]) == {"held"}
    assert table["planned_bid_cpm"][:50].tolist() == [6.0] * 50
    assert table["planned_bid_cpm"][50:100].tolist() == [8.0] * 50  # the usual bid: the active run has none
    assert (table["suggested_bid_cpm"] / table["planned_bid_cpm"]).std() > 0.05
    assert expected_win_rate(frame, table["planned_bid_cpm"]) == pytest.approx(0.3, abs=1e-4)


@pytest.mark.parametrize("target", [0.02, 0.3, 0.95])
def test_a_first_run_that_knows_no_slope_holds_every_bid_within_the_step_for_any_target(target):
    frame = segments(is_held=True, step_from_cpm=8.0, trust_low_cpm=8.5, trust_high_cpm=9.0)
    table = plan(frame, replace(POLICY, target_win_rate=target, jitter_sd=0.1)).table
    assert set(table["reason"]) == {"held"}
    assert table["planned_bid_cpm"].to_numpy() == pytest.approx(8.0)
    assert table["suggested_bid_cpm"].between(6.8, 9.2).all()
    assert (table["suggested_bid_cpm"] / 8.0).std() > 0.06
    assert (table["suggested_bid_cpm"] / 8.0).mean() == pytest.approx(1.0, abs=0.02)


def test_held_bids_do_not_wander_off_with_the_jitter_of_many_days():
    frame = segments(is_held=True, size=1_000, kept_bid_cpm=8.0, step_from_cpm=8.0)
    for day in range(21):
        table = plan_bids(frame, landscape=LANDSCAPE, policy=POLICY, seed=f"run {day}").table
        assert (table["suggested_bid_cpm"] / frame["step_from_cpm"] - 1).abs().max() <= 0.15 + 1e-9
        frame = frame.assign(step_from_cpm=table["suggested_bid_cpm"])
    assert set(table["wanted_bid_cpm"]) == {8.0}
    assert np.log(table["planned_bid_cpm"] / 8.0).mean() == pytest.approx(0.0, abs=0.03)
    assert np.log(table["planned_bid_cpm"] / 8.0).std() < 0.08


def test_the_plan_of_a_held_bid_is_the_mean_of_its_jitter_where_a_bound_cuts_one_side_off():
    frame = segments(is_held=True, size=20_000, step_from_cpm=8.0, usual_bid_cpm=8.0)
    table = plan(frame, replace(POLICY, max_bid_cpm=8.4)).table
    assert table["suggested_bid_cpm"].max() <= 8.4
    assert 7.5 < table["planned_bid_cpm"].iloc[0] < 7.98
    assert table["suggested_bid_cpm"].mean() == pytest.approx(table["planned_bid_cpm"].iloc[0], rel=0.002)


def test_a_bid_that_rests_on_others_evidence_is_marked():
    table = plan(segments(own_share=np.where(np.arange(200) % 2, 0.1, 0.9))).table
    assert set(table["reason"][1::2]) == {"shrinkage"} and set(table["reason"][::2]) == {"target"}


def test_aggressive_exploration_lifts_thin_segments_below_the_target_and_no_others():
    frame = segments(own_share=np.where(np.arange(200) % 2, 0.1, 0.9), level_error=0.6)
    calm, bold = plan(frame).table, plan(frame, replace(POLICY, is_aggressive=True)).table
    lifted = bold["reason"] == "exploration"
    assert lifted.any() and not lifted[::2].any()
    assert (calm["expected_win_rate"][lifted] < 0.36).all()
    ratio = (bold["planned_bid_cpm"] / calm["planned_bid_cpm"])[lifted & (bold["planned_bid_cpm"] < 30)]
    assert ratio.to_numpy() == pytest.approx(np.exp(0.8416 * 0.6 / SLOPE), rel=1e-3)
    assert (bold["planned_bid_cpm"] == calm["planned_bid_cpm"])[~lifted].all()


def test_half_a_trust_in_the_value_counts_half_of_it_and_bounds_nothing():
    result = plan(segments(), replace(POLICY, value_trust=0.5, target_margin=0.9, target_win_rate=0.9))
    assert "margin" not in set(result.table["reason"])
    assert result.table["suggested_bid_cpm"].max() > 2.0


def test_jitter_is_repeatable_truncated_and_has_its_spread():
    keys = pd.Series([f"s{number}" for number in range(20_000)])
    factors = jitter_factors(keys, seed="run", reach=JitterReach(0.1))
    assert np.array_equal(factors, jitter_factors(keys, seed="run", reach=JitterReach(0.1)))
    assert not np.array_equal(factors, jitter_factors(keys, seed="other", reach=JitterReach(0.1)))
    assert factors.mean() == pytest.approx(1.0, abs=0.003)
    assert factors.std() == pytest.approx(0.088, abs=0.003)  # a normal truncated at 2 sd keeps .880 of its sd
    assert factors.min() >= 0.8 and factors.max() <= 1.2


REACHES = [(0.1, -2.0, 2.0), (0.1, -2.0, 0.4), (0.15, -0.3, 2.0), (0.02, -1.0, 0.0), (0.1, 0.0, 0.0)]


@pytest.mark.parametrize(("sd", "low", "high"), REACHES)
def test_the_mean_of_the_jitter_is_that_of_many_draws(sd, low, high):
    keys, reach = pd.Series([f"s{number}" for number in range(100_000)]), JitterReach(sd, low, high)
    factors = jitter_factors(keys, seed="run", reach=reach)
    assert factors.mean() == pytest.approx(float(reach.mean), abs=5e-4)
    assert factors.min() >= 1 + sd * low - 1e-9 and factors.max() <= 1 + sd * high + 1e-9


def test_each_key_has_jitter_of_its_own_reach():
    keys = pd.Series([f"s{number}" for number in range(10_000)])
    sd = np.where(np.arange(10_000) % 2, 0.02, 0.1)
    factors = jitter_factors(keys, seed="run", reach=JitterReach(sd, np.full(10_000, -2.0), np.full(10_000, 2.0)))
    assert factors[1::2].std() == pytest.approx(0.0176, abs=1e-3)
    assert factors[::2].std() == pytest.approx(0.088, abs=3e-3)


@pytest.mark.parametrize("name", ["step", "floor", "margin", "cap", "trust_band"])
def test_room_for_jitter_never_turns_a_bound_round(name):
    low, high = np.array([0.0, 1.0, 1.0, 1.0]), np.array([np.inf, 1.0, 1.02, 2.0])
    least, most = with_room(name, low, high)
    assert (least <= most + 1e-12).all() and (least >= low).all() and (most <= high).all()


WORLDS = {
    "seed": st.integers(0, 10_000),
    "target": st.floats(0.01, 0.99),
    "margin": st.floats(0, 0.95),
    "cap": st.floats(0.01, 1_000),
    "scope": st.sampled_from(["portfolio", "segment"]),
    "floors": st.booleans(),
    "trusted": st.booleans(),
    "step": st.floats(0.01, 1.0),
    "jitter": st.floats(0.02, 0.15),
    "bold": st.booleans(),
    "second_price": st.booleans(),
    "round_share": st.sampled_from([0.0, 0.6]),
}


@settings(max_examples=80, deadline=None)
@given(**WORLDS)
def test_for_any_policy_served_bids_are_whole_cents_within_hard_bounds_and_the_daily_step(
    seed, target, margin, cap, scope, floors, trusted, step, jitter, bold, second_price, round_share
):
    rng = np.random.default_rng(seed)
    frame = segments(
        seed,
        40,
        floor_cpm=np.where(rng.random(40) < 0.5, rng.gamma(2, 4, 40), np.nan),
        value_cpm=rng.gamma(2, 10, 40),
        hidden_floor_cpm=np.where(rng.random(40) < 0.3, rng.gamma(2, 4, 40), 0.0),
        is_held=rng.random(40) < 0.4,
        own_share=rng.random(40),
        kept_bid_cpm=np.where(rng.random(40) < 0.7, rng.gamma(2, 4, 40), np.nan),
        step_from_cpm=np.exp(rng.normal(1, 2, 40)),
    )
    policy = replace(
        POLICY, target_win_rate=target, target_margin=margin, max_bid_cpm=cap, win_rate_scope=scope,
        floor_available=floors, value_trust=float(trusted), step_limit=step, jitter_sd=jitter, is_aggressive=bold,
        is_second_price=second_price,
    )  # fmt: skip
    steps = PriceSteps("0.50", round_share) if round_share and not second_price else None
    result = plan_bids(frame, landscape=Landscape(8.0, steps=steps), policy=policy, seed="run")
    has_bid = result.table["suggested_bid_cpm"].notna()
    assert (has_bid == (result.table["reason"] != NO_BID)).all()
    rows = frame[has_bid]
    bid = result.table["suggested_bid_cpm"][has_bid]
    assert (bid >= CENT - 1e-12).all() and (bid <= cap + 1e-9).all()
    assert np.allclose(bid * 100, np.round(bid * 100))
    lowest = rows["floor_cpm"].fillna(0.0) if floors else pd.Series(0.0, rows.index)
    highest = np.minimum(cap, (1 - margin) * rows["value_cpm"] if trusted else np.inf)
    assert (bid <= np.maximum(highest, CENT) + 1e-9).all()
    before = rows["step_from_cpm"]
    allowed = np.maximum(step * before, CENT)
    low, high = (np.clip(edge, lowest, highest) for edge in (before - allowed, before + allowed))
    assert (bid > low - CENT).all() and (bid < high + CENT).all()
    is_free = (low > lowest) & (high < highest) & (step * before >= CENT)
    assert ((bid / before - 1).abs()[is_free] <= step + 1e-9).all()
