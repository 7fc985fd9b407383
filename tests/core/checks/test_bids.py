"""Targets that are missed, and what holds a run."""

import numpy as np
import pytest
from core.checks.tables import SETTINGS, bid_table, figures_of, measured

from optimizer.core.checks.backtest import backtest_checks
from optimizer.core.checks.bids import bid_checks
from optimizer.core.pricing.backtest import Backtest
from optimizer.core.pricing.target_reach import TargetReach


def target_check(reach: TargetReach, **figures):
    bids = bid_table()
    low = bids.assign(suggested_bid_cpm=bids["suggested_bid_cpm"] * 0.7)
    checks = bid_checks(low, measured(low), figures=figures_of(bids, **figures), reach=reach, settings=SETTINGS)
    return next(check for check in checks if check.name == "expected_win_rate")


def test_a_target_that_the_cap_keeps_out_of_reach_holds_the_run_and_says_what_to_raise():
    check = target_check(TargetReach(0.5, 0.33, 0.37, {"cap": 0.78}))
    assert check.verdict == "holds"
    assert "target_win_rate 0.5 cannot be reached: at most 0.37 (limited by max_bid_cpm=30 on 78%" in check.message
    assert check.message.endswith("raise max_bid_cpm or lower target_win_rate")


def test_a_target_that_daily_steps_will_reach_only_warns():
    check = target_check(TargetReach(0.5, 0.33, 0.9, {"step": 0.9}))
    assert check.verdict == "warning" and "is not reached yet" in check.message


def test_a_forecast_whose_interval_misses_the_target_holds_the_run():
    bids = bid_table()
    reach = TargetReach(0.5, 0.47, None, {})
    for high, verdict in ((0.475, "holds"), (0.52, "passed")):
        figures = figures_of(bids, expected_win_rate_high=high)
        low = bids.assign(suggested_bid_cpm=bids["suggested_bid_cpm"] * 0.95)
        checks = bid_checks(low, measured(low), figures=figures, reach=reach, settings=SETTINGS)
        assert next(check for check in checks if check.name == "expected_win_rate").verdict == verdict


@pytest.mark.parametrize(("move", "verdict"), [(0.05, "warning"), (0.14, "holds")])
def test_a_backtest_without_support_holds_a_large_move_and_warns_of_a_small_one(move: float, verdict: str):
    refused = Backtest(False, "too few jittered bids", 14, 1000, 10.0, 0.1, None, None)
    check = backtest_checks(refused, move=move, settings=SETTINGS)[0]
    assert check.verdict == verdict and "too few jittered bids" in check.message


def test_a_fallback_bid_above_the_cap_is_outside_the_bounds():
    bids = bid_table()
    figures = figures_of(bids, fallback_bid_cpm=31.0)
    checks = bid_checks(bids, measured(bids), figures=figures, reach=TargetReach(0.5, 0.5, 0.9, {}), settings=SETTINGS)
    assert next(check for check in checks if check.name == "bids_outside_bounds").figure == 1


def verdicts(bids, **figures):
    noted = figures_of(bid_table(), **figures)
    reach = TargetReach(0.5, 0.5, 0.9, {})
    checks = bid_checks(bids, measured(bids), figures=noted, reach=reach, settings=SETTINGS)
    return {check.name: check.verdict for check in checks}


@pytest.mark.parametrize(
    ("move", "reason", "verdict"),
    [(1.14, "target", "passed"), (1.16, "target", "failed"), (0.84, "held", "failed"), (1.16, "cap", "passed")],
)
def test_a_served_bid_keeps_the_daily_step_unless_a_hard_bound_moved_it(move: float, reason: str, verdict: str):
    bids = bid_table()
    first = np.arange(len(bids)) == 0
    served = bids["suggested_bid_cpm"].mask(first, move * bids["step_from_cpm"])
    moved = bids.assign(suggested_bid_cpm=served, reason=bids["reason"].mask(first, reason))
    assert verdicts(moved)["largest_step"] == verdict


def test_where_a_whole_step_is_less_than_a_cent_a_cent_is_not_a_breach():
    bids = bid_table(suggested_bid_cpm=0.06, planned_bid_cpm=0.05, step_from_cpm=0.05)
    assert verdicts(bids)["largest_step"] == "passed"


@pytest.mark.parametrize(("move", "verdict"), [(1.0, "passed"), (1.3, "failed"), (0.7, "failed")])
def test_a_bid_that_moves_where_no_slope_is_known_fails_the_run(move: float, verdict: str):
    bids = bid_table(is_held=True, reason="held")
    moved = bids.assign(planned_bid_cpm=move * bids["previous_bid_cpm"])
    assert verdicts(moved)["unidentified_move"] == verdict


def test_a_held_bid_of_a_first_run_is_compared_with_what_was_usual():
    bids = bid_table(is_held=True, reason="held", kept_bid_cpm=np.nan)
    assert verdicts(bids)["unidentified_move"] == "passed"
    lower = 0.6 * bids["planned_bid_cpm"]
    assert verdicts(bids.assign(usual_bid_cpm=lower, step_from_cpm=lower))["unidentified_move"] == "failed"
