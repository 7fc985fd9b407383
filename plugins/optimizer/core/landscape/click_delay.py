"""The delay from view to click, and which share of a view's clicks have arrived at an age.

A click is in the log only if its delay is at most the age of its view: delays are right truncated, and short ones are
seen too often. The estimator is Lynden-Bell's, which is Kaplan-Meier in reverse time (Lynden-Bell 1971, MNRAS 155;
Woodroofe 1985, Annals of Statistics 13): the share of clicks that come before hour k is the product over the hours
s >= k of 1 - (clicks with delay s) / (clicks with delay <= s whose view is older than s).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

LONGEST_HOURS = 168
"""Clicks are expected within a week of the view: the time for which the log's bids are looked for, too."""

LEAST_CLICKS = 50
"""Fewer clicks than this show no delay. With 50, a share of .6 has a standard error of .07."""

LEAST_OLDER_CLICKS = 25
"""The delay is learned up to an hour that this many clicks' views are older than."""


@dataclass(frozen=True, slots=True)
class ClickDelay:
    """The distribution of the delay from view to click.

    Attributes:
        arrived: share of the clicks that come within k hours, shape (hours + 1,), from 0 to 1. What comes later than
            the last of these hours is not known and counts as nothing; see `is_whole`.
        clicks: the clicks that it was learned from.
    """

    arrived: np.ndarray = field(repr=False)
    clicks: int

    @property
    def is_whole(self) -> bool:
        """Whether the log is old enough to show clicks up to LONGEST_HOURS after their views."""
        return len(self.arrived) > LONGEST_HOURS

    def completeness(self, age_hours: np.ndarray) -> np.ndarray:
        """Return the share of the clicks that have arrived at these ages of the view, same shape, 0 to 1."""
        return np.interp(age_hours, np.arange(len(self.arrived)), self.arrived)


def learn_click_delay(counts: pd.DataFrame) -> ClickDelay | None:
    """Return the delay that the log shows; None where it has too few clicks.

    Only hours that are over count: a view that is `age_hours` whole hours old shows the delays below it.

    Args:
        counts: columns age_hours, delay_hours (NaN without a click) and views, as in
            include/sql/snowflake/click_delays.sql.
    """
    clicks = _clicks_by_age_and_delay(counts)
    older = clicks.sum(1)[::-1].cumsum()[::-1][1:]
    hours = int((older >= LEAST_OLDER_CLICKS).sum())
    clicks = clicks[:, :hours]
    if clicks.sum() < LEAST_CLICKS:
        return None
    is_older = np.arange(LONGEST_HOURS + 1)[:, None] > np.arange(hours)
    at_risk = (clicks.cumsum(1) * is_older).sum(0)
    earlier = 1 - np.divide(clicks.sum(0), at_risk, out=np.zeros(hours), where=at_risk > 0)
    return ClickDelay(np.append(np.cumprod(earlier[::-1])[::-1], 1.0), int(clicks.sum()))


def _clicks_by_age_and_delay(counts: pd.DataFrame) -> np.ndarray:
    """The clicks by whole hours of age and delay of the view, shape (LONGEST_HOURS + 1, LONGEST_HOURS)."""
    clicked = counts[counts["delay_hours"] < counts["age_hours"]]
    age, delay = (clicked[name].to_numpy(int) for name in ("age_hours", "delay_hours"))
    table = np.zeros((LONGEST_HOURS + 1, LONGEST_HOURS))
    np.add.at(table, (np.minimum(age, LONGEST_HOURS), delay), clicked["views"].to_numpy(float))
    return table


@dataclass(frozen=True, slots=True)
class ClickMaturity:
    """The share of the clicks that has arrived, 0 to 1.

    Attributes:
        by_day: by UTC day of the bid; days without views are left out.
        is_whole: whether the log was old enough to show late clicks, see `ClickDelay`; else shares may be too large.
    """

    by_day: Mapping[date, float]
    is_whole: bool


def learn_click_maturity(counts: pd.DataFrame) -> ClickMaturity | None:
    """Return the maturity of each day of the counts, by the delay that they show; None where they have too few clicks.

    Args:
        counts: as in `completeness_by_day`.
    """
    delay = learn_click_delay(counts)
    return None if delay is None else ClickMaturity(completeness_by_day(counts, delay), delay.is_whole)


def mature_day(end: date) -> date:
    """Return the latest UTC day of bids whose clicks have all arrived when a window ends at the start of `end`."""
    return end - timedelta(hours=LONGEST_HOURS) - timedelta(days=1)


def count_click_views(cells: pd.DataFrame, maturity: Mapping[date, float]) -> pd.DataFrame:
    """Return the cells with `click_views`: the views that clicks are to be compared with.

    A clicked view counts as one, and one without a click as the share of the clicks that has arrived: the rest of them
    may still be clicked.

    Args:
        cells: one row a cell, with the columns day, wins and clicks. Without a day, as an earlier release staged totals
            of NPIs, all clicks have arrived.
        maturity: by UTC day; all clicks of other days have arrived.
    """
    if "day" not in cells:
        return cells.assign(click_views=cells["wins"].astype(float))
    arrived = pd.to_datetime(cells["day"]).dt.date.map(dict(maturity)).astype(float).fillna(1.0)
    return cells.assign(click_views=cells["clicks"] + (cells["wins"] - cells["clicks"]) * arrived)


def completeness_by_day(counts: pd.DataFrame, delay: ClickDelay) -> Mapping[date, float]:
    """Return the share of the clicks that have arrived by day of the bid: the mean over the day's views.

    Args:
        counts: as in `learn_click_delay`, with the column day (datetime.date); days without views are left out.
    """
    views = counts["views"].to_numpy(float)
    arrived = delay.completeness(counts["age_hours"].to_numpy(float) + 0.5) * views
    rows_by_day: Mapping[Any, Any] = counts.groupby("day").indices
    return {day: float(arrived[rows].sum() / views[rows].sum()) for day, rows in rows_by_day.items()}
