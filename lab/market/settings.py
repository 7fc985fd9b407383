"""What a simulated market is made of: every parameter, its unit and where its default comes from."""

from dataclasses import dataclass
from datetime import date
from typing import Literal

from optimizer.errors import ConfigError


@dataclass(frozen=True, slots=True)
class WorldSettings:
    """The parameters of one entity's market. Shares are of requests; effects and sds are in units of log price.

    A segment is one (internal_adspace_id, geo_region_name, os_code). `typical_bids` is the log size at which segments
    have the skew of the real logs: 43 % under 10 bids, 27 % from 10 to 49, 30 % more. Clicks come after seconds;
    `click_delay_hours` adds an exponential delay with that mean. Fields from `change_day` on are off by default and
    belong to `lab.market.scenarios`.
    """

    object_id: int = 1334
    first_day: date = date(2026, 1, 5)
    auction_type: Literal["first_price", "second_price"] = "first_price"

    adspaces: int = 12
    segments: int = 1_530
    domains: int = 120
    npis: int = 6_000
    identified_share: float = 0.40
    typical_bids: int = 300_000

    market_median_cpm: float = 24.0
    adspace_sd: float = 0.60
    region_sd: float = 0.15
    os_sd: float = 0.25
    adspace_region_sd: float = 0.15
    domain_sd: float = 0.20
    quality_sd: float = 0.30
    day_sd: float = 0.06
    trend_per_day: float = 0.001

    round_price_share: float = 0.28
    no_rival_share: float = 0.05
    lost_otherwise_share: float = 0.03

    logged_win_rate: float = 0.30
    click_rate: float = 0.00035
    click_sd: float = 0.25
    click_delay_hours: float = 0.0
    value_ratio: float = 1.3
    is_paid_per_click: bool = True

    floor_ratio: float = 0.0
    passes_floors: bool = False

    change_day: int = 21
    price_step: float = 0.0
    new_rival_share: float = 0.0
    floor_chase_share: float = 0.0
    adspace_appears: bool = False
    adspace_goes: bool = False
    is_flat_only: bool = False

    def __post_init__(self) -> None:
        problems = [
            f"{name}={value} must be at least {low}"
            for name, low in _LOWEST.items()
            if not (value := getattr(self, name)) >= low
        ]
        problems += [
            f"{name}={value} must be a share between 0 and 1"
            for name in _SHARES
            if not 0.0 <= (value := getattr(self, name)) <= 1.0
        ]
        if problems:
            raise ConfigError(f"simulated market {self.object_id}: " + "; ".join(problems))


_LOWEST = {
    "adspaces": 3,
    "segments": 10,
    "domains": 2,
    "npis": 0,
    "typical_bids": 1,
    "market_median_cpm": 0.05,
    "click_rate": 0.0,
    "click_delay_hours": 0.0,
    "floor_ratio": 0.0,
}
_SHARES = (
    "identified_share",
    "round_price_share",
    "no_rival_share",
    "lost_otherwise_share",
    "logged_win_rate",
    "new_rival_share",
    "floor_chase_share",
)
