"""What a market of the second family is made of. All of it is a value, so that a scenario is a `replace`."""

from dataclasses import dataclass
from datetime import date

FIRST_DAY = date(2026, 3, 2)
"""Day number 0 of every market."""

FUTURE_DAYS = 14
"""Days after the log for which a market has prices."""

Mode = tuple[float, float, float]
"""A normal component of the log of the best rival's price: share, shift, standard deviation."""


@dataclass(frozen=True, slots=True)
class MarketSettings:
    """One market and the policy that made its log. Prices are CPM; sd are of log prices.

    Traffic: a segment is adspace x region x os; shares fall with rank to the power of minus traffic_exponent.
    Browser, domain, NPI and the noise column (noise_values 0: none) have no effect on anything.
    hidden_region_share: share of requests whose region is null; rivals still know it.

    Best rival: log price = level of the segment + day + part of the day + one of `modes`. The day's part is a drift
    common to all segments, shocks by adspace, region or segment, all AR(1), and a trend: trend_log in total over the
    last trend_days of the log, at the same pace afterwards if trend_goes_on.
    round_share: share of prices moved to the nearest round price; has_floors: hidden floors by adspace, never passed.
    lost_share: share of auctions that no bid wins; lost_notices: share of wins whose view never reaches the log.

    Log policy: log bid = plan_power x effect of the adspace + fine_plan_power x all other effects of the segment
    + N(0, plan_noise_sd) by segment + follow_power x the day's shocks + jitter, scaled so that logged_win_rate is won.
    The cheapest bids follow the levels with a power of about a third. is_flat: one bid for all.

    cap_win_rate, margin_win_rate: one bid at the cap, or at the highest bid that keeps the margin, wins this; None:
    neither binds, and nothing is earned.
    """

    adspaces: int = 20
    regions: int = 12
    systems: int = 3
    browsers: int = 4
    domains: int = 40
    professionals: int = 1_500
    identified_share: float = 0.1
    noise_values: int = 0
    hidden_region_share: float = 0.0
    traffic_exponent: float = 0.7
    log_days: int = 60
    bids_a_day: int = 5_000

    median_cpm: float = 10.0
    adspace_sd: float = 0.34
    region_sd: float = 0.16
    system_sd: float = 0.14
    segment_sd: float = 0.08
    modes: tuple[Mode, ...] = ((1.0, 0.0, 0.8),)
    drift_sd: float = 0.05
    drift_memory: float = 0.8
    adspace_day_sd: float = 0.0
    region_day_sd: float = 0.0
    segment_day_sd: float = 0.0
    shock_memory: float = 0.7
    trend_log: float = 0.0
    trend_days: int = 14
    trend_goes_on: bool = False
    day_part_sd: float = 0.0
    round_share: float = 0.0
    has_floors: bool = False
    lost_share: float = 0.03
    lost_notices: float = 0.0
    is_second_price: bool = False

    plan_power: float = 0.5
    fine_plan_power: float = 0.5
    plan_noise_sd: float = 0.05
    follow_power: float = 0.0
    jitter_sd: float = 0.10
    is_jittered_by_request: bool = False
    is_flat: bool = False
    logged_win_rate: float = 0.45

    click_rate: float = 0.0002
    cap_win_rate: float | None = None
    margin_win_rate: float | None = None

    @property
    def days(self) -> int:
        """Days that the market has prices for."""
        return self.log_days + FUTURE_DAYS

    @property
    def log_bids(self) -> int:
        return self.log_days * self.bids_a_day
