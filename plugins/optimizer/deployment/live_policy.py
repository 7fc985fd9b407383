"""All runs but the control, one after the other, as one policy: its verdicts, and what it saved against the control."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from functools import partial

import pandas as pd

from optimizer.control_plane.live_rows import LiveDay, LiveSavings, LiveVerdict
from optimizer.core.config.settings import RunSettings
from optimizer.core.live.click_views import judge_weighed, weigh_views
from optimizer.core.live.performance import FIGURES, SUMS, ForecastFigures, Limits, undecided
from optimizer.core.live.policy import policy_against_control, policy_against_forecast, policy_days
from optimizer.core.live.savings import measure_savings
from optimizer.deployment.verdict_records import verdict_records
from optimizer.presentation.formats import amount, signed_amount

POLICY_DAYS = 30
"""The policy is judged over this many latest days: older runs were made by other settings, and perhaps other code."""

PERIODS = ("yesterday", "month", "since_start")
"""The last day measured, its calendar month (UTC), and all days on which both bid."""


def policy_verdicts(
    days: Sequence[LiveDay],
    *,
    control_id: str | None,
    settings: RunSettings,
    now: datetime,
    undecided_why: str | None = None,
) -> list[LiveVerdict]:
    """Return the verdicts of the policy, a figure each: against its runs' forecasts, and against the control.

    Args:
        now: when the days were measured.
        undecided_why: why nothing can be said against the control now, or None.
    """
    totals = daily_table(days)
    if totals.empty:
        return []
    limits = Limits(settings.monitor_min_days, settings.live_tolerance)
    forecasts = {day.run_id: _forecast_of(day) for day in days}
    own = sorted(set(totals.loc[totals["run_id"] != control_id, "day"]))
    alone = partial(policy_against_forecast, control_id=control_id, forecasts=forecasts, limits=limits)
    found = judge_weighed(alone, totals, now=now)
    verdicts = verdict_records(found, run_id=None, days=own, compared_with="forecast")
    if control_id is not None:
        both = sorted(set(own) & set(totals.loc[totals["run_id"] == control_id, "day"]))
        compared = partial(policy_against_control, control_id=control_id, forecasts=forecasts, limits=limits)
        beside = judge_weighed(compared, totals, now=now)
        if undecided_why is not None:
            beside = tuple(undecided(finding, why=undecided_why) for finding in beside)
        verdicts += verdict_records(beside, run_id=None, days=both, compared_with="control", control_id=control_id)
    return verdicts


def savings_of(days: Sequence[LiveDay], control_id: str) -> list[LiveSavings]:
    """Return what the policy saved against the control: on the last day, in its month, since the start.

    A period without a day on which both bid is left out.
    """
    totals = weigh_views(daily_table(days))
    policy, control = policy_days(totals, control_id=control_id), totals[totals["run_id"] == control_id]
    both = sorted(set(policy["day"]) & set(control["day"]))
    if not both:
        return []
    last = both[-1]
    firsts = dict(zip(PERIODS, (last, last.replace(day=1), both[0]), strict=True))
    return [_savings(period, policy, control, since=first, run_id=control_id) for period, first in firsts.items()]


def savings_line(savings: LiveSavings) -> str:
    """Return a sentence on a period, for the task's log and the command line."""
    if savings.saved is None:
        return f"{_NAMES[savings.period]}: control {savings.run_id} won nothing, so savings are not known"
    interval = (
        "one day has no interval"
        if savings.saved_low is None or savings.saved_high is None
        else f"95 %: {signed_amount(savings.saved_low)} to {signed_amount(savings.saved_high)}"
    )
    return (
        f"{_NAMES[savings.period]} ({savings.first_day:%Y-%m-%d} to {savings.last_day:%Y-%m-%d}): "
        f"{signed_amount(savings.saved)} saved on {amount(savings.policy_spend or 0.0)} spent ({interval}), against "
        f"control {savings.run_id}"
    )


_NAMES = {"yesterday": "yesterday", "month": "this month", "since_start": "since the start"}


def daily_table(days: Iterable[LiveDay]) -> pd.DataFrame:
    """Return the daily figures as core takes them.

    Returns:
        one row a day and run, with the columns day, run_id, SUMS and click_maturity (NaN where it is not known).
    """
    names = (*SUMS, "click_maturity")
    rows = [
        {
            "day": day.day,
            "run_id": day.run_id,
            **{name: getattr(day, name) or 0.0 for name in SUMS},
            "click_maturity": day.click_maturity,
        }
        for day in days
    ]
    return pd.DataFrame(rows, columns=["day", "run_id", *names]).astype(dict.fromkeys(names, float))


def _forecast_of(day: LiveDay) -> ForecastFigures:
    return ForecastFigures(**{figure: getattr(day, f"forecast_{figure}") for figure in FIGURES})


def _savings(period: str, policy: pd.DataFrame, control: pd.DataFrame, *, since: date, run_id: str) -> LiveSavings:
    found = measure_savings(policy[policy["day"] >= since], control[control["day"] >= since])
    names = [name for name in LiveSavings.model_fields if name not in ("run_id", "period")]
    return LiveSavings.model_validate({"run_id": run_id, "period": period} | {n: getattr(found, n) for n in names})
