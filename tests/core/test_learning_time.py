"""How long learning takes, and what of it is kept as JSON."""

import json
import math

import numpy as np
import pytest

from optimizer.core.landscape.jitter import RandomnessTest, Variation, days_until_identified
from optimizer.core.landscape.slope import Slope

TRAFFIC = {"own_days": 0, "bids_per_day": 5000.0, "win_rate": 0.3, "jitter_sd": 0.06}


def test_before_any_jitter_the_time_follows_from_traffic_win_rate_and_spread():
    information_a_day = 5000 * 0.3 * 0.7 * 0.06**2 / 2
    assert days_until_identified(None, **TRAFFIC) == pytest.approx((1 / 0.5) ** 2 / information_a_day)
    twice = days_until_identified(None, **TRAFFIC | {"bids_per_day": 2500.0})
    assert twice == pytest.approx(2 * days_until_identified(None, **TRAFFIC))


def test_with_jitter_in_the_log_its_error_falls_by_the_root_of_the_days():
    # An error of 1 after 4 days is .5, a quarter of 2, after 16.
    assert days_until_identified(Slope(2.0, 1.0, False), **TRAFFIC | {"own_days": 4}) == pytest.approx(12)
    # Clear of 0, the slope itself is used: a quarter of 3 is .75, an error of 1 falls to it after 4 / .75^2 days.
    assert days_until_identified(Slope(3.0, 1.0, False), **TRAFFIC | {"own_days": 4}) == pytest.approx(4 / 0.75**2 - 4)


def test_an_error_that_is_not_known_counts_as_no_jitter_yet():
    nothing = days_until_identified(Slope(2.0, math.inf, False), **TRAFFIC | {"own_days": 1})
    assert nothing == days_until_identified(None, **TRAFFIC)


def test_learning_never_ends_today():
    assert days_until_identified(Slope(2.0, 0.4, True), **TRAFFIC | {"own_days": 9}) == 1.0


@pytest.mark.parametrize("nothing", ["bids_per_day", "win_rate", "jitter_sd"])
def test_where_nothing_is_bid_won_or_varied_no_number_of_days_helps(nothing: str):
    assert days_until_identified(None, **TRAFFIC | {nothing: 0.0}) is None


def test_a_step_is_not_learned_by_waiting():
    assert days_until_identified(Slope(14.0, 1.0, False), **TRAFFIC | {"own_days": 5}) is None


def test_a_record_holds_plain_finite_values_only():
    placebo = RandomnessTest("placebo", np.inf, "<=", np.float64(0.25), np.bool_(False))
    slope = Slope(np.float64(1.9), np.inf, False)
    variation = Variation("none", slope, 2, np.float64(90.0), 10.0, ("os_code",), (placebo,), "2026-02-03")
    record = json.loads(json.dumps(variation.to_record(), allow_nan=False))
    assert record["slope"] == {"value": 1.9, "error": None, "is_identified": False}
    assert record["tests"][0]["figure"] is None and record["tests"][0]["is_passed"] is False
    assert (record["own_bids"], record["own_since"], record["logged_key"]) == (90.0, "2026-02-03", ["os_code"])
