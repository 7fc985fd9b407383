"""Floors that an SSP applies and does not pass: below them no bid wins, so there the log says nothing of the rivals.

A fixed floor is one price for an anchor value. A following floor is a share of the mean bid of the day before on the
same anchor value: the SSP raises it when bids rise.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from optimizer.core.frames import groups_of
from optimizer.core.landscape.randomness import group_numbers

FLOOR_DAYS = 21
"""Floors change: only the latest days count."""

RATE_WINDOW = 0.3
"""The win rate just above a price is that of bids up to this far above it, in logs."""

LEAST_SHARE_BELOW = 0.3
"""Without a floor, bids below a price win at least this share of the win rate just above it."""

LEAST_EXPECTED_WINS = 10.0
"""This many wins must be missing below a price before it is a floor; by chance they are once in 20,000 times."""

STRAY_SHARE = 0.03
"""Share of the expected wins that may still be there: late changes of a floor, rows of another placement."""

FOLLOWING_DAYS = 7
"""A following floor is looked for on each of this many of the latest days."""

LEAST_FOLLOWING_DAYS = 3
"""This many of them, the last two included, have to show the same share of the bids of the day before."""

SAME_SHARE = 0.05
"""Shares of two days that differ by less, relative, are the same: buckets of prices differ by as much."""

HELD_SHARE = 0.25
"""A day has the floor if at most this share of the expected wins is below it."""

LEAST_EXPECTED_ON_A_DAY = 3.0
"""With fewer expected wins below it a day does not show the floor: its few bids count as any."""

LARGEST_FOLLOWED_SHARE = 1.0
"""A floor above the mean bid of the day before would rise without end."""


@dataclass(frozen=True, slots=True)
class FollowingFloor:
    """On these days no bid wins below `share` of the mean bid of the day before on its anchor value."""

    share: float
    days: tuple[pd.Timestamp, ...]


@dataclass(frozen=True, slots=True)
class HiddenFloors:
    """What is hidden from the log.

    fixed_cpm: of each group, CPM, shape (size,); 0 where there is none.
    following: one for all groups, None where there is none.
    is_above_fixed, is_above: shape (n_cells,), whether a cell was bid above the fixed one, and above both.
    """

    fixed_cpm: np.ndarray
    following: FollowingFloor | None
    is_above_fixed: np.ndarray
    is_above: np.ndarray


def find_floors_by(cells: pd.DataFrame, anchor: str) -> HiddenFloors:
    """Return the hidden floors of each value of the anchor feature; `cells` are as in `find_floors`."""
    group = group_numbers(cells, [anchor])
    return find_floors(cells, group=group, size=int(group.max()) + 1)


def find_floors(cells: pd.DataFrame, *, group: np.ndarray, size: int) -> HiddenFloors:
    """Return the hidden floors of both kinds.

    A following floor counts only where bids above the fixed ones show it.

    Args:
        cells: all cells of the log: day, bids, wins and log_bid, the final bids.
        group: shape (n_cells,), the anchor value of each cell, 0..size-1.
    """
    fixed = find_hidden_floors(cells, group=group, size=size)
    is_above = above_hidden_floors(cells, group=group, floors=fixed)
    ratio = log_ratio_to_day_before(cells, group=group, size=size)
    following = find_following_floor(cells[is_above], ratio[is_above])
    if following is None:
        return HiddenFloors(fixed, None, is_above, is_above)
    is_below = cells["day"].isin(following.days).to_numpy() & (ratio < np.log(following.share))
    reached = ~is_below  # also where nothing was bid the day before
    fixed = find_hidden_floors(cells[reached], group=group[reached], size=size)
    is_above = above_hidden_floors(cells, group=group, floors=fixed)
    return HiddenFloors(fixed, following, is_above, reached & is_above)


def find_hidden_floors(cells: pd.DataFrame, *, group: np.ndarray, size: int) -> np.ndarray:
    """Return the fixed floor of each group (an anchor value), CPM, shape (size,); 0 where there is none.

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
    """Return which cells were bid above the fixed floor of their group, shape (n_cells,)."""
    return np.exp(cells["log_bid"].to_numpy(float)) >= floors[group] * (1 - 1e-9)


def log_ratio_to_day_before(cells: pd.DataFrame, *, group: np.ndarray, size: int) -> np.ndarray:
    """Return log(bid / mean bid of the day before on the same group), shape (n_cells,); NaN where there was none."""
    day = (cells["day"] - cells["day"].min()).dt.days.to_numpy()
    bids, shape = cells["bids"].to_numpy(float), (int(day.max()) + 2, size)
    cell = np.ravel_multi_index((day + 1, group), shape)
    count = np.bincount(cell, bids, minlength=shape[0] * size)
    total = np.bincount(cell, bids * np.exp(cells["log_bid"].to_numpy(float)), minlength=shape[0] * size)
    mean = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0).reshape(shape)
    return cells["log_bid"].to_numpy(float) - np.log(mean[day, group])


def find_following_floor(cells: pd.DataFrame, log_ratio: np.ndarray) -> FollowingFloor | None:
    """Return the floor that follows the bids of the day before, or None where the latest days show none.

    Each day is read alone, so every day that agrees confirms the others.

    Args:
        cells: day, bids, wins; log_ratio: see `log_ratio_to_day_before`.
    """
    rows = pd.DataFrame(
        {
            "ratio": log_ratio,
            "bids": cells["bids"].to_numpy(float),
            "wins": cells["wins"].to_numpy(float),
            "day": cells["day"].to_numpy(),
        }
    ).dropna(subset="ratio")
    last = cells["day"].max()
    days = dict(groups_of(rows.sort_values("ratio", kind="stable"), "day"))
    latest = [last - pd.Timedelta(days=age) for age in range(FOLLOWING_DAYS)]
    found = {
        day: _floor_of(*(days[day][name].to_numpy() for name in ("ratio", "bids", "wins")))
        for day in latest
        if day in days
    }
    shares = {day: share for day, share in found.items() if 0 < share < LARGEST_FOLLOWED_SHARE}
    if len(shares) < LEAST_FOLLOWING_DAYS:
        return None
    middle = float(np.median(list(shares.values())))
    same = {day: share for day, share in shares.items() if abs(share / middle - 1) <= SAME_SHARE}
    if len(same) < LEAST_FOLLOWING_DAYS or not {latest[0], latest[1]} <= same.keys():
        return None
    share = float(np.mean(list(same.values())))
    return FollowingFloor(share, tuple(day for day, own in days.items() if day in same or _has_floor(own, share)))


def _has_floor(rows: pd.DataFrame, share: float) -> bool:
    """Whether next to nothing wins below the share of the day before on this day, though there should be some."""
    below = rows["ratio"] < np.log(share)
    near = ~below & (rows["ratio"] <= np.log(share) + RATE_WINDOW)
    expected = (
        LEAST_SHARE_BELOW * rows["bids"][below].sum() * rows["wins"][near].sum() / max(rows["bids"][near].sum(), 1)
    )
    return bool(expected >= LEAST_EXPECTED_ON_A_DAY and rows["wins"][below].sum() <= HELD_SHARE * expected + 1)


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
