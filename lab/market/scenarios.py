"""What can happen to a market, by name. Everything sets in on `change_day` days after the market's first day."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lab.market.settings import WorldSettings
from optimizer.errors import ConfigError

SCENARIOS: Mapping[str, Mapping[str, Any]] = {
    "steady": {},
    "demand_step": {"price_step": 0.30},
    "new_rival": {"new_rival_share": 0.5},
    "floor_chasing": {"floor_chase_share": 0.85},
    "adspace_appears": {"adspace_appears": True},
    "adspace_goes": {"adspace_goes": True},
    "flat_bids": {"is_flat_only": True},
}


def with_scenario(settings: WorldSettings, *, name: str, change_day: int | None = None) -> WorldSettings:
    """Return the settings of a market in which the scenario happens, from `change_day` (0 is the first day) on.

    Raises:
        ConfigError: the scenario does not exist.
    """
    if name not in SCENARIOS:
        raise ConfigError(f"no scenario is called {name!r}; choose one of {', '.join(sorted(SCENARIOS))}")
    return replace(settings, **SCENARIOS[name], change_day=settings.change_day if change_day is None else change_day)
