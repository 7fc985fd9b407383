"""The runs that were live one after the other, judged as one policy.

A daily run is replaced before its own days suffice for a verdict. The policy that makes the runs has all their days: it
is judged against the control, and against what its runs forecast for the bids that each of them placed.
Source: docs/optimizer.md, "Live figures".
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from optimizer.core.live.daily_ratio import DailyRatio, divide
from optimizer.core.live.performance import (
    FIGURES,
    ROWS,
    Finding,
    ForecastFigures,
    Limits,
    common_days,
    daily_sums,
    figure_of,
    find,
    maturity_of,
    moved,
    paired_sums,
    with_click_views,
)

_NEEDS = {
    "win_rate": ("win_rate",),
    "cpm": ("win_rate", "cpm"),
    "ctr": ("win_rate", "ctr"),
    "margin": ("win_rate", "cpm", "margin"),
}
"""Figure: what a run must forecast for its part in the sum of the forecasts."""


def policy_days(totals: pd.DataFrame, *, control_id: str | None) -> pd.DataFrame:
    """Return the sums of all runs but the control, one row a day, with the columns day and ROWS.

    Args:
        totals: one row a day and run, with the columns day, run_id and those of `daily_sums`.
    """
    policy = with_click_views(totals[totals["run_id"] != control_id])
    return policy.groupby("day")[list(ROWS)].sum().reset_index()


def policy_against_forecast(
    totals: pd.DataFrame, *, control_id: str | None, forecasts: Mapping[str, ForecastFigures], limits: Limits
) -> tuple[Finding, ...]:
    """Return a finding for each of FIGURES: all runs but the control against the sum of their forecasts.

    A run's forecast wins of a day are its bids times its forecast win rate; spend, clicks and revenue follow from them.
    A run without the forecasts that a figure needs is left out of that figure, with its bids.

    Args:
        totals: as in `policy_days`.
        control_id: the run that is not part of the policy, if there is one.
        forecasts: by run_id; a run that is missing forecasts nothing.
    """
    runs = totals[totals["run_id"] != control_id]
    findings = []
    for figure in FIGURES:
        knows = {run_id for run_id, forecast in forecasts.items() if _says(forecast, figure)}
        known = runs[runs["run_id"].isin(knows)]
        expected = figure_of(_forecast_sums(known, forecasts, figure), figure)
        own = daily_sums(policy_days(known, control_id=control_id))
        findings.append(find(figure, own, expected=expected, limits=limits))
    return tuple(findings)


def policy_against_control(
    totals: pd.DataFrame, *, control_id: str, forecasts: Mapping[str, ForecastFigures], limits: Limits
) -> tuple[Finding, ...]:
    """Return a finding for each of FIGURES: all runs but the control against the control, over the days of both.

    The control is the measure, moved by the difference between the sum of the runs' forecasts and its own forecast. A
    run without a forecast is expected to do as the control; so is every run where the control has no forecast.

    Args:
        totals, forecasts: as in `policy_against_forecast`.
    """
    days, control_days = common_days(policy_days(totals, control_id=control_id), totals[totals["run_id"] == control_id])
    runs = totals[(totals["run_id"] != control_id) & totals["day"].isin(days["day"])]
    own, control = paired_sums(days, control_days)
    control_forecast = forecasts.get(control_id, ForecastFigures())
    findings = []
    for figure in FIGURES:
        measured = figure_of(control, figure)
        expected = measured
        if _says(control_forecast, figure):
            filled = _filled(forecasts, runs, control_forecast, figure)
            policy_forecast = figure_of(_forecast_sums(runs, filled, figure), figure)
            constant = DailyRatio.constant(control_forecast.of(figure), days=measured.days)
            expected = moved(figure, measured, policy_forecast, constant)
        findings.append(find(figure, own, expected=expected, limits=limits, control=measured))
    return tuple(findings)


def _filled(
    forecasts: Mapping[str, ForecastFigures], runs: pd.DataFrame, control_forecast: ForecastFigures, figure: str
) -> dict[str, ForecastFigures]:
    """The runs' forecasts; the control's for a run that does not say what the figure needs."""
    known = {run_id: forecasts.get(run_id, control_forecast) for run_id in runs["run_id"].unique()}
    return {run_id: forecast if _says(forecast, figure) else control_forecast for run_id, forecast in known.items()}


def _says(forecast: ForecastFigures, figure: str) -> bool:
    return all(forecast.of(name) is not None for name in _NEEDS[figure])


def _forecast_sums(runs: pd.DataFrame, forecasts: Mapping[str, ForecastFigures], figure: str) -> np.ndarray:
    """What the runs forecast for their bids by now, by day in order, shape (len(ROWS), days).

    Of the clicks, and of the revenue where clicks earn, it is the share that should have arrived as of the run's views.
    """
    said = {
        name: runs["run_id"].map({run_id: forecast.of(name) for run_id, forecast in forecasts.items()}).to_numpy(float)
        for name in _NEEDS[figure]
    }
    nothing = np.zeros(len(runs))
    bids = runs["bids"].to_numpy(float)
    wins = bids * said["win_rate"]
    spend = wins * said.get("cpm", nothing) / 1000
    revenue = divide(spend, 1 - said.get("margin", nothing))
    arrived = maturity_of(runs["wins"].to_numpy(float), with_click_views(runs)["click_views"].to_numpy(float))
    do_clicks_earn = runs["click_revenue"].sum() > 0
    sums = pd.DataFrame(
        {
            "bids": bids,
            "wins": wins,
            "clicks": arrived * wins * said.get("ctr", nothing),
            "spend": spend,
            "view_revenue": nothing if do_clicks_earn else revenue,
            "click_revenue": arrived * revenue if do_clicks_earn else nothing,
            "click_views": arrived * wins,
        }
    )
    return daily_sums(sums.groupby(runs["day"].to_numpy()).sum())
