"""The cells of a run, read within `max_cells`: those by features; those by domain and by NPI within a share of it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from optimizer.core.config.settings import RunSettings
from optimizer.core.landscape.cell_plan import CellPlan, plan_cells
from optimizer.core.landscape.cells import prepare_cells
from optimizer.core.landscape.click_delay import count_click_views
from optimizer.core.landscape.features import Selection
from optimizer.core.landscape.grain import FINEST, Grain, finest_within
from optimizer.core.records.window_totals import WindowTotals
from optimizer.runs.cell_run import judge_features
from optimizer.warehouse.extraction import Window, count_multiplier_cells, count_segment_cells, extract_segment_cells

MULTIPLIER_SHARE = 4
"""The cells by domain, and the totals by NPI, are at most a quarter of `max_cells` each."""

DOMAIN_PRICE_BUCKETS = (1, 3, 9, 27, 81)
"""How many price buckets of domain cells may be one."""


@dataclass(frozen=True, slots=True)
class SegmentLog:
    """The log of a run's window in the warehouse, from which its segment cells are read.

    maturity: the share of the clicks that had arrived, by day.
    """

    connection: Any
    window: Window
    settings: RunSettings
    totals: WindowTotals
    maturity: Mapping[date, float]

    def count(self, counted: Sequence[tuple[Sequence[str], Grain]]) -> list[int]:
        """Return the number of cells by each of these features and grains."""
        return count_segment_cells(
            self.connection, window=self.window, counted=counted, block_hours=self.totals.block_hours
        )

    def write(self, path: Path, *, features: Sequence[str], grain: Grain) -> int:
        """Write the cells to `path` (Parquet) and return their number."""
        return extract_segment_cells(
            self.connection,
            window=self.window,
            features=features,
            path=path,
            is_second_price=self.settings.auction_type == "second_price",
            block_hours=self.totals.block_hours,
            grain=grain,
        )


FindPlans = Callable[[pd.DataFrame], tuple[pd.DataFrame, Collection[str]]]
"""Prepared cells -> the same with what earlier runs planned, and the features of the keys of these runs."""


def plan_segment_cells(
    log: SegmentLog, candidates: Sequence[str], *, active_key: Collection[str], find_plans: FindPlans
) -> CellPlan:
    """Return how the cells are read.

    Args:
        active_key: the features of the active run's key; empty without one.
        find_plans: is called where features are chosen on coarser cells.

    Raises:
        DataError: the anchor alone has more cells than `max_cells`, however coarse.
    """
    settings = log.settings
    anchor = settings.anchor_feature.lower()
    if log.totals.usable_bids <= settings.max_cells:
        return CellPlan(tuple(candidates), FINEST, log.totals.usable_bids)

    def judge(features: Sequence[str], grain: Grain) -> tuple[Selection, Collection[str]]:
        with TemporaryDirectory(prefix="optimizer-") as folder:
            path = Path(folder) / "cells.parquet"
            log.write(path, features=features, grain=grain)
            raw = pd.read_parquet(path)
        cells, known_by = find_plans(prepare_cells(count_click_views(raw, log.maturity), features))
        return judge_features(cells, candidates=features, settings=settings), known_by

    return plan_cells(
        candidates,
        needed=[feature for feature in dict.fromkeys((anchor, *active_key)) if feature in candidates],
        max_features=settings.max_features,
        max_cells=settings.max_cells,
        count=log.count,
        judge=judge,
    )


@dataclass(frozen=True, slots=True)
class MultiplierPlan:
    """How the cells by domain and by NPI are read.

    max_cells: of each of the two tables.
    price_buckets: that many price buckets of domain cells are one.
    are_domains_cut, are_npis_cut: whether those with the fewest bids are left out.
    """

    max_cells: int
    price_buckets: int = 1
    are_domains_cut: bool = False
    are_npis_cut: bool = False

    def cut(self, settings: RunSettings) -> tuple[str, ...]:
        """Return the names of the tables that a run reads without those with the fewest bids."""
        tables = {
            "domains": self.are_domains_cut and settings.domain_enabled,
            "NPIs": self.are_npis_cut and settings.npi_enabled,
        }
        return tuple(name for name, is_cut in tables.items() if is_cut)


def plan_multiplier_cells(log: SegmentLog) -> MultiplierPlan:
    """Return how the cells by domain and by NPI are read."""
    limit = log.settings.max_cells // MULTIPLIER_SHARE
    if log.totals.usable_bids <= limit:
        return MultiplierPlan(limit)
    domains, npis = count_multiplier_cells(log.connection, window=log.window, price_buckets=DOMAIN_PRICE_BUCKETS)
    number = finest_within(domains, limit)
    buckets = DOMAIN_PRICE_BUCKETS[-1 if number is None else number]
    return MultiplierPlan(limit, buckets, are_domains_cut=number is None, are_npis_cut=npis > limit)
