"""Floors of the SSP: steady ones, and those of an SSP that chases what it was bid."""

from dataclasses import dataclass

import numpy as np

from lab.market.settings import WorldSettings

# How the floor of an adspace varies from request to request, and how often.
FLOOR_STEPS = np.array([0.8, 1.0, 1.25])
FLOOR_STEP_SHARES = np.array([0.3, 0.5, 0.2])


@dataclass(frozen=True)
class Floors:
    """The middle floor of each adspace, CPM, shape (adspaces,), and the share of seen bids that is chased.

    `chased_cpm`, wherever it appears, is that share of the mean bid that the SSP saw the day before: 0 where nothing
    is chased.
    """

    middle_cpm: np.ndarray
    chase_share: float
    first_chase_day: int

    def chase(self, seen_bid_cpm: np.ndarray | None, *, day_number: int) -> np.ndarray:
        """Return chased_cpm, shape (adspaces,), for the mean bids that the SSP saw (NaN: none)."""
        if seen_bid_cpm is None or day_number < self.first_chase_day:
            return np.zeros_like(self.middle_cpm)
        return self.chase_share * np.nan_to_num(seen_bid_cpm)

    def price(self, *, adspaces: np.ndarray, steps: np.ndarray, chased_cpm: np.ndarray) -> np.ndarray:
        """Return the floor in cents for adspaces and indexes of FLOOR_STEPS; `chased_cpm` is by row."""
        return np.round(np.maximum(self.middle_cpm[adspaces] * FLOOR_STEPS[steps], chased_cpm), 2)

    def reach_probability(self, *, adspaces: np.ndarray, bid_cpm: np.ndarray, chased_cpm: np.ndarray) -> np.ndarray:
        """Return P(bid >= floor of a request); `adspaces` and `bid_cpm` broadcast together."""
        reached = [
            share * (bid_cpm >= self.price(adspaces=adspaces, steps=np.array(step), chased_cpm=chased_cpm[adspaces]))
            for step, share in enumerate(FLOOR_STEP_SHARES)
        ]
        return np.sum(reached, axis=0)


def create_floors(*, adspace_effects: np.ndarray, settings: WorldSettings) -> Floors:
    """Return floors at `floor_ratio` times each adspace's market level."""
    middle = settings.floor_ratio * settings.market_median_cpm * np.exp(adspace_effects)
    return Floors(middle, settings.floor_chase_share, settings.change_day)
