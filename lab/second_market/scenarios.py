"""The markets of the second family by name, each with its target and what a run should do in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal
from zlib import crc32

from lab.second_market.market import Market
from lab.second_market.settings import MarketSettings

Expected = Literal["reach", "hold", "shortfall", "either"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A market, a target and what is right in it.

    expected: `reach` the target; `hold` the usual bids and say that the run is learning, since the log does not show it
        the slope; say that the target cannot be reached (`shortfall`); `either` reach it or hold.
    can_reach_next_week: False if the log does not determine the week after it.
    is_base: nothing but the base market's bids is in it, so that bids near the ideal can be asked for.
    """

    name: str
    note: str
    market: MarketSettings = field(default_factory=MarketSettings)
    expected: Expected = "reach"
    target_win_rate: float = 0.5
    can_reach_next_week: bool = True
    is_base: bool = False

    def create(self, seed: int) -> Market:
        """Return the market of this seed; the markets of two scenarios have nothing in common."""
        return Market.create(self.market, seed=crc32(f"{self.name} {seed}".encode()))


_COARSE = MarketSettings(regions=40, region_sd=0.05, system_sd=0.08, segment_sd=0.12, fine_plan_power=1.0)
"""Effects too fine for a key, which the plans know: within a key, bids are high where the rivals are."""

_FOLLOW_SEGMENTS = MarketSettings(segment_day_sd=0.25, follow_power=1.0, jitter_sd=0.02)


def _noise(values: int) -> Scenario:
    return Scenario(
        f"noise_{values}",
        f"jitter, and a candidate feature of {values:,} random values; the plans know more than the key",
        replace(_COARSE, noise_values=values),
    )


_ALL = (
    Scenario(
        "base",
        "bids jittered by segment and day; plans follow the rivals' levels; 3 % lost whatever is bid",
        is_base=True,
    ),
    Scenario(
        "per_request_jitter",
        "the same, jittered by request",
        MarketSettings(is_jittered_by_request=True),
        is_base=True,
    ),
    Scenario(
        "no_jitter",
        "one bid a segment on all days, which follows the rivals across segments",
        MarketSettings(jitter_sd=0.0, plan_power=1.0, fine_plan_power=1.0),
        expected="hold",
    ),
    Scenario(
        "no_jitter_coarse_key",
        "the same, with effects too fine for a key: bids differ within it, and follow the rivals",
        replace(_COARSE, jitter_sd=0.0, plan_power=1.0, segment_sd=0.15),
        expected="hold",
    ),
    Scenario("flat_bids", "one bid for everything", MarketSettings(is_flat=True), expected="hold"),
    Scenario(
        "follow_adspace_day",
        "jitter, and bids that follow the rivals' shocks by adspace and day; regions differ most",
        MarketSettings(adspace_sd=0.16, region_sd=0.34, adspace_day_sd=0.12, follow_power=1.0),
    ),
    Scenario(
        "follow_region_day",
        "jitter, and bids that follow the rivals' shocks by region and day",
        MarketSettings(region_day_sd=0.12, follow_power=1.0),
    ),
    Scenario(
        "follow_segment_day",
        "bids follow the rivals' shocks by segment and day (AR(1), .7); jitter of 2 %",
        _FOLLOW_SEGMENTS,
        expected="hold",
    ),
    Scenario(
        "follow_segment_day_iid",
        "the same with shocks that are independent from day to day",
        replace(_FOLLOW_SEGMENTS, shock_memory=0.0),
        expected="hold",
    ),
    *(_noise(values) for values in (10, 500, 5_000, 50_000)),
    Scenario("hour_of_day", "prices differ by part of the day (sd .30)", MarketSettings(day_part_sd=0.30)),
    Scenario(
        "round_prices_hidden_floors",
        "30 % of the rivals bid round prices; 6 of 10 adspaces have a floor that is never passed",
        MarketSettings(round_share=0.30, has_floors=True),
    ),
    Scenario(
        "zipf_traffic",
        "12,000 segments, most of them with very few bids",
        MarketSettings(adspaces=80, regions=50, traffic_exponent=1.3),
    ),
    Scenario(
        "sigma_1.5",
        "rivals' prices spread more within a segment, so that bids matter less",
        MarketSettings(modes=((1.0, 0.0, 1.5),), logged_win_rate=0.47),
    ),
    Scenario(
        "bimodal",
        "rivals of two kinds: 55 % at .6 and 45 % at 1.8 times the level",
        MarketSettings(modes=((0.55, -0.5, 0.35), (0.45, 0.6, 0.35))),
    ),
    Scenario(
        "lost_notices",
        "10 % of the win notices never arrive, before and after; the target counts those that do",
        MarketSettings(lost_notices=0.10),
    ),
    Scenario(
        "drift_up_20",
        "prices rise by 20 % over the log's last two weeks and stay there",
        MarketSettings(trend_log=0.182, logged_win_rate=0.50),
    ),
    Scenario(
        "drift_goes_on",
        "the same, and they go on rising at that pace",
        MarketSettings(trend_log=0.182, trend_goes_on=True, logged_win_rate=0.50),
        can_reach_next_week=False,
    ),
    Scenario(
        "margin_binding",
        "views earn so much that one bid at the margin wins .47",
        MarketSettings(margin_win_rate=0.47, logged_win_rate=0.42),
        expected="shortfall",
    ),
    Scenario(
        "unreachable_target",
        "one bid at the cap wins .47",
        MarketSettings(cap_win_rate=0.47, logged_win_rate=0.42),
        expected="shortfall",
    ),
    Scenario("second_price", "the winner pays the best rival's price", MarketSettings(is_second_price=True)),
    Scenario("short_log", "4 days of 25,000 bids", MarketSettings(log_days=4, bids_a_day=25_000)),
    Scenario("small_log", "8,000 bids in 60 days", MarketSettings(bids_a_day=133), expected="either"),
    Scenario("null_regions", "the region of 10 % of the requests is null", MarketSettings(hidden_region_share=0.10)),
)

SCENARIOS: Mapping[str, Scenario] = {scenario.name: scenario for scenario in _ALL}
