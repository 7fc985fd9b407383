"""Floors that an SSP applies and does not pass: below them no bid wins, so there the log says nothing of the rivals."""

import numpy as np
import pandas as pd

from optimizer.core.frames import groups_of

FLOOR_DAYS = 21
"""Floors change: only the latest days count."""

RATE_WINDOW = 0.3
"""The win rate just above a price is that of bids up to this far above it, in logs."""

LEAST_SHARE_BELOW = 0.3
"""Without a floor, bids below a price win at least this share of the win rate just above it."""

LEAST_EXPECTED_WINS = 10.0
"""This many wins must be missing below a price before it is a floor; by chance they are once in 20,000 times."""

STRAY_SHARE = 0.03
"""Share of the expected wins that may be there all the same: late changes of a floor, rows of another placement."""


def find_hidden_floors(cells: pd.DataFrame, *, group: np.ndarray, size: int) -> np.ndarray:
    """Return the hidden floor of each group (an anchor value), CPM, shape (size,); 0 where there is none.

    Args:
        cells: day, bids, wins and log_bid, the final bids; group: shape (n_cells,), 0..size-1.
    """
    floors = np.zeros(size)
    recent = (cells["day"] > cells["day"].max() - pd.Timedelta(days=FLOOR_DAYS)).to_numpy()
    frame = pd.DataFrame(
        {
            "group": group[recent],
            "price": cells["log_bid"].to_numpy(float)[recent],
            "bids": cells["bids"].to_numpy(float)[recent],
            "wins": cells["wins"].to_numpy(float)[recent],
        }
    ).sort_values("price", kind="stable")
    for number, rows in groups_of(frame, "group"):
        floors[number] = _floor_of(*(rows[name].to_numpy() for name in ("price", "bids", "wins")))
    return floors


def above_hidden_floors(cells: pd.DataFrame, *, group: np.ndarray, floors: np.ndarray) -> np.ndarray:
    """Return which cells were bid above the hidden floor of their group, shape (n_cells,)."""
    return np.exp(cells["log_bid"].to_numpy(float)) >= floors[group] * (1 - 1e-9)


def _floor_of(price: np.ndarray, bids: np.ndarray, wins: np.ndarray) -> float:
    """The highest price with next to no wins below it, though there should be some; prices in logs, rising."""
    until_bids, until_wins = np.cumsum(bids), np.cumsum(wins)
    end = np.searchsorted(price, price + RATE_WINDOW, side="right") - 1
    before_bids, before_wins = until_bids - bids, until_wins - wins
    above_bids = np.maximum(until_bids[end] - before_bids, 1e-9)
    rate_above = (until_wins[end] - before_wins) / above_bids
    expected = LEAST_SHARE_BELOW * rate_above * before_bids
    is_floor = (expected >= LEAST_EXPECTED_WINS) & (before_wins <= STRAY_SHARE * expected) & (wins > 0)
    return float(np.exp(price[np.flatnonzero(is_floor)[-1]])) if is_floor.any() else 0.0
