"""Steps of the win-rate curve: rivals like round prices, so a bid a cent above one wins more than a bid just below.

A share of the rivals' prices is rounded to the nearest rung of a ladder of prices, the same for all segments; the rest
is smooth. A bid then beats a rounded price where it is above the rung: P(b) = (1 - share) F(b) + share F(edge(b)), with
edge(b) the price below which everything is rounded to a rung under the bid.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

CENT = 0.01
HIGHEST_CPM = 1_000.0

LATER_SHARE = 0.3
"""Share of the days, the latest, on which a ladder found on the earlier ones has to predict better."""

LEAST_GAIN = 8.0
"""Log-likelihood that a ladder gains over the smooth curve on all days: z = 4, since five ladders are tried."""

LEAST_SHARE = 0.03
LARGEST_SHARE = 0.8
"""A larger share is not one of rounded prices: the ladder stands for something else."""

MOST_SHARE = 0.9


def _ladder(*parts: tuple[float, float]) -> np.ndarray:
    """Rungs from 0 on: each part goes up to a price, CPM, in steps of so much."""
    rungs, start = [], 0.0
    for end, step in parts:
        rungs.append(np.arange(round(start / step) + 1, round(end / step) + 1) * step)
        start = end
    return np.concatenate(rungs)


LADDERS: dict[str, np.ndarray] = {
    "0.10": _ladder((HIGHEST_CPM, 0.10)),
    "0.25": _ladder((HIGHEST_CPM, 0.25)),
    "0.50": _ladder((HIGHEST_CPM, 0.50)),
    "1.00": _ladder((HIGHEST_CPM, 1.00)),
    "coarser as prices rise": _ladder((2.0, 0.25), (5.0, 0.5), (20.0, 1.0), (100.0, 5.0), (HIGHEST_CPM, 25.0)),
}
"""Round prices by name, CPM, rising. Rungs as far apart as the rivals' prices spread would be taken for their curve."""


@dataclass(frozen=True, slots=True)
class PriceSteps:
    """Which prices are round, and the share of the rivals' prices that are rounded to them, 0 to 1."""

    ladder: str
    share: float

    @property
    def rungs(self) -> np.ndarray:
        return LADDERS[self.ladder]

    def edge(self, bid_cpm: np.ndarray) -> np.ndarray:
        """Return the price below which every price is rounded to a rung under the bid; at most the first rung's: 0."""
        return _edge(self.rungs, bid_cpm)

    def around(self, bid_cpm: np.ndarray) -> np.ndarray:
        """Return the bids a cent above the two rungs below each bid and the one above it, shape (3, n)."""
        above = np.searchsorted(self.rungs, bid_cpm, side="left")
        near = np.clip(np.stack([above - 2, above - 1, above]), 0, len(self.rungs) - 1)
        return np.round(self.rungs[near] + CENT, 2)


def _edge(rungs: np.ndarray, bid_cpm: np.ndarray) -> np.ndarray:
    below = np.searchsorted(rungs, np.asarray(bid_cpm, float) - 1e-9, side="left") - 1
    edges = np.append((rungs[1:] + rungs[:-1]) / 2, np.inf)
    return np.where(below >= 0, edges[np.maximum(below, 0)], rungs[0] / 2)


def fit_price_steps(
    cells: pd.DataFrame, *, logit: np.ndarray, slope: np.ndarray, win_rate: Callable[[np.ndarray], np.ndarray]
) -> PriceSteps | None:
    """Return the ladder that predicts the later days better than the smooth curve, or None where none does.

    Args:
        cells: day, bids, wins and log_bid, the final bids; cells of one price show steps, mixed ones blur them.
        logit: shape (n_cells,), of the smooth curve at the cells' bids; slope: shape (n_cells,), per unit of log bid.
        win_rate: logit -> P(win).
    """
    days = np.sort(cells["day"].unique())
    is_later = (cells["day"] >= days[min(len(days) - 1, round((1 - LATER_SHARE) * len(days)))]).to_numpy()
    every, bid_cpm = np.ones(len(cells), dtype=bool), np.exp(cells["log_bid"].to_numpy(float))
    found = []
    for name, rungs in LADDERS.items():
        stepped = win_rate(logit + slope * np.log(_edge(rungs, bid_cpm) / bid_cpm))
        trial = _Trial.of(cells, smooth=win_rate(logit), stepped=stepped)
        share = trial.likeliest_share(every)
        gain = trial.gain(share, every)
        holds_later = is_later.all() or trial.gain(trial.likeliest_share(~is_later), is_later) > 0
        if holds_later and gain >= LEAST_GAIN and LEAST_SHARE <= share <= LARGEST_SHARE:
            found.append((gain, PriceSteps(name, share)))
    return max(found, key=lambda one: one[0])[1] if found else None


@dataclass(frozen=True, slots=True)
class _Trial:
    """A ladder on the cells, shape (n_cells,): win rates of the smooth curve, and where all rivals bid round prices."""

    bids: np.ndarray
    wins: np.ndarray
    smooth: np.ndarray
    stepped: np.ndarray

    @classmethod
    def of(cls, cells: pd.DataFrame, *, smooth: np.ndarray, stepped: np.ndarray) -> "_Trial":
        rates = (np.clip(rate, 1e-9, 1 - 1e-9) for rate in (smooth, stepped))
        return cls(cells["bids"].to_numpy(float), cells["wins"].to_numpy(float), *rates)

    def gain(self, share: float, rows: np.ndarray) -> float:
        """Return the log-likelihood of these rows beyond the smooth curve's."""
        smooth, wins = self.smooth[rows], self.wins[rows]
        won = smooth + share * (self.stepped[rows] - smooth)
        return float(wins @ np.log(won / smooth) + (self.bids[rows] - wins) @ np.log((1 - won) / (1 - smooth)))

    def likeliest_share(self, rows: np.ndarray) -> float:
        found = minimize_scalar(lambda share: -self.gain(share, rows), bounds=(0.0, MOST_SHARE), method="bounded")
        return float(found.x)
