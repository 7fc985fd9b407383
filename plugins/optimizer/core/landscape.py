"""The bid landscape: the chance to win as a function of the bid, and its inverses.

P(win | bid) = sigmoid(level + slope * log(bid / reference)), a level for each segment and a slope that is shared.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

_GRID = np.linspace(-30.0, 30.0, 6001)


@dataclass(frozen=True, slots=True)
class Landscape:
    """Win-rate curves that share a slope. Bids are CPM; `slope` is in logit units per unit of log bid and positive."""

    reference_cpm: float
    slope: float

    def __post_init__(self) -> None:
        if not (self.slope > 0 and self.reference_cpm > 0):
            raise ValueError(f"slope {self.slope} and reference {self.reference_cpm} must be positive")

    def win_rate(self, level: np.ndarray, bid_cpm: np.ndarray) -> np.ndarray:
        """Return P(win) at the bids; shapes broadcast."""
        return expit(level + self.slope * np.log(bid_cpm / self.reference_cpm))

    def bid_for_win_rate(self, level: np.ndarray, target_win_rate: float) -> np.ndarray:
        """Return the bid that wins with the target probability."""
        return self.reference_cpm * np.exp((logit(target_win_rate) - level) / self.slope)

    def best_response(self, level: np.ndarray, value_cpm: np.ndarray) -> np.ndarray:
        """Return the bid with the largest (value - bid) * P(win | bid); 0 where the value is not positive.

        The first-order condition is value / scale = h(z), with z the logit of the win rate, scale the bid at z = 0 and
        h(z) = exp(z / slope) * (1 + (1 + e^z) / slope): one increasing function for all segments, inverted by a table.
        Source: docs/optimizer.md, "From landscape to bid".
        """
        scale = self.reference_cpm * np.exp(-level / self.slope)
        log_h = _GRID / self.slope + np.log1p((1.0 + np.exp(_GRID)) / self.slope)
        with np.errstate(divide="ignore"):
            win_logit = np.interp(np.log(np.maximum(value_cpm, 0.0) / scale), log_h, _GRID)
        return np.where(value_cpm > 0, scale * np.exp(win_logit / self.slope), 0.0)
