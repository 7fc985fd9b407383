"""What the policy saved and gained in currency units, measured by a control on the same days.

The control is what would have happened without the policy. Each of its days is scaled to the policy's bids of that day,
because the two had different shares of the traffic. Both amounts are totals of the period. Their intervals are those of
the amount per bid of the policy, times its bids, and may be read every day: see `daily_ratio`.
Source: docs/optimizer.md, "Live figures".
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from optimizer.core.live.daily_ratio import DailyRatio
from optimizer.core.live.performance import ROWS, SUMS, common_days, paired_sums


@dataclass(frozen=True, slots=True)
class Savings:
    """The totals of both sides over the days on which both bid, and what the policy saved and gained on them.

    All money is in currency units, not CPM. Positive is better than the control.

    Attributes:
        first_day, last_day, days: of the days on which both bid; days between them can be missing.
        policy_bids to control_revenue: totals as counted; revenue is that of views, and of the clicks so far.
        saved: what the policy's wins would have cost at the control's CPM, less what they did cost; None where the
            control won nothing.
        gained: the policy's surplus (revenue - spend, with what the clicks still coming should earn), less the
            control's surplus scaled to the policy's bids.
        saved_low to gained_high: the 95 % intervals; None for a single day.
    """

    first_day: date
    last_day: date
    days: int
    policy_bids: float
    policy_wins: float
    policy_clicks: float
    control_bids: float
    control_wins: float
    control_clicks: float
    policy_spend: float
    policy_revenue: float
    control_spend: float
    control_revenue: float
    saved: float | None
    saved_low: float | None
    saved_high: float | None
    gained: float
    gained_low: float | None
    gained_high: float | None


def measure_savings(policy_days: pd.DataFrame, control_days: pd.DataFrame) -> Savings:
    """Return what the policy saved and gained over the days on which both bid.

    Args:
        policy_days, control_days: one row a day, with the columns day (datetime.date) and those of `daily_sums`; the
            rows of `policy.policy_days` for runs that were live one after the other.

    Raises:
        ValueError: there is no day on which both bid.
    """
    policy_rows, control_rows = common_days(policy_days, control_days)
    if policy_rows.empty:
        raise ValueError("there is no day on which both the policy and the control bid")
    policy, scaled = paired_sums(policy_rows, control_rows)
    own, other = (rows[list(SUMS)].sum() for rows in (policy_rows, control_rows))
    bids = float(own["bids"])
    saved, gained = saved_per_bid(policy, scaled), _gained_per_bid(policy, scaled)
    saved_low, saved_high = _interval(saved, bids=bids)
    gained_low, gained_high = _interval(gained, bids=bids)
    return Savings(
        first_day=policy_rows["day"].iloc[0],
        last_day=policy_rows["day"].iloc[-1],
        days=len(policy_rows),
        policy_bids=bids,
        policy_wins=float(own["wins"]),
        policy_clicks=float(own["clicks"]),
        control_bids=float(other["bids"]),
        control_wins=float(other["wins"]),
        control_clicks=float(other["clicks"]),
        policy_spend=float(own["spend"]),
        policy_revenue=float(own["view_revenue"] + own["click_revenue"]),
        control_spend=float(other["spend"]),
        control_revenue=float(other["view_revenue"] + other["click_revenue"]),
        saved=bids * float(saved.value) if np.isfinite(saved.value) else None,
        saved_low=saved_low,
        saved_high=saved_high,
        gained=bids * float(gained.value),
        gained_low=gained_low,
        gained_high=gained_high,
    )


def saved_per_bid(policy: np.ndarray, control: np.ndarray) -> DailyRatio:
    """Return what a bid of the policy saved on average, in currency units, with shape (...).

    Args:
        policy, control: sums with shape (len(ROWS), ..., days), the control's scaled as by `paired_sums`.
    """
    bids, wins, spend = (policy[ROWS.index(name)] for name in ("bids", "wins", "spend"))
    control_spend_per_win = DailyRatio.of(control[ROWS.index("spend")], control[ROWS.index("wins")])
    return DailyRatio.of(wins, bids) * control_spend_per_win - DailyRatio.of(spend, bids)


def _gained_per_bid(policy: np.ndarray, control: np.ndarray) -> DailyRatio:
    """The control's sums are already scaled to the policy's bids."""
    return _surplus_per_bid(policy) - _surplus_per_bid(control)


def _surplus_per_bid(sums: np.ndarray) -> DailyRatio:
    """What a bid earned and cost. Wins whose clicks are still coming should earn by clicks what the others earned."""
    bids, wins, _, spend, view_revenue, click_revenue, click_views = sums
    if not (click_revenue.any() and click_views.any()):
        return DailyRatio.of(view_revenue + click_revenue - spend, bids)
    of_clicks = DailyRatio.of(click_revenue, click_views) * DailyRatio.of(wins, bids)
    return DailyRatio.of(view_revenue - spend, bids) + of_clicks


def _interval(per_bid: DailyRatio, *, bids: float) -> tuple[float, float] | tuple[None, None]:
    """The 95 % interval of the total; None where it is infinite or there is no value."""
    low, high = (bids * float(per_bid.value + sign * per_bid.margin_of_error) for sign in (-1, 1))
    return (low, high) if np.isfinite([low, high]).all() else (None, None)
