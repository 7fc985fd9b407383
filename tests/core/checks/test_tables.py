"""Bid tables that were changed, shortened or spoiled after they were computed."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from core.checks.tables import FEATURES, SETTINGS, bid_table, figures_of, measured

from optimizer.core.checks.bids import bid_checks
from optimizer.core.checks.tables import StagedTables, table_checks
from optimizer.core.pricing.target_reach import TargetReach

REACH = TargetReach(0.5, 0.5, 0.9, {})


def ten_times(bids: pd.DataFrame) -> pd.DataFrame:
    return bids.assign(suggested_bid_cpm=10 * bids["suggested_bid_cpm"])


def all_equal(bids: pd.DataFrame) -> pd.DataFrame:
    return bids.assign(suggested_bid_cpm=bids["suggested_bid_cpm"].median())


def a_tenth(bids: pd.DataFrame) -> pd.DataFrame:
    return bids.iloc[::10]


def nearly_all_missing(bids: pd.DataFrame) -> pd.DataFrame:
    return bids.assign(suggested_bid_cpm=bids["suggested_bid_cpm"].where(np.arange(len(bids)) % 10 == 0))


def infinite(bids: pd.DataFrame) -> pd.DataFrame:
    return bids.assign(suggested_bid_cpm=bids["suggested_bid_cpm"].mask(np.arange(len(bids)) == 3, np.inf))


def doubled(bids: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([bids, bids.iloc[:1]], ignore_index=True)


def other_keys(bids: pd.DataFrame) -> pd.DataFrame:
    return bids.assign(segment_key=bids["segment_key"].to_numpy()[::-1])


def long_keys(bids: pd.DataFrame) -> pd.DataFrame:
    return bids.assign(segment_key=bids["segment_key"].where(np.arange(len(bids)) > 0, "é" * 130))


TAMPERED = {
    ten_times: {"noted_figures_wrong", "bids_outside_bounds", "largest_step"},
    all_equal: {"noted_figures_wrong", "jitter_excess"},
    a_tenth: {"segment_rows_missing", "noted_figures_wrong"},
    nearly_all_missing: {"bids_missing", "noted_figures_wrong"},
    infinite: {"bids_missing", "bids_outside_bounds"},
    doubled: {"duplicate_keys", "segment_rows_missing"},
    other_keys: {"keys_unlike_features"},
    long_keys: {"longest_key_bytes"},
}


def failed(bids: pd.DataFrame, *, noted: dict, segments: pd.DataFrame, changed: tuple[str, ...] = ()) -> set[str]:
    staged = StagedTables(bids=bids, segments=segments, features=FEATURES, noted=noted, changed=changed)
    found = measured(bids)
    checks = table_checks(staged, found) + bid_checks(bids, found, figures=noted, reach=REACH, settings=SETTINGS)
    return {check.name for check in checks if check.verdict == "failed"}


def test_a_table_as_it_was_computed_passes():
    bids = bid_table()
    assert failed(bids, noted=figures_of(bids), segments=bids) == set()


@pytest.mark.parametrize(("tamper", "names"), TAMPERED.items(), ids=[tamper.__name__ for tamper in TAMPERED])
def test_a_tampered_table_fails(tamper: Callable[[pd.DataFrame], pd.DataFrame], names: set[str]):
    bids = bid_table()
    assert names <= failed(tamper(bids), noted=figures_of(bids), segments=bids)


@pytest.mark.parametrize("tamper", [ten_times, a_tenth, nearly_all_missing, all_equal])
def test_a_tampered_table_fails_though_its_figures_were_changed_with_it(tamper: Callable):
    bids = bid_table()
    changed = tamper(bids)
    own = {name: getattr(figures_of(changed), name) for name in ("bid_median", "bid_min", "bid_max", "segments_count")}
    assert failed(changed, noted=figures_of(bids, **own), segments=bids)


def test_the_length_of_a_key_counts_in_bytes():
    bids = long_keys(bid_table())
    staged = StagedTables(bids=bids, segments=bids, features=FEATURES, noted=figures_of(bids), changed=())
    check = next(check for check in table_checks(staged, measured(bids)) if check.name == "longest_key_bytes")
    assert check.figure == 260


def test_tables_with_another_checksum_than_noted_fail_by_name():
    bids = bid_table()
    staged = StagedTables(bids, bids, FEATURES, figures_of(bids), changed=("bids.parquet",))
    check = table_checks(staged, measured(bids))[0]
    assert check.verdict == "failed" and "bids.parquet are not what compute_bids wrote" in check.message
