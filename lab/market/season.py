"""How the whole market moves from day to day: weekday, trend, autoregressive noise and a scenario's step."""

from dataclasses import dataclass
from datetime import date

import numpy as np

from lab.market.settings import WorldSettings
from lab.market.streams import open_stream
from optimizer.errors import DataError

HORIZON_DAYS = 1_096

_WEEKDAY_EFFECTS = np.array([0.02, 0.04, 0.05, 0.03, 0.0, -0.08, -0.06])
_MEMORY = 0.7


@dataclass(frozen=True)
class Season:
    """Effects on log price by day number (0 is the market's first day); `noise` has shape (days, adspaces)."""

    settings: WorldSettings
    noise: np.ndarray

    def number(self, day: date) -> int:
        """Return days since the market's first day.

        Raises:
            DataError: the market has no such day.
        """
        first = self.settings.first_day
        number = (day - first).days
        if not 0 <= number < HORIZON_DAYS:
            raise DataError(
                f"{day} is outside the simulated market, which lasts {HORIZON_DAYS} days from {first}; "
                "set first_day in WorldSettings"
            )
        return number

    def log_effect(self, day_numbers: np.ndarray | int, *, adspaces: np.ndarray) -> np.ndarray:
        """Return the day's effect on log price; day numbers and adspaces broadcast together."""
        days, settings = np.asarray(day_numbers), self.settings
        return (
            _WEEKDAY_EFFECTS[(settings.first_day.weekday() + days) % 7]
            + settings.trend_per_day * days
            + self.noise[days, adspaces]
            + settings.price_step * (days >= settings.change_day)
        )

    def new_rival_share(self, day_numbers: np.ndarray | int, *, adspaces: np.ndarray) -> np.ndarray:
        """Return the share of auctions that the new rival joins: on every second adspace, from its day on."""
        is_there = (np.asarray(day_numbers) >= self.settings.change_day) & (np.asarray(adspaces) % 2 == 0)
        return self.settings.new_rival_share * is_there

    def open_adspaces(self, day_numbers: np.ndarray, *, by_size: np.ndarray) -> np.ndarray:
        """Return which adspaces have requests, shape (days, adspaces); the third largest comes or goes."""
        is_open = np.ones((len(day_numbers), len(by_size)), dtype=bool)
        is_changed = np.asarray(day_numbers) >= self.settings.change_day
        if self.settings.adspace_appears:
            is_open[~is_changed, by_size[2]] = False
        if self.settings.adspace_goes:
            is_open[is_changed, by_size[2]] = False
        return is_open


def create_season(seed: int, *, settings: WorldSettings) -> Season:
    """Return the market's season: half the noise is common to all adspaces, half each one's own."""
    rng = open_stream(seed, "season")
    shocks = rng.normal(0, np.sqrt((1 - _MEMORY**2) / 2), (HORIZON_DAYS, settings.adspaces + 1))
    states = np.empty_like(shocks)
    states[0] = shocks[0] / np.sqrt(1 - _MEMORY**2)
    for day in range(1, HORIZON_DAYS):
        states[day] = _MEMORY * states[day - 1] + shocks[day]
    return Season(settings, settings.day_sd * (states[:, :1] + states[:, 1:]))
