"""Cells on coarser grains against the finest ones, merged in pandas."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from warehouse.reference import COUNTS, END, FEATURES, WINDOW

from optimizer.core.landscape.cells import PRICE_BUCKET_WIDTH
from optimizer.core.landscape.grain import FINE_DAYS, FINEST, LADDER, Grain
from optimizer.warehouse.extraction import (
    Window,
    count_multiplier_cells,
    count_segment_cells,
    extract_domain_cells,
    extract_npi_totals,
    extract_segment_cells,
)

OLDER = replace(WINDOW, data_end_at=END + timedelta(days=FINE_DAYS - 1))
"""Its latest days begin with the log's last day but one."""
SUMS = ["bid_cpm_sum", "base_bid_cpm_sum", "cost_cpm_sum", "view_revenue", "click_revenue"]


def extract(connection: Any, path: Path, *, window: Window, grain: Grain) -> pd.DataFrame:
    rows = extract_segment_cells(connection, window=window, features=FEATURES, path=path, grain=grain)
    cells = pd.read_parquet(path)
    assert len(cells) == rows
    return cells.assign(day=pd.to_datetime(cells["day"]))


def merge(cells: pd.DataFrame, grain: Grain, *, window: Window) -> pd.DataFrame:
    """Return counts and sums of the finest cells on a coarser grain."""
    fine_from = pd.Timestamp(window.data_end_at.date()) - pd.Timedelta(days=FINE_DAYS)
    is_older = cells["day"] < fine_from

    def merged(buckets: pd.Series, size: int) -> pd.Series:
        return (buckets.astype(float) / size).round() * size

    price = merged(cells["price_bucket"], grain.price_buckets)
    base = merged(cells["base_price_bucket"], grain.base_buckets)
    key = {"day": cells["day"], **{feature: cells[feature] for feature in FEATURES}, "run_id": cells["run_id"]}
    if grain.is_older_coarse:
        older = merged(cells["price_bucket"], grain.older_price_buckets)
        price = price.mask(is_older, older)
        base = base.mask(is_older & base.notna(), older)
        key["run_id"] = cells["run_id"].mask(is_older)
        block = np.ceil((fine_from - cells["day"]).dt.days / grain.older_days)
        middle = fine_from + pd.to_timedelta(grain.older_days // 2 - grain.older_days * block, unit="D")
        start = pd.Timestamp(window.data_start_at.date())
        key["day"] = cells["day"].mask(is_older, middle.clip(lower=start))
    by = pd.DataFrame({**key, "price": price, "base_price_bucket": base})
    merged_cells = cells[[*COUNTS, *SUMS]].groupby([by[name] for name in by], dropna=False).sum().reset_index()
    mean = merged_cells["bid_cpm_sum"] / merged_cells["bids"]
    bucket = merged_cells["price"] if grain == FINEST else (np.log(mean) / PRICE_BUCKET_WIDTH).round()
    return merged_cells.assign(price_bucket=bucket)


@pytest.mark.parametrize("window", [WINDOW, OLDER], ids=["latest days", "older days too"])
@pytest.mark.parametrize("grain", LADDER, ids=map(str, range(len(LADDER))))
def test_coarser_cells_are_the_finest_merged(connection: Any, tmp_path: Path, grain: Grain, window: Window):
    finest = extract(connection, tmp_path / "finest.parquet", window=window, grain=FINEST)
    found = extract(connection, tmp_path / "found.parquet", window=window, grain=grain)
    expected = merge(finest, grain, window=window)
    key = ["day", *FEATURES, "price_bucket", "base_price_bucket", "run_id", "bid_cpm_sum"]
    found, expected = (
        table.assign(**{name: table[name].astype(str).replace({"<NA>": "nan", "None": "nan"}) for name in ("run_id",)})
        .astype({"price_bucket": float, "base_price_bucket": float})
        .sort_values(key, ignore_index=True)
        for table in (found, expected)
    )
    assert len(found) == len(expected) <= len(finest)
    assert found["day"].tolist() == expected["day"].tolist()
    np.testing.assert_array_equal(found[COUNTS], expected[COUNTS])
    np.testing.assert_allclose(found[SUMS].fillna(0), expected[SUMS].fillna(0), rtol=1e-9, atol=1e-9)


def test_the_cells_of_every_grain_are_counted_by_one_query_before_they_are_read(connection: Any, tmp_path: Path):
    counted = [(features, grain) for features in (FEATURES, FEATURES[:1]) for grain in (FINEST, LADDER[-1])]
    counts = count_segment_cells(connection, window=OLDER, counted=counted)
    for (features, grain), count in zip(counted, counts, strict=True):
        path = tmp_path / "cells.parquet"
        rows = extract_segment_cells(connection, window=OLDER, features=features, path=path, grain=grain)
        # A bid that is there twice may count in both of its cells.
        assert rows <= count <= rows + 5
    assert counts[0] > counts[1] > counts[3]


def test_days_that_are_one_have_the_day_in_their_middle_and_their_number(connection: Any, tmp_path: Path):
    weekly = next(grain for grain in LADDER if grain.older_days > 1)
    cells = extract(connection, tmp_path / "cells.parquet", window=OLDER, grain=weekly)
    spans = cells.groupby("day")["day_span"].unique()
    # The log's window begins on January 6, and the latest days on January 9: three days are one.
    assert [(day.day, span.tolist()) for day, span in spans.items()] == [(6, [3]), (9, [1]), (10, [1])]


def test_domain_cells_of_merged_buckets_hold_the_same_bids(connection: Any, tmp_path: Path):
    counts, npis = count_multiplier_cells(connection, window=WINDOW, price_buckets=[1, 9])
    found = []
    for number, count in zip([1, 9], counts, strict=True):
        path = tmp_path / f"{number}.parquet"
        rows = extract_domain_cells(connection, window=WINDOW, path=path, price_buckets=number)
        assert rows <= count <= rows + 5
        found.append(pd.read_parquet(path).groupby(["day", "domain"])[[*COUNTS, "bid_cpm_sum"]].sum())
    assert counts[0] > counts[1]
    pd.testing.assert_frame_equal(*found)
    # Bids that privacy restricts are counted, and not read.
    assert 0 < extract_npi_totals(connection, window=WINDOW, path=tmp_path / "npis.parquet") <= npis


def test_where_there_are_more_than_may_be_read_those_with_the_most_bids_are_kept(connection: Any, tmp_path: Path):
    extract_npi_totals(connection, window=WINDOW, path=tmp_path / "all.parquet")
    rows = extract_npi_totals(connection, window=WINDOW, path=tmp_path / "some.parquet", max_cells=100)
    everyone, some = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("all", "some"))
    assert 90 < rows <= 100 < len(everyone)
    bids = everyone.groupby("npi")["bids"].sum()
    kept = bids[bids.index.isin(some["npi"])]
    assert kept.min() >= bids.drop(kept.index).max()
    pd.testing.assert_frame_equal(some, everyone[everyone["npi"].isin(kept.index)].reset_index(drop=True))
    domains = extract_domain_cells(
        connection, window=WINDOW, path=tmp_path / "d.parquet", price_buckets=81, max_cells=100
    )
    assert 0 < domains <= 100
