"""Intervals and verdicts that are read every day: their errors over many looks, and how soon a bad run is found."""

import numpy as np
import pytest
from core.live_worlds import WIN_RATE, draw_effects, draw_sums, frame_of
from scipy.stats import t as student_t

from optimizer.core.live.daily_ratio import DailyRatio, reach
from optimizer.core.live.performance import (
    FIGURES,
    ForecastFigures,
    Limits,
    against_control,
    against_forecast,
    figure_of,
    overall,
    shortfall_of,
)

WORLDS, DAYS = 1_000, 14
LIMITS = Limits(min_days=3, tolerance=0.1)
FORECAST = ForecastFigures(win_rate=0.30, cpm=12.0, ctr=0.01, margin=0.40)
TRUTH = {"win_rate": 0.30, "cpm": 12.0, "ctr": 0.01, "margin": 0.40}


def worlds_of(win_rate: float, *, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    market = draw_effects(rng, worlds=WORLDS, days=DAYS)
    return draw_sums(rng, market, win_rate=win_rate), draw_sums(rng, market, bids=180_000)


def below_on(own: np.ndarray, control: np.ndarray | None, *, reach_of=reach, figures=FIGURES) -> np.ndarray:
    """Return whether a figure is below target in each world on each day from the third on."""
    looks = []
    for days in range(LIMITS.min_days, DAYS + 1):
        below = np.zeros(WORLDS, bool)
        for figure in figures:
            live = figure_of(own[..., :days], figure)
            target = DailyRatio.constant(TRUTH[figure], days=days)
            expected = target if control is None else figure_of(control[..., :days] / 9, figure)
            shortfall = shortfall_of(figure, live, expected)
            margin = reach_of(days) * shortfall.margin_of_error / reach(days)
            below |= shortfall.value - margin > LIMITS.tolerance
        looks.append(below)
    return np.array(looks).T


def days_to_find(below: np.ndarray) -> np.ndarray:
    """Return the first day with a verdict below target; one after the last where there is none."""
    return np.where(below.any(1), below.argmax(1) + LIMITS.min_days, DAYS + 1)


def daily_t(days: int) -> float:
    """The reach of an interval that is read once."""
    return float(student_t.ppf(0.975, days - 1))


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
    assert all(reach(days) > daily_t(days) for days in range(2, 121))


@pytest.mark.parametrize("beside", [False, True], ids=["forecast", "control"])
def test_a_good_run_is_hardly_ever_below_target_on_any_of_14_days(beside: bool):
    own, control = worlds_of(WIN_RATE)
    assert below_on(own, control if beside else None).any(1).mean() <= 0.01


@pytest.mark.parametrize("beside", [False, True], ids=["forecast", "control"])
def test_a_run_that_is_short_by_just_the_tolerance_is_below_target_in_at_most_5_percent(beside: bool):
    own, control = worlds_of(WIN_RATE * (1 - LIMITS.tolerance))
    compared = {"control": control if beside else None, "figures": ["win_rate"]}
    assert below_on(own, **compared).any(1).mean() <= 0.05
    assert below_on(own, **compared, reach_of=daily_t).any(1).mean() > 0.08  # what looking every day did before


@pytest.mark.parametrize("beside", [False, True], ids=["forecast", "control"])
def test_a_bad_run_is_found_at_most_a_day_later_than_by_intervals_that_are_read_once(beside: bool):
    own, control = worlds_of(0.24)
    compared = {"control": control if beside else None, "figures": ["win_rate"]}
    found, once = (days_to_find(below_on(own, **compared, reach_of=reach_of)) for reach_of in (reach, daily_t))
    assert (found <= DAYS).mean() >= 0.99
    assert np.median(found) <= np.median(once) + 1 and found.mean() <= once.mean() + 1


def test_the_findings_are_those_of_the_measured_intervals():
    own, control = worlds_of(0.26)
    alone, beside = below_on(own, None), below_on(own, control)
    for world in range(20):
        tables = [frame_of(sums[:, world, :7]) for sums in (own, control)]
        by_forecast = against_forecast(tables[0], forecast=FORECAST, limits=LIMITS)
        by_control = against_control(*tables, forecast=FORECAST, control_forecast=FORECAST, limits=LIMITS)
        assert (overall(by_forecast) == "below target") == alone[world, 7 - LIMITS.min_days]
        assert (overall(by_control) == "below target") == beside[world, 7 - LIMITS.min_days]


def test_a_linearized_ratio_has_the_error_of_its_worlds():
    own, control = worlds_of(0.25)
    shortfall = shortfall_of("win_rate", figure_of(own, "win_rate"), figure_of(control, "win_rate"))
    error = shortfall.margin_of_error / reach(DAYS)
    assert shortfall.value.mean() == pytest.approx(1 - 0.25 / WIN_RATE, abs=0.001)
    assert np.sqrt((error**2).mean()) == pytest.approx(shortfall.value.std(), rel=0.1)
    assert abs(shortfall.influence.sum(-1)).max() < 1e-9


def test_a_larger_share_on_the_good_days_is_not_taken_for_a_better_run():
    rng = np.random.default_rng(2)
    market = np.repeat([0.7, 1.3], DAYS // 2) * draw_effects(rng, worlds=1, days=DAYS)
    shares = np.repeat([0.1, 0.5], DAYS // 2)
    own, control = (
        frame_of(draw_sums(rng, market, bids=(100_000 * share).astype(int))[:, 0]) for share in (shares, 1 - shares)
    )
    found = against_control(own, control, forecast=FORECAST, control_forecast=FORECAST, limits=LIMITS)
    assert abs(found[0].shortfall.value) < 0.03 and found[0].verdict == "on target"
    assert 1 - own["wins"].sum() / own["bids"].sum() * control["bids"].sum() / control["wins"].sum() < -0.1
