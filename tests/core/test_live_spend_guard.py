"""The spend guard acts on days with too much spend, and on no honest month. Worlds with known truth."""

import numpy as np
import pytest

from lab.live_market.runs import CPM, WIN_RATE
from lab.live_market.spending import FORECAST, draw_days, taken_off
from optimizer.core.live.performance import ForecastFigures
from optimizer.core.live.spend_guard import LEAST_WINS, Overspend, find_overspend

WORLDS, DAYS = 300, 30
BOUND = 0.5


def judge(bids: float, wins: float, spend: float, **changes: float) -> Overspend | None:
    return find_overspend(bids=bids, wins=wins, spend=spend, forecast=FORECAST, max_overspend=BOUND, **changes)


def found_in(bids: int, wins: np.ndarray, spend: np.ndarray) -> np.ndarray:
    return taken_off(bids, wins, spend, max_overspend=BOUND)


@pytest.mark.parametrize("bids", [60, 150, 500, 5_000, 200_000])
def test_an_honest_run_is_taken_back_in_at_most_1_percent_of_worlds_in_30_days(bids: int):
    wins, spend = draw_days(np.random.default_rng(1), bids=bids, size=(WORLDS, DAYS))
    assert found_in(bids, wins, spend).any(1).mean() <= 0.01


def test_a_run_that_is_a_fifth_above_its_forecast_is_left_to_the_verdicts():
    wins, spend = draw_days(np.random.default_rng(2), bids=5_000, cpm=1.2 * CPM, size=(WORLDS, DAYS))
    assert found_in(5_000, wins, spend).any(1).mean() <= 0.01


@pytest.mark.parametrize("bids", [300, 5_000])
def test_three_times_the_cpm_is_found_on_the_first_day(bids: int):
    wins, spend = draw_days(np.random.default_rng(3), bids=bids, cpm=3 * CPM, size=(WORLDS, 1))
    assert found_in(bids, wins, spend).mean() >= 0.99


def test_three_times_the_wins_at_the_forecast_cpm_is_found_by_the_spend():
    wins, spend = draw_days(np.random.default_rng(4), bids=5_000, win_rate=3 * WIN_RATE, size=(WORLDS, 1))
    assert found_in(5_000, wins, spend).mean() >= 0.99
    found = judge(5_000, 4_500, 4_500 * CPM / 1000)
    assert found is not None and (found.figure, found.ratio) == ("spend", pytest.approx(3))


def test_what_was_found_names_measured_and_forecast_in_their_units():
    found = judge(10_000, 3_000, 3_000 * 36 / 1000)
    assert found is not None and found.ratio == pytest.approx(3) and 2 < found.ratio_low < 3
    assert (found.figure, found.measured, found.forecast) == ("cpm", pytest.approx(36), CPM)
    assert judge(10_000, 1_500, 1_500 * 36 / 1000).figure == "cpm"


def test_few_wins_and_unknown_forecasts_say_nothing():
    assert judge(10, LEAST_WINS - 1, 1_000.0) is None
    assert judge(0, 0, 0.0) is None
    for unknown in (ForecastFigures(), ForecastFigures(win_rate=0.3), ForecastFigures(win_rate=0.0, cpm=12.0)):
        assert find_overspend(bids=1e4, wins=3e3, spend=1e3, forecast=unknown, max_overspend=BOUND) is None


def test_the_bound_is_what_the_config_says():
    day = {"bids": 10_000, "wins": 3_000, "spend": 3_000 * 36 / 1000, "forecast": FORECAST}
    assert find_overspend(**day, max_overspend=1.0) is not None
    assert find_overspend(**day, max_overspend=2.0) is None
