"""What each key of the window is bid, what keys never seen get, and what a new run is compared with."""

import json

import numpy as np
import pandas as pd
import pytest

from optimizer.core.config.settings import RunSettings
from optimizer.core.landscape.cells import prepare_cells
from optimizer.core.landscape.price_steps import PriceSteps
from optimizer.core.records.earlier_run import EarlierFigures
from optimizer.runs.bid_limits import value_trust
from optimizer.runs.cell_run import active_bids
from optimizer.runs.learned import ActiveBids, Learned
from optimizer.runs.planned_bids import PlannedBids, previous_bids
from optimizer.runs.pricing import price_run
from optimizer.training.job import TrainingReport

BLANK = {bool: False, int: 1, float: 0.0, str: "2026-01-05"}
DAYS = [{"day": f"2026-01-{day:02d}", "level": 0.02 * (day % 3), "bids": 9_000.0} for day in range(1, 15)]
REPORT = TrainingReport.model_validate(
    {name: BLANK.get(info.annotation) for name, info in TrainingReport.model_fields.items() if info.is_required()}
    | {
        "reference_cpm": 8.0,
        "slope": 2.0,
        "slope_error": 0.1,
        "bid_coefficient": 2.0,
        "calibration": [],
        "held_out": [],
        "served_bid_low_cpm": 1.0,
        "served_bid_high_cpm": 40.0,
        "day_levels": DAYS,
    }
)
SETTINGS = RunSettings(max_bid_cpm=100.0)
RUN_ID = "20260204_060000"


def learned(size=40, report=REPORT, clicks=0, **columns) -> Learned:
    rng = np.random.default_rng(3)
    bids = rng.integers(500, 5_000, size)
    segments = pd.DataFrame(
        {
            "adspace": [f"a{number}" for number in range(size)],
            "bids": bids,
            "recent_requests": bids / 4,
            "wins": 300,
            "clicks": 0,
            "bid_cpm_sum": 4_000.0,
            "level": rng.normal(-0.5, 0.8, size),
            "model_level": 0.0,
            "level_shift": 0.1,
            "level_error": 0.05,
            "effective_bids": 400.0,
            "slope": 2.0,
            "slope_error": 0.1,
            "is_slope_identified": True,
            "usual_bid_cpm": 8.0,
            "recent_bid_cpm": 8.0,
            "click_rate": 0.001,
            "floor_cpm": np.nan,
            "hidden_floor_cpm": 0.0,
        }
    ).assign(**columns)
    return Learned(segments, report, ["adspace"], None, None, clicks)


def priced(found=None, active=None, settings=SETTINGS):
    return price_run(found or learned(), settings=settings, active=active, run_id=RUN_ID)


def active_at(bid_cpm, *, served_cpm=None, size=40) -> ActiveBids:
    """An active run with one planned bid, served as it was planned unless the test says otherwise."""
    keys = [f"a{number}" for number in range(size)]
    served = dict.fromkeys(keys, bid_cpm if served_cpm is None else served_cpm)
    return ActiveBids(dict.fromkeys(keys, bid_cpm), served, fallback_cpm=bid_cpm)


def thin(size=40):
    return np.where(np.arange(size) % 2, 5.0, 400.0)


VALUED = REPORT.model_copy(update={"value_per_mille_views": 30.0})


def test_every_key_of_the_window_is_served_however_little_is_known_of_it():
    run = priced(learned(effective_bids=thin(), level_error=np.where(np.arange(40) % 2, 2.0, 0.05)))
    assert run.bids["is_served"].all() and not run.bids["is_blocked"].any()
    assert run.bids["suggested_bid_cpm"].gt(0).all() and "fallback" not in set(run.bids["reason"])
    assert run.figures.row_coverage == 1.0
    assert run.figures.segments_in_memcache == run.figures.segments_count == 40


def test_a_null_key_is_served_like_any_other():
    run = priced(learned(adspace=[None, *(f"a{number}" for number in range(1, 40))]))
    null = run.bids.iloc[0]
    assert null["segment_key"] == "%EMPTY" and null["is_served"] and null["suggested_bid_cpm"] > 0


def test_the_target_is_reached_over_all_requests():
    run = priced(learned(recent_bid_cpm=9.0), settings=SETTINGS.model_copy(update={"daily_step_limit": 0.9}))
    won = run.landscape.win_rate(*(run.bids[name].to_numpy() for name in ("level", "slope", "suggested_bid_cpm")))
    assert np.average(won, weights=run.bids["requests"]) == pytest.approx(run.figures.expected_win_rate, rel=1e-9)
    assert run.figures.expected_win_rate == pytest.approx(SETTINGS.target_win_rate, abs=0.01)


def test_sums_over_the_portfolio_weigh_by_the_latest_requests_and_not_by_the_bids_of_the_window():
    requests = np.where(np.arange(40) == 7, 1e6, 1.0)
    run = priced(learned(recent_requests=requests))
    assert run.bids["requests"].tolist() == requests.tolist()
    assert run.figures.expected_win_rate == pytest.approx(run.bids["expected_win_rate"].iloc[7], abs=1e-3)
    assert run.figures.fallback_bid_cpm == pytest.approx(run.bids["planned_bid_cpm"].iloc[7], abs=0.01)


@pytest.mark.parametrize("auction_type", ["first_price", "second_price"])
def test_margins_are_what_the_expected_cost_leaves_of_the_value(auction_type):
    settings = SETTINGS.model_copy(update={"auction_type": auction_type})
    run = priced(learned(report=VALUED), settings=settings)
    level, slope, bid = (run.bids[name].to_numpy() for name in ("level", "slope", "suggested_bid_cpm"))
    cost = bid if auction_type == "first_price" else run.landscape.mean_price(level, slope, bid)
    assert run.bids["expected_cost_cpm"].to_numpy() == pytest.approx(cost)
    assert run.bids["expected_margin"].to_numpy() == pytest.approx(1 - cost / run.bids["value_cpm"].to_numpy())


def test_a_key_whose_floor_leaves_no_margin_is_blocked_and_one_below_it_is_bid_above_its_floor():
    floors = np.full(40, np.nan)
    floors[0], floors[1] = 90.0, 9.0  # above what the margin leaves; below it
    settings = SETTINGS.model_copy(update={"floor_available": True})
    run = priced(learned(report=VALUED, floor_cpm=floors), settings=settings)
    first, second = run.bids.iloc[0], run.bids.iloc[1]
    assert first["is_blocked"] and not first["is_served"] and first["reason"] == "no_bid_floor"
    assert np.isnan(first["suggested_bid_cpm"]) and first["expected_win_rate"] == 0.0
    assert second["is_served"] and second["suggested_bid_cpm"] >= 9.0
    assert run.figures.segments_count == 39
    assert run.figures.segments_in_memcache == 40  # the blocked key too: the bidder must not fall back on it
    bids = run.bids["bids"]
    assert run.figures.row_coverage == pytest.approx(1 - bids.iloc[0] / bids.sum())


def test_blocked_keys_count_as_requests_that_win_nothing():
    floors = np.where(np.arange(40) == 0, 200.0, np.nan)
    settings = SETTINGS.model_copy(update={"floor_available": True})
    run = priced(learned(floor_cpm=floors), settings=settings)
    won = (run.bids["requests"] * run.bids["expected_win_rate"]).sum() / run.bids["requests"].sum()
    assert run.figures.expected_win_rate == pytest.approx(won, rel=1e-9)


def test_the_fallback_is_the_geometric_mean_of_the_bids_by_request():
    run = priced()
    mean = np.exp(np.average(np.log(run.bids["planned_bid_cpm"]), weights=run.bids["requests"]))
    assert mean - 0.01 <= run.figures.fallback_bid_cpm <= mean


def test_the_fallback_keeps_the_margin_of_the_mean_value():
    values = np.where(np.arange(40) % 2, 0.001, 0.0001)  # one key in two is worth little
    clicked = REPORT.model_copy(update={"value_per_click": 10_000.0, "global_click_rate": 0.001})
    for report in (VALUED, clicked):
        run = priced(learned(report=report, clicks=10_000, click_rate=values, recent_bid_cpm=60.0))
        ceiling = 0.8 * np.average(run.bids["value_cpm"], weights=run.bids["requests"])
        assert 0 < run.figures.fallback_bid_cpm <= ceiling


def test_the_fallback_keeps_the_margin_where_the_active_runs_did_not():
    run = priced(learned(report=VALUED), active=active_at(60.0))
    assert run.figures.fallback_bid_cpm <= 0.8 * 30.0  # a step of 15 % down from 60 would be 51


def test_the_fallback_keeps_the_cap_in_whole_cents():
    run = priced(learned(recent_bid_cpm=40.0), settings=SETTINGS.model_copy(update={"max_bid_cpm": 5.555}))
    assert run.figures.fallback_bid_cpm <= 5.55
    assert run.figures.fallback_bid_cpm * 100 == pytest.approx(round(run.figures.fallback_bid_cpm * 100))


def test_the_fallback_keeps_the_daily_step():
    run = priced(active=active_at(3.0))
    assert 3 * 0.85 - 0.01 <= run.figures.fallback_bid_cpm <= 3 * 1.15


def test_without_any_bid_there_is_no_fallback_either():
    settings = SETTINGS.model_copy(update={"floor_available": True})
    run = priced(learned(floor_cpm=500.0), settings=settings)
    assert run.bids["is_blocked"].all() and not run.bids["is_served"].any()
    assert run.figures.fallback_bid_cpm == 0.0
    assert run.figures.expected_win_rate == 0.0
    json.dumps(run.figures.model_dump(), allow_nan=False)


def largest_steps(run, limit=0.15):
    """By how much each served bid left what was served before, over what the daily step allows."""
    before = run.bids["step_from_cpm"]
    return (run.bids["suggested_bid_cpm"] - before).abs() / np.maximum(before * limit, 0.01)


def test_no_served_bid_leaves_the_daily_step_with_its_jitter():
    run = priced(active=active_at(3.0))
    assert set(run.bids["step_from_cpm"]) == {3.0}
    assert (largest_steps(run) <= 1 + 1e-9).all()
    assert run.bids["suggested_bid_cpm"].nunique() > 10
    assert run.figures.largest_step <= 0.15 + 1e-9


def test_the_daily_step_is_measured_from_what_was_served_and_not_from_the_plan():
    run = priced(active=active_at(3.0, served_cpm=2.7))
    assert set(run.bids["step_from_cpm"]) == {2.7} and set(run.bids["previous_bid_cpm"]) == {3.0}
    assert run.bids["suggested_bid_cpm"].between(2.7 * 0.85 - 1e-9, 2.7 * 1.15 + 1e-9).all()


def test_a_first_run_steps_from_what_the_log_bid_last():
    run = priced(learned(usual_bid_cpm=20.0, recent_bid_cpm=8.0))
    assert set(run.bids["step_from_cpm"]) == {8.0} and (largest_steps(run) <= 1 + 1e-9).all()


def test_a_key_that_the_active_run_blocked_steps_from_the_log():
    active = active_at(3.0)
    run = priced(active=ActiveBids(active.planned_cpm, active.step_from_cpm | {"a0": 0.0}, 3.0))
    assert run.bids["step_from_cpm"].iloc[0] == 8.0 and set(run.bids["step_from_cpm"].iloc[1:]) == {3.0}


def test_a_key_that_the_active_run_did_not_know_steps_from_its_fallback():
    active = ActiveBids({"a1": 3.0}, {"a1": 3.0}, fallback_cpm=5.0)
    assert priced(active=active).bids["step_from_cpm"].tolist()[:3] == [5.0, 3.0, 5.0]


NAIVE = REPORT.model_copy(update={"is_slope_naive": True, "slope_error": float("inf")})
"""A log whose bids never varied at random."""


def test_a_first_run_without_a_slope_holds_every_bid_at_the_logs_with_jitter():
    usual = np.linspace(2.0, 20.0, 40)
    run = priced(learned(report=NAIVE, is_slope_identified=False, usual_bid_cpm=1.0, recent_bid_cpm=usual))
    assert run.figures.is_learning is True
    assert set(run.bids["reason"]) == {"held"}
    assert run.bids["planned_bid_cpm"].to_numpy() == pytest.approx(usual, rel=1e-3)
    moves = np.log(run.bids["suggested_bid_cpm"] / usual)
    assert run.figures.jitter_sd == 0.10
    assert 0.04 < moves.std() < 0.10 and abs(moves.mean()) < 0.03
    assert (largest_steps(run) <= 1 + 1e-9).all()
    json.dumps(run.figures.model_dump(), allow_nan=False)


def test_a_later_run_without_a_slope_holds_the_active_runs_plan():
    run = priced(learned(report=NAIVE, is_slope_identified=False), active=active_at(5.0))
    assert run.figures.is_learning and set(run.bids["reason"]) == {"held"}
    assert run.bids["planned_bid_cpm"].to_numpy() == pytest.approx(5.0, rel=1e-3)
    assert run.bids["suggested_bid_cpm"].nunique() > 10


def test_a_held_bid_goes_back_to_where_it_was_held_and_not_to_where_the_step_took_it():
    active = active_at(5.0, served_cpm=4.8)
    kept = ActiveBids(active.planned_cpm, active.step_from_cpm, 5.0, dict.fromkeys(active.planned_cpm, 5.2))
    run = priced(learned(report=NAIVE, is_slope_identified=False), active=kept)
    assert run.bids["wanted_bid_cpm"].to_numpy() == pytest.approx(5.2)
    assert (largest_steps(run) <= 1 + 1e-9).all()


def test_a_held_bid_still_keeps_the_cap():
    found = learned(report=NAIVE, is_slope_identified=False, recent_bid_cpm=8.0)
    run = priced(found, settings=SETTINGS.model_copy(update={"max_bid_cpm": 6.0}))
    assert run.bids["suggested_bid_cpm"].max() <= 6.0 and set(run.bids["reason"]) == {"cap"}


def test_segments_without_a_slope_of_their_own_are_held_among_others_that_move():
    is_known = np.arange(40) % 2 == 0
    run = priced(learned(is_slope_identified=is_known), active=active_at(5.0))
    held = run.bids["reason"] == "held"
    assert held.tolist() == (~is_known).tolist() and not run.figures.is_learning
    assert run.bids.loc[held, "planned_bid_cpm"].to_numpy() == pytest.approx(5.0, rel=1e-3)
    assert (run.bids.loc[~held, "planned_bid_cpm"] != 5.0).all()


def test_bids_stay_above_a_hidden_floor_within_reach_and_count_no_wins_below_one_out_of_reach():
    hidden = np.zeros(40)
    hidden[0], hidden[1] = 8.5, 30.0
    run = priced(learned(hidden_floor_cpm=hidden))
    near, far = run.bids.iloc[0], run.bids.iloc[1]
    assert near["suggested_bid_cpm"] > 8.5
    assert far["expected_win_rate"] < 1e-6 and far["suggested_bid_cpm"] <= 8 * 1.15 + 1e-9


FOLLOWED = REPORT.model_copy(update={"following_floor_share": 0.85})


@pytest.mark.parametrize("step", [0.3, 100.0])
def test_bids_stay_above_the_floor_that_will_follow_them_and_of_daily_runs_above_that_of_the_day_before(step):
    anchor = [f"a{number % 4}" for number in range(40)]
    settings = SETTINGS.model_copy(update={"daily_step_limit": step})
    found = learned(
        report=FOLLOWED,
        adspace=anchor,
        region=list(map(str, range(40))),
        recent_bid_cpm=np.linspace(7, 11, 40),
        level=np.linspace(-3, 3, 40),
    )
    found = Learned(found.segments, found.report, ["adspace", "region"], None, None, 0)
    bids = priced(found, settings=settings).bids

    def mean_bid(name):
        sums = (bids["requests"] * bids[name]).groupby(bids["adspace"]).transform("sum")
        return sums / bids["requests"].groupby(bids["adspace"]).transform("sum")

    followed = mean_bid("suggested_bid_cpm")
    if step < 1:
        followed = np.maximum(followed, mean_bid("step_from_cpm"))
    is_above = bids["suggested_bid_cpm"] >= 0.85 * followed * 0.995
    assert is_above.all() and (bids["reason"] == "hidden_floor").any()
    unfollowed = Learned(found.segments, REPORT, found.features, None, None, 0)
    assert priced(unfollowed, settings=settings).bids["suggested_bid_cpm"].lt(0.85 * followed).any()


def test_held_bids_do_not_move_for_a_floor_that_follows():
    naive = FOLLOWED.model_copy(update={"is_slope_naive": True})
    held, plain = (
        priced(learned(report=report, recent_bid_cpm=np.linspace(4, 12, 40), adspace="a"))
        for report in (naive, naive.model_copy(update={"following_floor_share": 0.0}))
    )
    assert held.bids["suggested_bid_cpm"].tolist() == plain.bids["suggested_bid_cpm"].tolist()


def test_what_earlier_forecasts_missed_shifts_every_level():
    found = learned()
    shifted = Learned(found.segments, found.report, found.features, None, None, 0, level_correction=-0.2)
    plain, corrected = priced(found), priced(shifted)
    assert corrected.figures.level_correction == -0.2
    gap = corrected.bids["level"] * corrected.bids["flatness"] - plain.bids["level"] * plain.bids["flatness"]
    assert gap.to_numpy() == pytest.approx(-0.2)


def test_forecasts_have_intervals_and_the_wider_has_the_higher_coverage():
    figures = priced(learned(report=VALUED)).figures
    middles = {name: getattr(figures, name) for name in ("expected_win_rate", "expected_cpm", "expected_margin",
                                                "expected_spend_per_day")}  # fmt: skip
    for name, middle in middles.items():
        low, low_80, high_80, high = (
            getattr(figures, f"{name}_{edge}") for edge in ("low", "low_80", "high_80", "high")
        )
        assert low < low_80 < middle < high_80 < high
    assert figures.forecast_level_sd >= 0.05


def test_the_link_that_bids_were_priced_with_is_noted_with_its_tails_and_steps():
    ends = {"unrivalled_share": 0.05, "lost_share": 0.1, "price_ladder": "0.50", "price_ladder_share": 0.2}
    run = priced(learned(report=REPORT.model_copy(update=ends)))
    assert {name: getattr(run.figures.link, name) for name in ends} == ends
    assert run.landscape.steps == PriceSteps("0.50", 0.2)
    smooth = priced(learned(report=REPORT.model_copy(update={"unrivalled_share": 0.05, "lost_share": 0.1})))
    assert smooth.figures.link.price_ladder is None
    ends_reached = smooth.landscape.win_rate(np.zeros(2), np.full(2, 2.0), np.array([1e-9, 1e9]))
    assert ends_reached == pytest.approx([0.05, 0.9], abs=1e-6)


def test_value_is_trusted_by_the_share_of_it_that_is_known():
    both = REPORT.model_copy(
        update={"global_click_rate": 0.001, "value_per_click": 10.0, "value_per_mille_views": 10.0}
    )
    assert value_trust(both, total_clicks=25) == pytest.approx(1 - 0.2 / 2)
    assert value_trust(both.model_copy(update={"value_per_mille_views": 0.0}), total_clicks=4) == pytest.approx(0.5)
    assert value_trust(both.model_copy(update={"value_per_click": 0.0}), total_clicks=0) == 1.0
    assert value_trust(REPORT, total_clicks=0) == 0.0


def cells(**columns) -> pd.DataFrame:
    raw = pd.DataFrame(
        {
            "day": "2026-01-05", "adspace": ["a", "a", "b", "b"], "os": ["ios", "android", "ios", None],
            "price_bucket": 40, "base_price_bucket": 40, "bids": [100, 300, 50, 50], "wins": 10, "clicks": 0,
            "bid_cpm_sum": 800.0, "base_bid_cpm_sum": 800.0, "cost_cpm_sum": 80.0, "view_revenue": 0.0,
            "click_revenue": 0.0, "floor_cpm_max": np.nan, "run_id": "r",
        }
    )  # fmt: skip
    return prepare_cells(raw.assign(**columns), ["adspace", "os"])


def test_the_active_runs_bids_are_found_by_the_same_key_and_its_fallback_elsewhere():
    active = PlannedBids(("adspace", "os"), {"a|ios": 4.0, "a|android": 9.0}, 6.0)
    found = previous_bids(active, cells(), ["adspace", "os"])
    assert found == pytest.approx({"a|ios": 4.0, "a|android": 9.0, "b|ios": 6.0, "b|%EMPTY": 6.0})


def test_under_another_key_a_segment_has_the_mean_of_the_bids_on_its_parts():
    active = PlannedBids(("os",), {"ios": 4.0, "android": 9.0}, 6.0)
    found = previous_bids(active, cells(), ["adspace"])
    assert found["a"] == pytest.approx(np.exp((100 * np.log(4) + 300 * np.log(9)) / 400))
    assert found["b"] == pytest.approx(np.sqrt(4.0 * 6.0))


def test_a_key_that_cannot_be_built_any_more_compares_with_nothing():
    assert previous_bids(PlannedBids(("browser",), {}, 6.0), cells(), ["adspace"]) is None


def test_the_daily_step_is_carried_to_another_key_next_to_the_plan():
    plan = PlannedBids(("os",), {"ios": 4.0, "android": 9.0}, 6.0, EarlierFigures(), {"ios": 5.0, "android": 8.0})
    active = active_bids(plan, cells(), ["adspace"])
    assert active.planned_cpm["a"] == pytest.approx(np.exp((100 * np.log(4) + 300 * np.log(9)) / 400))
    assert active.step_from_cpm["a"] == pytest.approx(np.exp((100 * np.log(5) + 300 * np.log(8)) / 400))
    assert active.fallback_cpm == 6.0
    assert active_bids(None, cells(), ["adspace"]) is None
    assert active_bids(PlannedBids(("browser",), {}, 6.0), cells(), ["adspace"]) is None
