"""Cells: the weighted counts that leave the warehouse instead of auctions.

One row a day, feature values, bid price bucket and run that priced. Columns in addition to the features:

day                 datetime64, UTC day of the bid
day_span            days that are one in the cell, whose day is their middle; only in cells of a grain that merges days
block_hour          first hour of the block of hours that the bid is in; only in cells of a short window (`block_hours`)
price_bucket        bid price on a log scale, `PRICE_BUCKET_WIDTH` wide
base_price_bucket   the same of the base bid, before multipliers; null where no optimizer priced the bid
run_id              the run that priced the bids; null before there was one
bids, wins, clicks  counts; a win is a bid with a view
click_views         the views that clicks are compared with: fewer than wins while clicks are still coming
bid_cpm_sum         sum of the final bids, CPM
base_bid_cpm_sum    sum of the base bids, CPM; null with base_price_bucket
cost_cpm_sum        sum of the cleared prices of the wins, CPM
view_revenue        currency units earned by impressions
click_revenue       currency units earned by clicks
floor_cpm_max       highest floor seen in the cell, NaN where the SSP passes none
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from optimizer.core.serving.keys import segment_key
from optimizer.errors import DataError

PRICE_BUCKET_WIDTH = 0.05
"""Width of a price bucket in log CPM: about 5 %."""

COUNTS = (
    *("bids", "wins", "clicks", "click_views"),
    *("bid_cpm_sum", "base_bid_cpm_sum", "cost_cpm_sum", "view_revenue", "click_revenue"),
)

SHADOW_WINS = "wins_at_"
"""Second-price cells count with wins_at_<percent> what this percentage of the bid would have won."""

ENOUGH_DAYS = 10
"""A window with bids on fewer days is divided into blocks of hours."""

BLOCK_HOURS = (12, 8, 6, 4, 3, 2, 1)
LEAST_BLOCKS = 12

SPLIT_DAYS = 5
"""With fewer days, whole days are too coarse a grain to divide a log for training, calibration and test."""

DAY_SPAN = "day_span"

OWN_JITTER = "is_own_jitter"
"""Whether this optimizer drew the jitter of a cell's bids; see `optimizer.core.landscape.jitter`."""

MISSING = "\x1f"
"""Stands for a null feature value while cells are grouped; the warehouse never returns it."""


def block_hours(first_bid_at: datetime, last_bid_at: datetime) -> int | None:
    """Return the length of the blocks that a window's time is divided into, hours; None where its days are enough.

    Slices of time and standard errors need about a dozen blocks. A short window has them only within its days.
    """
    days = (last_bid_at.date() - first_bid_at.date()).days + 1
    if days >= ENOUGH_DAYS:
        return None
    return next((hours for hours in BLOCK_HOURS if days * 24 // hours >= LEAST_BLOCKS), BLOCK_HOURS[-1])


def prepare_cells(cells: pd.DataFrame, features: Sequence[str]) -> pd.DataFrame:
    """Return the cells with `block`, `log_bid`, `log_base` and `log_planned`, and null features that can be grouped.

    block: when the block of hours began that the bids are in, or the day; logs are NaN where the price is unknown.
    Missing click_views are the wins, as if all clicks had arrived.

    Raises:
        DataError: counts that cannot be: more wins than bids, clicks without wins, no bids, unusable prices.
    """
    prepared = cells.copy()
    for feature in features:
        prepared[feature] = _masked(prepared[feature])
    prepared["day"] = pd.to_datetime(prepared["day"])
    if "block" not in prepared:
        hours = prepared.get("block_hour", 0)
        prepared["block"] = prepared["day"] + pd.to_timedelta(hours, unit="h")
    with np.errstate(divide="ignore", invalid="ignore"):
        prepared["log_bid"] = np.log(prepared["bid_cpm_sum"].to_numpy(float) / prepared["bids"].to_numpy(float))
        base_sum = prepared["base_bid_cpm_sum"].astype(float)
        prepared["log_base"] = np.log(base_sum.where(base_sum > 0) / prepared["bids"])
    prepared = _with_click_views(prepared)
    if "log_planned" not in prepared:
        prepared["log_planned"] = np.nan
    broken = {
        "bids below 1": prepared["bids"] < 1,
        "wins outside 0..bids": (prepared["wins"] < 0) | (prepared["wins"] > prepared["bids"]),
        "clicks outside 0..wins": (prepared["clicks"] < 0) | (prepared["clicks"] > prepared["wins"]),
        "a price that is not a positive number": ~np.isfinite(prepared["log_bid"]),
    }
    found = [f"{int(rows.sum())} cells with {what}" for what, rows in broken.items() if rows.any()]
    if found:
        raise DataError(f"the extracted cells cannot be learned from: {', '.join(found)}; check BIDS, VIEWS and CLICKS")
    return prepared


def _masked(values: pd.Series) -> pd.Series:
    """The values as categories, those that occur in their order, with `MISSING` for null."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        known = values.cat.remove_unused_categories()
    else:
        known = values.astype("category")
    if known.hasnans:
        known = known.cat.add_categories([MISSING]).fillna(MISSING)
    names = known.cat.categories
    return known if names.is_monotonic_increasing else known.cat.reorder_categories(sorted(names))


def group_cells(cells: pd.DataFrame, features: Sequence[str]) -> pd.DataFrame:
    """Return the cells on a coarser grain: block of time, the given features and price bucket."""
    own = [name for name in (OWN_JITTER, DAY_SPAN) if name in cells]
    by = ["day", "block", *features, "price_bucket", "base_price_bucket", *own]
    weighed = _with_click_views(cells).assign(log_planned=cells["log_planned"] * cells["bids"])
    groups = weighed.groupby(by, observed=True, sort=True, dropna=False)
    shadow_wins = [name for name in cells.columns if name.startswith(SHADOW_WINS)]
    grouped = groups[[*COUNTS, *shadow_wins]].sum()
    # Rows are in the groups' order: nothing has to be aligned.
    grouped["floor_cpm_max"] = groups["floor_cpm_max"].max().to_numpy()
    grouped["log_planned"] = groups["log_planned"].sum(skipna=False).to_numpy() / grouped["bids"].to_numpy()
    return prepare_cells(grouped.reset_index(), features)


def _with_click_views(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells with click_views, which runs that began with an earlier release have not staged."""
    return cells if "click_views" in cells else cells.assign(click_views=cells["wins"].astype(float))


def know_planned(
    cells: pd.DataFrame, *, run_id: str, features: Sequence[str], planned_cpm: Mapping[str, float]
) -> pd.DataFrame:
    """Return the cells with `log_planned` of one earlier run: what it bid before jitter.

    Args:
        cells: of `prepare_cells`, with the run's features.
        planned_cpm: its planned bid by served segment key; what was bid on any other, its fallback, had no jitter.
    """
    rows = cells["run_id"] == run_id
    known = cells.loc[rows, list(features)].drop_duplicates()
    keys = [segment_key([None if value == MISSING else value for value in row]) for row in known.to_numpy(object)]
    known["planned"] = pd.Series(keys, index=known.index).map(planned_cpm).astype(float)
    planned = cells.loc[rows, list(features)].merge(known, how="left", on=list(features))["planned"].to_numpy()
    found = pd.Series(np.log(planned), index=cells.index[rows]).fillna(cells["log_base"][rows])
    return cells.assign(log_planned=cells["log_planned"].mask(rows, found))


def unmask(values: pd.Series) -> pd.Series:
    """Return feature values with None where the warehouse had NULL."""
    plain = values.astype("object")
    return plain.where(plain != MISSING, None)


@dataclass(frozen=True, slots=True)
class TimeSplit:
    """Slices in the order of time: fit on `train`, calibrate on `calibrate`, judge on `test`. Bounds are half open."""

    calibrate_from: pd.Timestamp
    test_from: pd.Timestamp

    def slices(self, cells: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """Return the train, calibrate and test cells."""
        block = cells["block"]
        before, after = block < self.calibrate_from, block >= self.test_from
        return cells[before], cells[~before & ~after], cells[after]


def split_by_time(cells: pd.DataFrame, *, share: float = 0.15, min_wins: int = 200) -> TimeSplit:
    """Return the split that gives test and calibrate `share` of the time each, more where wins are few.

    It divides between days, or between blocks of hours where there are fewer than `SPLIT_DAYS` days.

    Raises:
        DataError: fewer than three blocks with bids, or a split in which a slice has no win or no loss.
    """
    unit = "day" if cells["day"].nunique() >= SPLIT_DAYS else "block"
    sums = cells.groupby(unit)[["bids", "wins"]].sum().sort_index()
    spans = cells.groupby(unit)[DAY_SPAN].first().sort_index() if DAY_SPAN in cells else pd.Series(1, sums.index)
    if len(sums) < 3:
        raise DataError(
            f"the window has bids in {len(sums)} blocks of time; at least 3 are needed to train, calibrate and test: "
            "raise lookback_days, or wait for more bids"
        )
    until_end = spans[::-1].cumsum()[::-1].to_numpy()

    def first_of(latest: int) -> int:
        """The number of the first of the units that cover the latest days."""
        return int(np.flatnonzero(until_end >= latest)[-1])

    total = int(until_end[0])
    length = max(1, round(share * total))
    while (
        length < total // 3
        and min(
            sums["wins"].iloc[first_of(length) :].sum(),
            sums["wins"].iloc[first_of(2 * length) : first_of(length)].sum(),
        )
        < min_wins
    ):
        length += 1
    split = TimeSplit(sums.index[first_of(2 * length)], sums.index[first_of(length)])
    for name, part in zip(("train", "calibrate", "test"), split.slices(cells), strict=True):
        bids, wins = int(part["bids"].sum()), int(part["wins"].sum())
        if not 0 < wins < bids:
            raise DataError(_one_sided(name, part, wins=wins, bids=bids))
    return split


def _one_sided(name: str, part: pd.DataFrame, *, wins: int, bids: int) -> str:
    """What is wrong with days on which all bids were won, or none, and what to do."""
    first, last = part["day"].min(), part["day"].max()
    days = f"the {name} days ({first:%Y-%m-%d} to {last:%Y-%m-%d})"
    if wins:
        return (
            f"all {bids:,} bids of {days} were won, so there are no losses to learn from; check that BIDS has the lost "
            "bids too, or bid lower for some days"
        )
    return (
        f"none of the {bids:,} bids of {days} were won, so there are no wins to learn from; check that VIEWS is loaded "
        "for these days and carries the bid_id of BIDS, or bid higher for some days"
    )


def count_days(cells: pd.DataFrame) -> int:
    """Return the number of days with bids; days that are one in the cells count as many as they are."""
    if DAY_SPAN not in cells:
        return int(cells["day"].nunique())
    return int(cells.groupby("day")[DAY_SPAN].first().sum())


def number_combinations(codes: Sequence[np.ndarray]) -> np.ndarray:
    """Return a number for each distinct combination of these codes, shape (n_cells,): 0..n-1, as they first occur.

    Args:
        codes: of one column each, shape (n_cells,), 0..n-1 as they first occur.
    """
    number = codes[0].astype(np.int64)
    for other in codes[1:]:
        number = pd.factorize(number * (int(other.max(initial=0)) + 1) + other)[0]
    return number


def recency_weights(days: pd.Series, *, half_life_days: float) -> np.ndarray:
    """Return 2^(-age/half-life) of each row, age in days before the newest."""
    age = (days.max() - days).dt.days.to_numpy(float)
    return np.exp2(-age / half_life_days)


def weighted_quantile(values: pd.Series, weights: pd.Series, share: float) -> float:
    """Return the value at or below which this share of the weight is."""
    order = np.argsort(values.to_numpy(float), kind="stable")
    mass = np.cumsum(weights.to_numpy(float)[order])
    return float(values.to_numpy(float)[order][min(np.searchsorted(mass, share * mass[-1]), len(order) - 1)])
