"""How fine the cells of a log are. Where the finest grain has more cells than may be read, a coarser one is chosen.

What costs least is coarsened first: the prices of older days, then whole older days, then the prices of the latest
days. Base bids stay as fine as possible, since the slope is learned from how they were varied. A cell keeps the exact
sums of its bids, so its mean price is exact on any grain.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

FINE_DAYS = 35
"""The latest days keep their days: slopes, floors, forecasts and backtests are learned from each of them by itself."""


@dataclass(frozen=True, slots=True)
class Grain:
    """What is one in a cell.

    price_buckets, older_price_buckets: that many neighboring price buckets, of the latest `FINE_DAYS` days and of those
        before them; an odd number, so that the middle bucket stands for all.
    base_buckets: that many base price buckets of the latest days. Older days have no base buckets and no runs where
        `is_older_coarse`.
    older_days: that many days before the latest.
    """

    price_buckets: int = 1
    older_price_buckets: int = 1
    base_buckets: int = 1
    older_days: int = 1

    @property
    def is_older_coarse(self) -> bool:
        """Whether days before the latest are coarser than a bucket and a day."""
        return self.older_price_buckets > 1 or self.older_days > 1


FINEST = Grain()

LADDER = (
    FINEST,
    Grain(older_price_buckets=3),
    Grain(older_price_buckets=3, older_days=7),
    Grain(price_buckets=3, older_price_buckets=9, older_days=7),
    Grain(price_buckets=5, older_price_buckets=9, older_days=7),
    Grain(price_buckets=9, older_price_buckets=9, older_days=7),
    Grain(price_buckets=15, older_price_buckets=27, older_days=7),
    Grain(price_buckets=27, older_price_buckets=81, older_days=7, base_buckets=3),
    Grain(price_buckets=81, older_price_buckets=81, older_days=7, base_buckets=9),
)
"""Grains from the finest on; each has fewer cells than the one before."""

NEARLY_FINEST = 3
"""The first that many grains are fine on the latest days: on them every candidate feature stays."""


def fine_from(data_end_at: datetime) -> datetime:
    """Return the midnight from which on days are the latest."""
    midnight = data_end_at.replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
    return midnight - timedelta(days=FINE_DAYS)


def finest_within(counts: Sequence[int], max_cells: int) -> int | None:
    """Return the number of the first grain with at most that many cells, None where none is.

    Args:
        counts: the cells of each grain of `LADDER`.
    """
    return next((number for number, count in enumerate(counts) if count <= max_cells), None)
