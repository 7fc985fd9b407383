"""Daily runs judged as one policy: against the control, and against what each of them forecast."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lab.live_market.runs import draw_effects, draw_sums, frame_of
from optimizer.core.live.performance import (
    FIGURES,
    SUMS,
    Finding,
    ForecastFigures,
    Limits,
    against_control,
    against_forecast,
    overall,
)
from optimizer.core.live.policy import policy_against_control, policy_against_forecast, policy_days

FORECAST = ForecastFigures(win_rate=0.30, cpm=12.0, ctr=0.01, margin=0.40)
LIMITS = Limits(min_days=3, tolerance=0.1)
CONTROL = "control"


def daily_runs(win_rates: list[float], *, seed: int = 0, market: float = 1.0, bids: int = 100_000) -> pd.DataFrame:
    """Return the totals of a new run each day, with these win rates, beside a control that wins .30."""
    rng = np.random.default_rng(seed)
    effects = draw_effects(rng, worlds=1, days=len(win_rates)) * market
    own = frame_of(draw_sums(rng, effects * np.array(win_rates) / 0.30, bids=bids)[:, 0])
    control = frame_of(draw_sums(rng, effects)[:, 0])
    return pd.concat([own.assign(run_id=[f"run{day}" for day in own["day"]]), control.assign(run_id=CONTROL)])


def forecasts_of(days: int, *, win_rates: list[float] | None = None) -> dict[str, ForecastFigures]:
    rates = win_rates or [0.30] * days
    return {CONTROL: FORECAST} | {f"run{day}": replace(FORECAST, win_rate=rate) for day, rate in enumerate(rates)}


def beside(totals: pd.DataFrame, forecasts: dict[str, ForecastFigures]) -> dict[str, Finding]:
    found = policy_against_control(totals, control_id=CONTROL, forecasts=forecasts, limits=LIMITS)
    return {finding.figure: finding for finding in found}


def alone(totals: pd.DataFrame, forecasts: dict[str, ForecastFigures]) -> dict[str, Finding]:
    found = policy_against_forecast(totals, control_id=CONTROL, forecasts=forecasts, limits=LIMITS)
    return {finding.figure: finding for finding in found}


def verdict(found: dict[str, Finding]) -> str:
    return overall(tuple(found.values()))


def test_a_policy_of_one_run_is_judged_as_the_run():
    totals = daily_runs([0.28] * 6).replace({"run_id": {f"run{day}": "run" for day in range(6)}})
    bold = replace(FORECAST, win_rate=0.33, cpm=13.0, margin=0.35)
    forecasts, own, control = (
        {"run": bold, CONTROL: FORECAST},
        totals[totals["run_id"] == "run"],
        totals[totals["run_id"] == CONTROL],
    )
    by_forecast = against_forecast(own, forecast=bold, limits=LIMITS)
    by_control = against_control(own, control, forecast=bold, control_forecast=FORECAST, limits=LIMITS)
    for figure, of_run, of_run_beside in zip(FIGURES, by_forecast, by_control, strict=True):
        assert alone(totals, forecasts)[figure].reason == of_run.reason
        assert beside(totals, forecasts)[figure].reason == of_run_beside.reason
        assert beside(totals, forecasts)[figure].difference.low == pytest.approx(of_run_beside.difference.low)


def test_daily_runs_get_a_verdict_though_none_of_them_is_live_for_two_days():
    good, bad = daily_runs([0.30] * 5), daily_runs([0.20] * 5)
    assert verdict(beside(good, forecasts_of(5))) == verdict(alone(good, forecasts_of(5))) == "on target"
    assert verdict(beside(bad, forecasts_of(5))) == verdict(alone(bad, forecasts_of(5))) == "below target"


@pytest.mark.parametrize("days", [1, 2])
def test_the_first_two_days_have_figures_and_no_verdict(days: int):
    found = beside(daily_runs([0.30] * days), forecasts_of(days))
    assert found["win_rate"].reason.endswith(f"{days} of 3 days")
    assert found["win_rate"].live.value == pytest.approx(0.30, abs=0.06)


def test_each_run_is_held_to_its_own_forecast():
    rates = [0.20, 0.40, 0.25, 0.35, 0.30]
    totals, forecasts = daily_runs(rates), forecasts_of(5, win_rates=rates)
    assert verdict(alone(totals, forecasts)) == verdict(beside(totals, forecasts)) == "on target"
    assert beside(totals, forecasts)["win_rate"].shortfall.value == pytest.approx(0, abs=0.04)
    assert alone(totals, forecasts)["win_rate"].expected == pytest.approx(np.mean(rates))


def test_the_sum_of_the_forecasts_weighs_runs_by_bids_and_prices_by_forecast_wins():
    rows = [(0, "a", 1000), (0, "b", 3000), (1, "b", 2000), (1, CONTROL, 500)]
    totals = pd.DataFrame(rows, columns=["day", "run_id", "bids"]).reindex(columns=["day", "run_id", *SUMS]).fillna(1.0)
    forecasts = {
        "a": ForecastFigures(win_rate=0.5, cpm=10.0, ctr=0.02, margin=0.5),
        "b": ForecastFigures(win_rate=0.1, cpm=20.0, ctr=0.01, margin=0.2),
    }
    expected = {figure: found.expected for figure, found in alone(totals, forecasts).items()}
    assert expected == {
        "win_rate": pytest.approx(1000 / 6000),
        "cpm": pytest.approx((500 * 10 + 500 * 20) / 1000),
        "ctr": pytest.approx(0.015),
        "margin": pytest.approx(1 - 15 / (5 / 0.5 + 10 / 0.8)),
    }


def test_a_market_that_falls_breaks_the_forecasts_and_not_the_comparison():
    totals = daily_runs([0.30] * 6, market=0.6)
    assert verdict(alone(totals, forecasts_of(6))) == "below target"
    assert verdict(beside(totals, forecasts_of(6))) == "on target"


def test_a_run_without_a_forecast_is_left_out_of_it_and_expected_to_do_as_the_control():
    totals, forecasts = daily_runs([0.30, 0.30, 0.05, 0.30, 0.30]), forecasts_of(5)
    del forecasts["run2"]
    assert alone(totals, forecasts)["win_rate"].live.value == pytest.approx(0.30, abs=0.03)
    assert alone(totals, forecasts)["win_rate"].verdict == "on target"
    assert beside(totals, forecasts)["win_rate"].expected == pytest.approx(0.30, abs=0.03)
    nothing = alone(totals, {})
    assert {finding.verdict for finding in nothing.values()} == {"inconclusive"}
    assert beside(totals, {})["win_rate"].expected == pytest.approx(beside(totals, {})["win_rate"].control)


def test_a_policy_as_good_as_its_control_is_hardly_ever_below_target_on_any_of_14_days():
    found = 0
    for seed in range(8):
        totals = daily_runs([0.30] * 14, seed=seed)
        looks = [totals[totals["day"] < days] for days in range(3, 15)]
        found += any(verdict(beside(look, forecasts_of(14))) == "below target" for look in looks)
    assert found == 0


def test_days_without_the_control_are_not_compared_and_the_policy_has_one_row_a_day():
    totals = daily_runs([0.30] * 5)
    totals = totals[(totals["run_id"] != CONTROL) | (totals["day"] > 2)]
    assert beside(totals, forecasts_of(5))["win_rate"].reason.endswith("2 of 3 days")
    twice = pd.concat([totals, totals[totals["run_id"] != CONTROL].assign(run_id="other")])
    assert policy_days(twice, control_id=CONTROL)["bids"].tolist() == [200_000.0] * 5
    assert beside(totals.iloc[:0], forecasts_of(5))["win_rate"].reason.endswith("0 of 3 days")
