"""Clicks that are still coming: views are weighed by the share of their clicks that should have arrived.

The click of a view can come days later, so the clicks of a young day are too few for its views. Its `click_views` are
its wins times its maturity, which is the share of their clicks that has arrived by now: clicks / click_views is the
click rate that the day will have, in expectation. Where the log has too few clicks to show how late they come, or is
too young for late ones, figures are judged as if all had arrived, and again as if they came evenly over the longest
time; a figure whose verdict depends on that has none.
Source: docs/optimizer.md, "Clicks that are still coming".
"""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta

import pandas as pd

from optimizer.core.landscape.click_delay import LEAST_CLICKS, LONGEST_HOURS
from optimizer.core.live.performance import Finding, undecided

NEARLY_ALL = 0.99
"""A day of which this share of the clicks has arrived is taken to be complete when days are named."""

NOT_KNOWN = "the verdict depends on how late clicks come, which the log does not show yet"


def weigh_views(totals: pd.DataFrame, *, unknown: float | pd.Series = 1.0) -> pd.DataFrame:
    """Return the totals with the column click_views.

    Args:
        totals: one row a day and run, with the columns wins and click_maturity (0 to 1, NaN where it is not known).
        unknown: the maturity where it is not known, one value or one a row.
    """
    return totals.assign(click_views=totals["wins"] * totals["click_maturity"].fillna(unknown))


def judge_weighed(
    judge: Callable[[pd.DataFrame], tuple[Finding, ...]], totals: pd.DataFrame, *, now: datetime
) -> tuple[Finding, ...]:
    """Return the findings of the weighed totals; inconclusive where a maturity that is not known decides.

    Args:
        judge: totals with click_views -> a finding for each figure, always in the same order.
        totals: as in `weigh_views`, with a column day (datetime.date).
    """
    found = judge(weigh_views(totals))
    if totals["click_maturity"].notna().all():
        return found
    evenly = totals["day"].map(lambda day: evenly_arrived(day, now=now)).astype(float)
    late = judge(weigh_views(totals, unknown=evenly))
    return tuple(
        finding if finding.verdict == other.verdict else undecided(finding, why=NOT_KNOWN)
        for finding, other in zip(found, late, strict=True)
    )


def evenly_arrived(day: date, *, now: datetime) -> float:
    """Return the share of the UTC day's clicks that has arrived if they come evenly over LONGEST_HOURS."""
    middle = datetime.combine(day, time(12), UTC)
    return min(max((now - middle) / timedelta(hours=LONGEST_HOURS), 0.0), 1.0)


def arrival_sentence(maturity: Mapping[date, float | None]) -> str | None:
    """Return which share of the clicks of the latest days has arrived; None where all have.

    Args:
        maturity: by day, None where it is not known.
    """
    latest = sorted(maturity, reverse=True)[: LONGEST_HOURS // 24]
    known = {day: share for day in latest if (share := maturity[day]) is not None}
    if len(known) < len(latest):
        return f"How late clicks come is not known yet: it takes {LEAST_CLICKS} clicks, and a log of more than a week."
    parts = [
        f"{100 * share:.0f} % of the clicks of {day:%Y-%m-%d}" for day, share in known.items() if share < NEARLY_ALL
    ]
    return f"Clicks still coming: {', '.join(parts)} have arrived." if parts else None
