"""What a split is expected to bring, and which served bids another split changes."""

import pandas as pd
import pytest

from optimizer.core.live.split_effect import (
    RunForecast,
    ServedRunBids,
    blend_forecasts,
    compare_served,
    without_interval,
)
from optimizer.core.records.estimate import Estimate

A = RunForecast(Estimate(0.3, 0.25, 0.35), Estimate(10.0, 9.0, 11.0), Estimate(30.0, 24.0, 36.0))
B = RunForecast(Estimate(0.4, 0.3, 0.5), Estimate(20.0, 18.0, 22.0), Estimate(88.0, 66.0, 110.0))
CONTROL = RunForecast(Estimate(0.2), Estimate(8.0))


def test_the_requests_a_day_follow_from_spend_win_rate_and_cpm():
    assert A.requests_per_day == pytest.approx(10_000)
    assert CONTROL.requests_per_day is None


def test_a_split_wins_the_mean_of_its_runs_and_pays_the_mean_of_its_wins():
    found = blend_forecasts({"a": 80, "b": 20}, {"a": A, "b": B}, requests_per_day=10_000)
    wins_a, wins_b = 0.8 * 0.3, 0.2 * 0.4
    assert found.win_rate.value == pytest.approx(wins_a + wins_b)
    assert found.cpm.value == pytest.approx((wins_a * 10 + wins_b * 20) / (wins_a + wins_b))
    assert found.spend_per_day.value == pytest.approx(10_000 * (wins_a * 10 + wins_b * 20) / 1000)


def test_the_spend_of_a_split_is_its_wins_at_its_cpm_whatever_volume_each_run_was_forecast_for():
    found = blend_forecasts({"a": 50, "b": 50}, {"a": A, "b": B}, requests_per_day=10_000)
    assert found.spend_per_day.value == pytest.approx(10 * found.win_rate.value * found.cpm.value)
    assert B.requests_per_day == pytest.approx(11_000)


def test_one_run_with_all_the_traffic_has_its_own_intervals():
    found = blend_forecasts({"a": 100}, {"a": A}, requests_per_day=10_000)
    assert found == RunForecast(
        Estimate(*(pytest.approx(end) for end in (0.3, 0.25, 0.35))),
        Estimate(*(pytest.approx(end) for end in (10.0, 9.0, 11.0))),
        Estimate(*(pytest.approx(end) for end in (30.0, 24.0, 36.0))),
    )


def test_runs_miss_their_forecasts_in_the_same_direction_so_intervals_do_not_shrink():
    found = blend_forecasts({"a": 50, "b": 50}, {"a": A, "b": B}, requests_per_day=10_000).win_rate
    assert (found.low, found.high) == (pytest.approx(0.275), pytest.approx(0.425))


def test_a_small_control_without_an_interval_counts_with_its_value():
    split, forecasts = {"a": 95, "c": 5}, {"a": A, "c": CONTROL}
    found = blend_forecasts(split, forecasts, requests_per_day=10_000)
    assert found.win_rate.low == pytest.approx(0.95 * 0.25 + 0.05 * 0.2)
    assert found.spend_per_day.low == pytest.approx(0.95 * 24 + 0.05 * 16)
    assert without_interval(split, forecasts) == ("c",)


def test_a_large_run_without_an_interval_leaves_the_split_without_one():
    found = blend_forecasts({"a": 50, "c": 50}, {"a": A, "c": CONTROL}, requests_per_day=10_000)
    assert found.win_rate == Estimate(pytest.approx(0.25))


def test_a_figure_that_one_run_does_not_forecast_is_not_known():
    assert blend_forecasts({"a": 99, "x": 1}, {"a": A}, requests_per_day=10_000) == RunForecast()
    only_rate = {"a": A, "x": RunForecast(Estimate(0.3))}
    found = blend_forecasts({"a": 99, "x": 1}, only_rate, requests_per_day=10_000)
    assert found.win_rate.value == pytest.approx(0.3)
    assert (found.cpm, found.spend_per_day) == (Estimate(), Estimate())
    assert blend_forecasts({"a": 100}, {"a": A}, requests_per_day=None).spend_per_day == Estimate()


def served(bids: dict[str, float], *, requests=None, unserved=(), blocked=(), features=("state", "os"), fallback=5.0):
    table = pd.DataFrame(
        {
            "segment_key": list(bids),
            "suggested_bid_cpm": list(bids.values()),
            "is_served": [key not in unserved for key in bids],
            "requests": requests or [100.0] * len(bids),
        }
    )
    return ServedRunBids(features, table, frozenset(blocked), fallback)


def test_only_segments_on_which_the_runs_bid_differently_change():
    runs = {"a": served({"x|1": 10.0, "y|1": 12.0}), "b": served({"x|1": 10.0, "y|1": 14.0})}
    found = compare_served({"a": 100}, {"a": 80, "b": 20}, runs, top=5)
    assert (found.segments, found.changed) == (2, 1)
    assert found.request_share == pytest.approx(0.1)
    (move,) = found.largest
    assert (move.segment_key, move.moved_share) == ("y|1", pytest.approx(0.2))
    assert (move.before_cpm, move.after_cpm) == (12.0, pytest.approx(12.4))


def test_what_a_run_does_not_serve_gets_its_fallback_and_what_it_blocks_gets_no_bid():
    runs = {
        "a": served({"x|1": 10.0, "y|1": 12.0, "z|1": 9.0}),
        "b": served({"x|1": 11.0, "y|1": 14.0}, unserved=["x|1"], blocked=["y|1"], fallback=6.0),
    }
    found = compare_served({"a": 100}, {"b": 100}, runs, top=5)
    after = {move.segment_key: move.after_cpm for move in found.largest}
    assert after == {"x|1": 6.0, "y|1": 0.0, "z|1": 6.0}
    assert found.request_share == pytest.approx(1.0)


def test_the_largest_changes_are_those_of_most_requests_times_bid():
    runs = {
        "a": served({"x|1": 10.0, "y|1": 10.0, "z|1": 10.0}, requests=[10, 100, 1000]),
        "b": served({"x|1": 20.0, "y|1": 14.0, "z|1": 10.1}, requests=[10, 100, 1000]),
    }
    found = compare_served({"a": 100}, {"b": 100}, runs, top=2)
    assert [move.segment_key for move in found.largest] == ["y|1", "x|1"]


def test_the_same_split_changes_nothing():
    runs = {"a": served({"x|1": 10.0}), "b": served({"x|1": 12.0})}
    found = compare_served({"a": 70, "b": 30}, {"a": 70, "b": 30}, runs, top=5)
    assert (found.changed, found.request_share, found.largest) == (0, 0.0, ())


def test_runs_with_other_features_cannot_be_compared_one_by_one():
    runs = {"a": served({"x|1": 10.0}), "b": served({"x": 12.0}, features=("state",))}
    assert compare_served({"a": 100}, {"b": 100}, runs, top=5) is None
