"""How runs share the bids, against the same counts made in pandas from the same events."""

from typing import Any

import pandas as pd
import pytest
from warehouse.reference import END, START, WINDOW, auctions, of_known_npis

from lab.market.tables import Events
from optimizer.warehouse.extraction import Window
from optimizer.warehouse.split_counts import SplitCounts, read_split_counts

PLACE = "internal_adspace_id"


@pytest.fixture(scope="module")
def counts(connection: Any) -> SplitCounts:
    return read_split_counts(connection, window=WINDOW, place=PLACE)


@pytest.fixture(scope="module")
def bids(log: Events) -> pd.DataFrame:
    found = auctions(log)
    return found[found["run_id"].notna()]


def test_bids_by_day_and_by_place_are_what_pandas_counts(counts: SplitCounts, bids: pd.DataFrame):
    expected = bids.groupby(["day", "run_id"]).size()
    assert counts.by_day.set_index(["day", "run_id"])["bids"].sort_index().to_dict() == expected.to_dict()
    places = bids.assign(value=bids[PLACE].fillna("")).groupby(["value", "run_id"]).size()
    assert counts.by_place.set_index(["value", "run_id"])["bids"].to_dict() == places.to_dict()
    assert set(counts.by_place["dimension"]) == {PLACE} and len(places) > 5


def test_an_npi_counts_once_for_the_run_of_its_first_bid(counts: SplitCounts, bids: pd.DataFrame):
    named = of_known_npis(bids).sort_values(["bid_ts", "run_id"])
    firsts = named.groupby("npi").first()["run_id"].value_counts()
    assert counts.ids == firsts.to_dict() and sum(counts.ids.values()) == named["npi"].nunique() > 10
    assert sum(counts.named_bids.values()) == len(named)
    assert counts.largest_id_bids == named["npi"].value_counts().max()


def test_only_counts_leave_the_warehouse(counts: SplitCounts, bids: pd.DataFrame):
    npis = set(bids["npi"].dropna()) - {""}
    assert npis and not any(npi in str(counts) for npi in npis)


def test_a_window_without_bids_counts_nothing(connection: Any):
    nobody = Window(object_id=999, data_start_at=START, data_end_at=END)
    empty = read_split_counts(connection, window=nobody, place=PLACE)
    assert (len(empty.by_day), len(empty.by_place), empty.ids, empty.largest_id_bids) == (0, 0, {}, 0.0)
