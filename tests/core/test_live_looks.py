"""Intervals and verdicts that are read every day: their errors over many looks, and how soon a bad run is found."""

import numpy as np
import pytest

from lab.live_market.looks import FORECAST, LOOKS, Looks, read_once_reach, savings_missed
from lab.live_market.runs import WIN_RATE, LiveRuns, draw_effects, draw_runs, draw_sums, frame_of
from optimizer.core.live.daily_ratio import DailyRatio, reach
from optimizer.core.live.performance import Limits, against_control, against_forecast, figure_of, overall, shortfall_of
from optimizer.core.live.savings import measure_savings

WORLDS = 1_000
LIMITS = Limits(min_days=3, tolerance=0.1)


def worlds_of(win_rate: float, *, seed: int = 1) -> LiveRuns:
    return draw_runs(np.random.default_rng(seed), worlds=WORLDS, days=LOOKS, win_rate=win_rate)


@pytest.mark.parametrize(("worlds", "days", "least"), [(20_000, 30, 0.042), (5_000, 120, 0.04)])
def test_an_interval_that_is_read_every_day_misses_in_at_most_5_percent(worlds: int, days: int, least: float):
    values = np.random.default_rng(5).normal(size=(worlds, days))
    missed = np.zeros(worlds, bool)
    for day in range(2, days + 1):
        seen = DailyRatio.of(values[:, :day], np.ones((worlds, day)))
        missed |= abs(seen.value) > seen.margin_of_error
    assert least < missed.mean() < 0.054


def test_the_interval_of_a_day_is_never_narrower_than_one_that_is_read_once():
    assert [reach(days) for days in (0, 1)] == [np.inf, np.inf]
    assert all(reach(days) > read_once_reach(days) for days in range(2, 121))


@pytest.mark.parametrize("beside", [False, True], ids=["forecast", "control"])
def test_a_good_run_is_hardly_ever_below_target_on_any_of_14_days(beside: bool):
    assert Looks(LIMITS, beside).below_target(worlds_of(WIN_RATE)).any(1).mean() <= 0.01


@pytest.mark.parametrize("beside", [False, True], ids=["forecast", "control"])
def test_a_run_that_is_short_by_just_the_tolerance_is_below_target_in_at_most_5_percent(beside: bool):
    runs = worlds_of(WIN_RATE * (1 - LIMITS.tolerance))
    daily, once = (Looks(LIMITS, beside, ["win_rate"], reach_of) for reach_of in (reach, read_once_reach))
    assert daily.below_target(runs).any(1).mean() <= 0.05
    assert once.below_target(runs).any(1).mean() > 0.08  # what looking every day did before


@pytest.mark.parametrize("beside", [False, True], ids=["forecast", "control"])
def test_a_bad_run_is_found_at_most_a_day_later_than_by_intervals_that_are_read_once(beside: bool):
    runs = worlds_of(0.24)
    found, once = (
        Looks(LIMITS, beside, ["win_rate"], reach_of).days_to_find(runs) for reach_of in (reach, read_once_reach)
    )
    assert (found <= LOOKS).mean() >= 0.99
    assert np.median(found) <= np.median(once) + 1 and found.mean() <= once.mean() + 1


def test_the_findings_are_those_of_the_measured_intervals():
    runs = worlds_of(0.26)
    alone, beside = (Looks(LIMITS, is_beside).below_target(runs) for is_beside in (False, True))
    for world in range(20):
        tables = [frame_of(sums[:, world, :7]) for sums in (runs.own, runs.control)]
        by_forecast = against_forecast(tables[0], forecast=FORECAST, limits=LIMITS)
        by_control = against_control(*tables, forecast=FORECAST, control_forecast=FORECAST, limits=LIMITS)
        assert (overall(by_forecast) == "below target") == alone[world, 7 - LIMITS.min_days]
        assert (overall(by_control) == "below target") == beside[world, 7 - LIMITS.min_days]


def test_the_interval_of_the_savings_holds_the_truth_on_every_day_in_at_least_95_percent():
    runs = worlds_of(WIN_RATE)
    assert savings_missed(runs, saved_share=0).mean() <= 0.05
    assert savings_missed(runs, saved_share=0, reach_of=read_once_reach).mean() > 0.08
    for world in range(20):
        tables = [frame_of(sums[:, world]) for sums in (runs.own, runs.control)]
        looks = [measure_savings(*(table[:days] for table in tables)) for days in range(2, LOOKS + 1)]
        is_missed = any(not look.saved_low < 0 < look.saved_high for look in looks)
        assert is_missed == savings_missed(_world(runs, world), saved_share=0).item()


def _world(runs: LiveRuns, world: int) -> LiveRuns:
    return LiveRuns(*(sums[:, world : world + 1] for sums in (runs.own, runs.control)))


def test_a_linearized_ratio_has_the_error_of_its_worlds():
    runs = worlds_of(0.25)
    shortfall = shortfall_of("win_rate", figure_of(runs.own, "win_rate"), figure_of(runs.control, "win_rate"))
    error = shortfall.margin_of_error / reach(LOOKS)
    assert shortfall.value.mean() == pytest.approx(1 - 0.25 / WIN_RATE, abs=0.001)
    assert np.sqrt((error**2).mean()) == pytest.approx(shortfall.value.std(), rel=0.1)
    assert abs(shortfall.influence.sum(-1)).max() < 1e-9


def test_a_larger_share_on_the_good_days_is_not_taken_for_a_better_run():
    rng = np.random.default_rng(2)
    market = np.repeat([0.7, 1.3], LOOKS // 2) * draw_effects(rng, worlds=1, days=LOOKS)
    shares = np.repeat([0.1, 0.5], LOOKS // 2)
    own, control = (
        frame_of(draw_sums(rng, market, bids=(100_000 * share).astype(int))[:, 0]) for share in (shares, 1 - shares)
    )
    found = against_control(own, control, forecast=FORECAST, control_forecast=FORECAST, limits=LIMITS)
    assert abs(found[0].shortfall.value) < 0.03 and found[0].verdict == "on target"
    assert 1 - own["wins"].sum() / own["bids"].sum() * control["bids"].sum() / control["wins"].sum() < -0.1
