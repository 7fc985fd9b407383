"""The markets of the second family by name, each with its target and what a run should do in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from optimizer.second_market.market import Market
from optimizer.second_market.settings import MarketSettings

Expected = Literal["reach", "hold", "shortfall"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A market, a target and what is right in it.

    expected: `reach` the target; `hold` the usual bids and say that the run is learning, since the log does not tell
        the slope; say that the target cannot be reached (`shortfall`).
    can_reach_next_week: False where nobody who reads the log could know the week after it.
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
        return Market.create(self.market, seed=seed)


def _noise(values: int) -> Scenario:
    return Scenario(
        f"noise_{values}",
        f"base, with a candidate feature of {values:,} random values",
        MarketSettings(noise_values=values),
        is_base=True,
    )


_ALL = (
    Scenario(
        "base",
        "bids jittered by segment and day; plans follow the rivals' levels; 3 % lost whatever is bid",
        is_base=True,
    ),
    Scenario(
        "no_jitter",
        "one bid a segment on all days, which follows the rivals across segments",
        MarketSettings(jitter_sd=0.0, plan_power=1.0, plan_noise_sd=0.10),
        expected="hold",
    ),
    Scenario(
        "follow_adspace_day",
        "jitter, and bids that follow the rivals' shocks by adspace and day",
        MarketSettings(adspace_day_sd=0.15, follow_power=1.0),
    ),
    Scenario(
        "follow_region_day",
        "jitter, and bids that follow the rivals' shocks by region and day",
        MarketSettings(region_day_sd=0.15, follow_power=1.0),
    ),
    Scenario(
        "follow_segment_day",
        "bids follow the rivals' shocks by segment and day (AR(1), .7); jitter of 2 %",
        MarketSettings(segment_day_sd=0.25, follow_power=1.0, jitter_sd=0.02),
        expected="hold",
    ),
    Scenario(
        "follow_segment_day_iid",
        "the same with shocks that are independent from day to day",
        MarketSettings(segment_day_sd=0.25, shock_memory=0.0, follow_power=1.0, jitter_sd=0.02),
        expected="hold",
    ),
    *(_noise(values) for values in (10, 500, 5_000, 50_000)),
    Scenario("hour_of_day", "prices differ by part of the day (sd .30)", MarketSettings(day_part_sd=0.30)),
    Scenario(
        "round_prices_hidden_floors",
        "30 % of the rivals bid round prices; 6 of 10 adspaces have a floor that is never passed",
        MarketSettings(round_share=0.30, has_floors=True),
    ),
)

SCENARIOS: Mapping[str, Scenario] = {scenario.name: scenario for scenario in _ALL}
