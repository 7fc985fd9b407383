"""Live figures against the forecast and the control: on target, below target, or inconclusive."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from optimizer.core.live.performance import (
    FIGURES,
    SUMS,
    Finding,
    ForecastFigures,
    Limits,
    against_control,
    against_forecast,
    forecast_of_bids,
    overall,
)

FORECAST = ForecastFigures(win_rate=0.30, cpm=12.0, ctr=0.01, margin=0.40)
LIMITS = Limits(min_days=3, tolerance=0.1)
VALUE_PER_CLICK = 2.0  # a mille of wins earns 20, so that a margin of .4 is 12 CPM
SEEDS = range(200)


def market(days: int, *, seed: int, sd: float = 0.05) -> np.ndarray:
    """Return what each day does to win rates, as a factor."""
    return np.exp(np.random.default_rng([seed, 1]).normal(0, sd, days) - sd**2 / 2)


def totals(factors: np.ndarray, *, seed: int, bids: int = 20_000, **changed: float) -> pd.DataFrame:
    """Return the days of a run that keeps FORECAST, except for what is changed."""
    truth = replace(FORECAST, **changed)
    rng = np.random.default_rng([seed, bids])
    wins = rng.binomial(bids, np.minimum(1, truth.win_rate * factors))
    clicks = rng.binomial(wins, truth.ctr)
    rows = {"day": range(len(factors)), "bids": bids, "wins": wins, "clicks": clicks}
    rows |= {"spend": wins * truth.cpm / 1000, "view_revenue": 0.0, "click_revenue": clicks * VALUE_PER_CLICK}
    return pd.DataFrame(rows, columns=["day", *SUMS])


def judged(days: int = 5, *, seed: int = 0, limits: Limits = LIMITS, **changed: float) -> dict[str, Finding]:
    table = totals(market(days, seed=seed), seed=seed, **changed)
    return {found.figure: found for found in against_forecast(table, forecast=FORECAST, limits=limits)}


def beside(
    days: int = 5, *, seed: int = 0, forecast: ForecastFigures = FORECAST, factor: float = 1.0, **changed: float
):
    """Judge a run on a tenth of the traffic beside one that meets the forecast, in a market changed by `factor`."""
    factors = market(days, seed=seed) * factor
    own, control = totals(factors, seed=seed, bids=20_000, **changed), totals(factors, seed=seed, bids=180_000)
    return against_control(own, control, forecast=forecast, control_forecast=FORECAST, limits=LIMITS)


def test_a_run_that_keeps_its_forecast_is_hardly_ever_found_worse_and_mostly_holds():
    verdicts = [overall(tuple(judged(seed=seed).values())) for seed in SEEDS]
    assert verdicts.count("below target") <= 0.02 * len(SEEDS)
    assert verdicts.count("on target") >= 0.9 * len(SEEDS)


@pytest.mark.parametrize(
    ("figure", "value"), [("win_rate", 0.15), ("cpm", 18.0), ("ctr", 0.004), ("margin", 0.0)], ids=FIGURES
)
def test_a_figure_that_is_far_below_its_forecast_is_worse(figure: str, value: float):
    changed = {"cpm": FORECAST.cpm / (1 - FORECAST.margin)} if figure == "margin" else {figure: value}
    found = [judged(7, seed=seed, **changed)[figure] for seed in range(20)]
    assert [finding.verdict for finding in found].count("below target") >= 19
    assert "short by more than 10" in found[0].reason and "expected" in found[0].reason


def test_a_run_that_wins_nothing_at_all_is_below_target_and_figures_that_need_wins_are_left_out():
    found = judged(win_rate=0.0)
    assert {name: finding.verdict for name, finding in found.items()} == {
        "win_rate": "below target",
        "cpm": "inconclusive",
        "ctr": "inconclusive",
        "margin": "inconclusive",
    }


@pytest.mark.parametrize("days", [0, 1, 2])
def test_too_few_days_are_inconclusive_whatever_they_show(days: int):
    found = judged(days, win_rate=0.01)
    assert {finding.verdict for finding in found.values()} == {"inconclusive"}
    assert found["win_rate"].reason.endswith(f"{days} of 3 days")
    assert overall(tuple(found.values())) == "inconclusive"


def test_a_single_day_has_figures_and_no_interval():
    live = judged(1)["win_rate"].live
    assert 0.2 < live.value < 0.4 and (live.low, live.high) == (None, None)


def test_few_clicks_are_too_early_and_do_not_prevent_on_target():
    assert judged()["ctr"].verdict == "on target"
    thin = against_forecast(
        totals(market(5, seed=0), seed=0, bids=2_000, ctr=0.001),
        forecast=replace(FORECAST, ctr=0.001),
        limits=LIMITS,
    )
    assert {finding.figure: finding.verdict for finding in thin}["ctr"] == "inconclusive"
    assert overall(thin) == "on target"


def test_better_than_forecast_is_on_target():
    found = judged(win_rate=0.45, cpm=8.0, ctr=0.02)
    assert {finding.verdict for finding in found.values()} == {"on target"}
    assert found["win_rate"].reason.endswith("short by 0 % at most")


def test_the_tolerance_decides_what_is_worse():
    strict, lenient = (judged(7, win_rate=0.24, limits=Limits(3, tolerance)) for tolerance in (0.05, 0.3))
    assert (strict["win_rate"].verdict, lenient["win_rate"].verdict) == ("below target", "on target")


def test_a_market_that_falls_for_both_breaks_the_forecast_and_not_the_comparison():
    for seed in range(20):
        factors = market(5, seed=seed) * 0.5
        own = totals(factors, seed=seed)
        forecast = against_forecast(own, forecast=FORECAST, limits=LIMITS)
        assert overall(forecast) == "below target"
        assert overall(beside(seed=seed, factor=0.5)) == "on target"


def test_half_the_wins_of_the_control_is_worse_with_the_difference_and_its_interval():
    found = {finding.figure: finding for finding in beside(win_rate=0.15)}
    won = found["win_rate"]
    assert (won.verdict, found["cpm"].verdict) == ("below target", "on target")
    assert won.difference.low < won.live.value - won.control < won.difference.high < -0.1


def test_pairing_days_identifies_more_than_either_run_alone():
    def width(found: Finding) -> float:
        return found.shortfall.high - found.shortfall.low

    alone = [width(judged(seed=seed)["win_rate"]) for seed in range(20)]
    paired = [width(beside(seed=seed)[0]) for seed in range(20)]
    assert np.mean(paired) < 0.5 * np.mean(alone)


def test_a_run_that_said_it_would_pay_more_for_more_wins_is_not_worse_for_it():
    bold = replace(FORECAST, win_rate=0.36, cpm=16.0, margin=0.2)
    assert overall(beside(forecast=bold, win_rate=0.36, cpm=16.0)) == "on target"
    assert overall(beside(forecast=FORECAST, win_rate=0.36, cpm=16.0)) == "below target"


def test_a_control_that_wins_nothing_is_not_a_measure():
    factors = market(5, seed=0)
    own, control = totals(factors, seed=0), totals(factors, seed=0, win_rate=0.0)
    found = against_control(own, control, forecast=FORECAST, control_forecast=FORECAST, limits=LIMITS)
    assert {finding.verdict for finding in found} == {"inconclusive"}
    assert all("nothing to compare with" in finding.reason for finding in found)


def test_intervals_end_where_values_are_no_longer_possible():
    table = totals(market(2, seed=0, sd=1.5), seed=0)
    table.loc[0, "click_revenue"] *= 20
    limits = Limits(min_days=2, tolerance=0.1)
    found = {f.figure: f.live for f in against_forecast(table, forecast=FORECAST, limits=limits)}
    assert found["win_rate"].low == 0.0 and found["ctr"].low == 0.0 and found["margin"].high == 1.0


def test_only_days_of_both_are_compared():
    own, control = totals(market(6, seed=0), seed=0), totals(market(6, seed=0), seed=0, bids=50_000)
    forecasts = {"forecast": FORECAST, "control_forecast": FORECAST, "limits": LIMITS}
    found = against_control(own.iloc[4:], control.iloc[:6], **forecasts)
    assert found[0].reason.endswith("2 of 3 days")
    assert against_control(own.iloc[:0], control, **forecasts)[0].reason.endswith("0 of 3 days")


def test_the_same_seed_gives_the_same_findings():
    assert judged(seed=3) == judged(seed=3)


def test_the_forecast_is_what_the_published_bids_expect_over_their_requests():
    bids = pd.DataFrame(
        {
            "bids": [100, 300],
            "expected_win_rate": [0.5, 0.1],
            "expected_cost_cpm": [10.0, 20.0],
            "modelled_ctr": [0.01, 0.02],
            "value_cpm": [20.0, 25.0],
        }
    )
    forecast = forecast_of_bids(bids)
    assert forecast == ForecastFigures(
        win_rate=pytest.approx(80 / 400),
        cpm=pytest.approx(1100 / 80),
        ctr=pytest.approx(1.1 / 80),
        margin=pytest.approx(1 - 1100 / 1750),
    )
    assert forecast_of_bids(bids.drop(columns=["value_cpm", "modelled_ctr"])) == replace(
        forecast, ctr=None, margin=None
    )
    assert forecast_of_bids(bids.iloc[:0]) == ForecastFigures()


def test_without_a_forecast_there_is_nothing_to_say():
    table = totals(market(5, seed=0), seed=0)
    found = against_forecast(table, forecast=ForecastFigures(), limits=LIMITS)
    assert {finding.reason.rsplit(": ", 1)[1] for finding in found} == {"nothing to compare with"}
    assert overall(found) == "inconclusive"
