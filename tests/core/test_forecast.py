"""Intervals of the next days, and the correction of levels by what earlier forecasts missed."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from optimizer.core.pricing.forecast import (
    LEAST_LEVEL_SD,
    MAX_CORRECTION,
    SHORT_LOG_LEVEL_SD,
    WEEK_DAYS,
    BidMove,
    ClickValue,
    DayLevel,
    EarlierForecast,
    Expected,
    Outlook,
    correct_level,
    forecast_figures,
    read_outlook,
)

BASE_LEVEL = -0.8


def independent(rng: np.random.Generator, days: int) -> np.ndarray:
    return rng.normal(0, 0.15, days)


def random_walk(rng: np.random.Generator, days: int) -> np.ndarray:
    return rng.normal(0, 0.08, days).cumsum()


def sluggish(rng: np.random.Generator, days: int) -> np.ndarray:
    levels = np.zeros(days)
    for day in range(1, days):
        levels[day] = 0.7 * levels[day - 1] + rng.normal(0, 0.1)
    return levels


def drifting(rng: np.random.Generator, days: int) -> np.ndarray:
    return rng.normal(0, 0.15, days) + 0.02 * np.arange(days)


LEVELS = [independent, random_walk, sluggish, drifting]


def history(levels: np.ndarray, bids: np.ndarray) -> list[DayLevel]:
    return [
        DayLevel(f"day {day}", float(level), float(n)) for day, (level, n) in enumerate(zip(levels, bids, strict=True))
    ]


def figures_of(outlook: Outlook, expect: Callable[[float], Expected] | None = None, **known: float) -> dict:
    move = BidMove(*(known.get(name, 0.0) for name in ("slope_error", "mean_move", "mean_change")))
    clicks = ClickValue(*(known.get(name, 0.0) for name in ("click_share", "clicks_ahead", "clicks_seen")))
    return forecast_figures(expect or bids_at_eight, outlook=outlook, move=move, clicks=clicks)


def bids_at_eight(shift: float) -> Expected:
    return Expected(float(expit(BASE_LEVEL + shift)), 8.0, 0.4)


@pytest.mark.parametrize("days", [5, 12, 21, 35])
@pytest.mark.parametrize("levels", LEVELS)
def test_95_percent_intervals_hold_the_win_rate_of_the_next_week_and_of_its_days(levels, days):
    weeks, single = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        drawn = levels(rng, days + WEEK_DAYS)
        found = figures_of(read_outlook(history(drawn[:days], np.full(days, 5_000.0))))
        ahead = drawn[days:] - drawn[max(0, days - WEEK_DAYS) : days].mean()
        low, high = found["expected_win_rate_low"], found["expected_win_rate_high"]
        weeks.append(low <= expit(BASE_LEVEL + ahead.mean()) <= high)
        single += list((expit(BASE_LEVEL + ahead) >= low) & (expit(BASE_LEVEL + ahead) <= high))
    assert np.mean(weeks) >= 0.9 and np.mean(single) >= 0.88


def test_80_percent_intervals_hold_a_week_of_independent_days_and_are_narrower():
    held = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        drawn = independent(rng, 28)
        found = figures_of(read_outlook(history(drawn[:21], np.full(21, 5_000.0))))
        assert found["expected_win_rate_low"] < found["expected_win_rate_low_80"]
        assert found["expected_win_rate_high"] > found["expected_win_rate_high_80"]
        held.append(
            found["expected_win_rate_low_80"]
            <= expit(BASE_LEVEL + drawn[21:].mean() - drawn[14:21].mean())
            <= found["expected_win_rate_high_80"]
        )
    assert np.mean(held) >= 0.8


def test_the_spend_of_a_day_stays_in_its_interval():
    held = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        bids = 5_000 * np.exp(rng.normal(0, 0.25, 22))
        drawn = independent(rng, 22)
        outlook = read_outlook(history(drawn[:21], bids[:21]))
        found = figures_of(outlook)
        spent = bids[21] * expit(BASE_LEVEL + drawn[21] - drawn[14:21].mean()) * 8 / 1000
        assert found["expected_spend_per_day"] == pytest.approx(bids[14:21].mean() * expit(BASE_LEVEL) * 8 / 1000)
        held.append(found["expected_spend_per_day_low"] <= spent <= found["expected_spend_per_day_high"])
    assert np.mean(held) >= 0.9


def test_a_short_log_and_a_quiet_one_have_a_least_spread():
    assert read_outlook([]).level_sd == SHORT_LOG_LEVEL_SD
    assert read_outlook(history(np.zeros(9), np.full(9, 100.0))).level_sd == SHORT_LOG_LEVEL_SD
    assert read_outlook(history(np.zeros(30), np.full(30, 100.0))).level_sd == LEAST_LEVEL_SD


def test_what_is_not_known_of_the_slope_widens_the_interval_by_how_far_bids_move():
    outlook = Outlook(0.1, 0.2, 10.0, 5_000.0)

    def width(**known: float) -> float:
        found = figures_of(outlook, **known)
        return found["expected_win_rate_high"] - found["expected_win_rate_low"]

    assert width(slope_error=0.5) == width()  # bids that stay need no slope
    assert width(slope_error=0.5, mean_move=0.2) > 1.3 * width()
    assert width(mean_change=1.0) > 1.3 * width()


def test_few_clicks_widen_the_interval_of_the_margin_alone():
    outlook = Outlook(0.1, 0.2, 10.0, 5_000.0)
    views, clicks = figures_of(outlook), figures_of(outlook, click_share=1.0, clicks_ahead=50.0, clicks_seen=400.0)
    assert clicks["expected_margin_low"] < views["expected_margin_low"] - 0.1
    assert clicks["expected_margin_high"] > views["expected_margin_high"]
    assert clicks["expected_cpm_low"] == views["expected_cpm_low"]


def test_without_a_value_there_is_no_margin_to_forecast():
    found = figures_of(Outlook(0.1, 0.2, 10.0, 5_000.0), lambda shift: Expected(0.3, 8.0, None))
    assert not any(name.startswith("expected_margin") for name in found)


DAY = pd.Timestamp("2026-02-01")


def corrections(
    bias: Callable[[int], float], *, noise_sd: float = 0.0, days: int = 30, bids: int = 20_000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return the correction and the achieved win rate of each day of a loop that aims at .3 every day.

    Args:
        bias: day -> by how much the market's logit lies above the model's.
    """
    rng = np.random.default_rng(seed)
    rows, forecasts, used, achieved = [], {}, [], []
    correction = 0.0
    for day in range(days):
        forecasts[f"run {day}"] = EarlierForecast(0.3, correction)
        won = expit(logit(0.3) - correction + bias(day) + noise_sd * rng.normal())
        rows.append((DAY + pd.Timedelta(days=day), f"run {day}", bids, rng.binomial(bids, won)))
        used.append(correction)
        achieved.append(won)
        correction = correct_level(pd.DataFrame(rows, columns=["day", "run_id", "bids", "wins"]), forecasts)
    return np.array(used), np.array(achieved)


@pytest.mark.parametrize("bias", [0.3, -0.3, 0.1])
def test_a_steady_bias_is_removed_within_days_and_stays_removed(bias):
    used, achieved = corrections(lambda day: bias)
    assert (np.abs(used[1:]) < abs(bias) * 1.1).all()  # never overshoots
    assert used[4:] == pytest.approx(0.84 * bias, abs=0.03)
    assert achieved[4:].mean() == pytest.approx(0.3, abs=0.011)


@pytest.mark.slow
def test_noise_from_day_to_day_is_hardly_amplified():
    used, achieved = zip(*(corrections(lambda day: 0.0, noise_sd=0.15, seed=seed) for seed in range(20)), strict=True)
    assert np.std(used) < 0.6 * 0.15
    assert np.mean(achieved) == pytest.approx(0.3, abs=0.005)
    open_loop = 0.3 * 0.7 * 0.15
    assert np.std(achieved) < 1.2 * open_loop


def test_a_market_that_drifts_is_followed_at_a_bounded_distance():
    used, achieved = corrections(lambda day: 0.02 * day, days=24)
    behind = 0.02 * np.arange(24) - used
    assert behind[8:].max() < 0.12 and (np.diff(used[2:]) > -0.02).all()
    assert achieved[8:] == pytest.approx(0.3, abs=0.03)


def test_a_shock_that_ends_is_forgotten():
    used, _ = corrections(lambda day: 0.4 * (5 <= day < 10), days=24)
    assert used[9] > 0.2 and np.abs(used[18:]).max() < 0.02


def one_day(bids: int) -> float:
    cells = pd.DataFrame({"day": [DAY], "run_id": ["a"], "bids": [bids], "wins": [0.4 * bids]})
    return correct_level(cells, {"a": EarlierForecast(0.3, 0.0)})


def test_a_day_of_few_bids_counts_less():
    missed = logit(0.4) - logit(0.3)
    assert 0 < one_day(50) < 0.5 * one_day(500) < one_day(1_000_000) / 1.9
    assert one_day(500) == pytest.approx(missed * 0.5 / (0.5 + 0.5), rel=0.01)
    assert one_day(1_000_000) == pytest.approx(missed / 1.5, rel=0.01)


def test_a_correction_never_exceeds_its_limit():
    cells = pd.DataFrame({"day": [DAY], "run_id": ["a"], "bids": [100_000], "wins": [95_000]})
    assert correct_level(cells, {"a": EarlierForecast(0.3, 0.0)}) == MAX_CORRECTION


def test_days_without_a_forecast_correct_nothing():
    cells = pd.DataFrame({"day": [DAY], "run_id": ["a"], "bids": [100_000], "wins": [95_000]})
    assert correct_level(cells, {}) == 0.0
    assert correct_level(cells, {"b": EarlierForecast(0.3, 0.0)}) == 0.0
    assert correct_level(cells.drop(columns="run_id"), {"a": EarlierForecast(0.3, 0.0)}) == 0.0
    old = pd.concat([cells, cells.assign(day=DAY + pd.Timedelta(days=9), run_id="b")])
    assert correct_level(old, {"a": EarlierForecast(0.3, 0.0)}) == 0.0


def test_two_runs_that_shared_a_day_count_by_their_bids():
    cells = pd.DataFrame({"day": DAY, "run_id": ["a", "b"], "bids": [900_000, 100_000], "wins": [360_000, 30_000]})
    both = correct_level(cells, {"a": EarlierForecast(0.3, 0.0), "b": EarlierForecast(0.3, 0.0)})
    assert both == pytest.approx(0.9 * one_day(1_000_000), rel=0.01)
