"""Requests, wins, spend and value a day by the values of a feature: expected of bids, or seen in the log."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from optimizer.core.frames import rows_of


@dataclass(frozen=True, slots=True)
class DailySpend:
    """What a part of the traffic brings a day.

    spend, value: currency units; value is what the wins earn. Rates are None where there is nothing to divide by.
    """

    requests: float = 0.0
    wins: float = 0.0
    spend: float = 0.0
    value: float = 0.0

    @property
    def win_rate(self) -> float | None:
        return self.wins / self.requests if self.requests > 0 else None

    @property
    def cpm(self) -> float | None:
        return 1000 * self.spend / self.wins if self.wins > 0 else None

    @property
    def margin(self) -> float | None:
        """Share of the value that is kept."""
        return 1 - self.spend / self.value if self.value > 0 else None


_SUMMED = ("requests", "wins", "spend", "value")

ValueSpend = tuple[str | None, DailySpend]
"""A value of a feature, None where it is missing, and what it brings."""


def expected_spend_by(bids: pd.DataFrame, values: Iterable[str | None], *, scale: float = 1.0) -> list[ValueSpend]:
    """Return what the bids are expected to bring by value, the largest spend first.

    Args:
        bids: one row a segment: requests (a day), expected_win_rate (0 without a bid), expected_cost_cpm and value_cpm.
        values: of each segment.
        scale: factor on all volumes, such that the spend sums to the run's forecast.
    """
    return _parts_of(_expected_sums_by(bids, values, scale=scale))


def largest_spend_by(
    bids: pd.DataFrame, values: Iterable[str | None], *, most: int, scale: float = 1.0
) -> tuple[list[ValueSpend], DailySpend, int]:
    """Return the first `most` of `expected_spend_by`, the sum of the others, and how many those are."""
    sums = _expected_sums_by(bids, values, scale=scale)
    rest = sums.iloc[most:]
    return _parts_of(sums.iloc[:most]), DailySpend(*map(float, rest[list(_SUMMED)].sum())), len(rest)


def seen_spend_by(cells: pd.DataFrame, feature: str, *, days: float) -> list[ValueSpend]:
    """Return what the log had a day by the values of a column, the largest spend first.

    Args:
        cells: with the column, bids, wins, cost_cpm_sum, view_revenue and click_revenue.
        days: number of days that the cells count.
    """
    revenue = cells["view_revenue"] + cells["click_revenue"]
    return _parts_of(
        _sums_by(
            cells[feature],
            requests=cells["bids"].to_numpy(float) / days,
            wins=cells["wins"].to_numpy(float) / days,
            spend=cells["cost_cpm_sum"].to_numpy(float) / 1000 / days,
            value=revenue.to_numpy(float) / days,
        )
    )


def total_spend(parts: Iterable[ValueSpend]) -> DailySpend:
    """Return the sum of the parts."""
    known = [spend for _, spend in parts]
    return DailySpend(*(sum(getattr(spend, name) for spend in known) for name in _SUMMED))


def _expected_sums_by(bids: pd.DataFrame, values: Iterable[str | None], *, scale: float) -> pd.DataFrame:
    requests = scale * bids["requests"].to_numpy(float)
    wins = requests * bids["expected_win_rate"].to_numpy(float)
    cost, value = (np.nan_to_num(bids[name].to_numpy(float)) for name in ("expected_cost_cpm", "value_cpm"))
    return _sums_by(values, requests=requests, wins=wins, spend=wins * cost / 1000, value=wins * value / 1000)


def _sums_by(values: Iterable[str | None], **columns: np.ndarray) -> pd.DataFrame:
    """The sums of the columns by value, the largest spend first."""
    table = pd.DataFrame(columns).groupby(pd.Series(list(values), dtype=object), dropna=False, sort=True).sum()
    return table.sort_values("spend", ascending=False, kind="stable")


def _parts_of(sums: pd.DataFrame) -> list[ValueSpend]:
    return [
        (None if pd.isna(row.Index) else str(row.Index), DailySpend(row.requests, row.wins, row.spend, row.value))
        for row in rows_of(sums)
    ]
