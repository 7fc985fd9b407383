"""Frozen models of what was measured live: days, verdicts and savings; a figure that is not known is None."""

from datetime import date
from typing import Literal

from optimizer.control_plane.records import Measure, Record


class LiveDay(Record):
    """What a run's bids brought on one UTC day, and what it forecast; spend and revenue in currency units."""

    run_id: str
    day: date
    traffic_pct: Measure = None
    bids: int
    wins: int
    clicks: int
    spend: Measure = None
    view_revenue: Measure = None
    click_revenue: Measure = None
    click_maturity: Measure = None
    forecast_win_rate: Measure = None
    forecast_cpm: Measure = None
    forecast_ctr: Measure = None
    forecast_margin: Measure = None


class LiveDaySums(Record):
    """What all runs of an entity but its control brought on one UTC day; money in currency units.

    click_views: wins, each by the share of its clicks that has arrived; clicked_spend, clicked_view_revenue: spend and
        view revenue by the same share, for a margin that does not miss clicks still coming.
    """

    day: date
    bids: int
    wins: int
    clicks: int
    spend: Measure = None
    view_revenue: Measure = None
    click_revenue: Measure = None
    click_views: float
    clicked_spend: Measure = None
    clicked_view_revenue: Measure = None

    @property
    def win_rate(self) -> float | None:
        """Wins by bid."""
        return self.wins / self.bids if self.bids else None

    @property
    def cpm(self) -> float | None:
        """Cost of a thousand wins, currency units."""
        return None if self.spend is None or not self.wins else 1000 * self.spend / self.wins

    @property
    def ctr(self) -> float | None:
        """Clicks by win, clicks still coming included."""
        return self.clicks / self.click_views if self.click_views else None

    @property
    def margin(self) -> float | None:
        """Share of the revenue that is not spent, clicks still coming included; None where no revenue is known."""
        revenue = (self.clicked_view_revenue or 0.0) + (self.click_revenue or 0.0)
        return None if self.clicked_spend is None or revenue <= 0 else 1 - self.clicked_spend / revenue


class LiveVerdict(Record):
    """One figure's verdict of one morning; run_id is None for the policy: all runs but the control."""

    run_id: str | None
    compared_with: Literal["forecast", "control", "split"]
    control_run_id: str | None = None
    figure: str
    verdict: Literal["on target", "below target", "inconclusive"]
    reason: str | None = None
    first_day: date | None = None
    last_day: date | None = None
    days: int
    live: Measure = None
    live_low: Measure = None
    live_high: Measure = None
    expected: Measure = None
    control: Measure = None
    difference: Measure = None
    difference_low: Measure = None
    difference_high: Measure = None


class LiveSavings(Record):
    """What all runs but the control brought against it; money in currency units, positive where they did better."""

    run_id: str
    period: Literal["yesterday", "month", "since_start"]
    first_day: date
    last_day: date
    days: int
    policy_bids: int | None = None
    policy_wins: int | None = None
    policy_clicks: int | None = None
    control_bids: int | None = None
    control_wins: int | None = None
    control_clicks: int | None = None
    policy_spend: Measure = None
    policy_revenue: Measure = None
    control_spend: Measure = None
    control_revenue: Measure = None
    saved: Measure = None
    saved_low: Measure = None
    saved_high: Measure = None
    gained: Measure = None
    gained_low: Measure = None
    gained_high: Measure = None
