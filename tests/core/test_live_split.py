"""Is the traffic split as deployed? Mismatches that matter alarm, honest splits do not, and causes are named."""

import numpy as np
import pandas as pd
import pytest

from lab.live_market.splits import DEPLOYED, alarms, new_ids, same_ids
from optimizer.core.live.split_check import ALARM_P, SplitCause, check_split, ids_p_value, is_far

WORLDS, DAYS = 1_000, 30
PERCENTS = {"a": 20, "b": 80}


def counts_of(*days: dict[str, int]) -> pd.DataFrame:
    rows = [(day, run_id, bids) for day, of_day in enumerate(days) for run_id, bids in of_day.items()]
    return pd.DataFrame(rows, columns=["day", "run_id", "bids"])


def places_of(dimension: str, **bids: dict[str, int]) -> pd.DataFrame:
    rows = [(dimension, value, run_id, number) for value, of in bids.items() for run_id, number in of.items()]
    return pd.DataFrame(rows, columns=["dimension", "value", "run_id", "bids"])


@pytest.mark.parametrize("draw", [new_ids, same_ids])
@pytest.mark.parametrize("seen", ["all days so far", "the last day"])
def test_an_honest_split_alarms_in_at_most_1_percent_of_worlds_in_30_days(draw, seen: str):
    bids = draw(np.random.default_rng(1), DEPLOYED, worlds=WORLDS, days=DAYS)
    alarmed = np.zeros(WORLDS, bool)
    for day in range(1, DAYS + 1):
        alarmed |= alarms(bids[:, :day] if seen == "all days so far" else bids[:, day - 1 : day])
    assert alarmed.mean() <= 0.01


def test_honest_counts_of_few_ids_alarm_in_at_most_1_percent_of_worlds_in_30_days():
    ids = np.random.default_rng(1).multinomial(300, DEPLOYED, (WORLDS, DAYS))
    off = (ids_p_value(ids, deployed=DEPLOYED) < ALARM_P) & is_far(ids, deployed=DEPLOYED)
    assert off.any(1).mean() <= 0.01


def test_30_percent_instead_of_20_alarms_on_one_day_of_5000_bids():
    assert check_split(counts_of({"a": 1_500, "b": 3_500}), percents=PERCENTS).is_off
    bids = new_ids(np.random.default_rng(1), np.array([0.3, 0.7]), worlds=WORLDS, days=1)
    assert bids.sum((1, 2)).mean() == pytest.approx(5_100, rel=0.02)
    assert alarms(bids).mean() >= 0.99


def test_a_deviation_that_is_significant_and_tiny_does_not_alarm():
    found = check_split(counts_of({"a": 2_200_000, "b": 7_800_000}), percents=PERCENTS, ids={"a": 22_000, "b": 78_000})
    assert found.p_value < 1e-9 and not found.is_off and found.causes == ()


def test_a_deviation_that_is_large_and_of_a_few_bids_does_not_alarm():
    assert not check_split(counts_of({"a": 12, "b": 18}), percents=PERCENTS).is_off


def test_the_shares_of_every_run_are_returned():
    found = check_split(counts_of({"a": 210, "b": 780, "c": 10}), percents=PERCENTS, ids={"a": 20, "b": 80})
    assert [(share.run_id, share.deployed, share.bids, share.ids) for share in found.shares] == [
        ("a", 0.2, pytest.approx(0.21), 0.2),
        ("b", 0.8, pytest.approx(0.78), 0.8),
        ("c", 0.0, pytest.approx(0.01), 0.0),
    ]
    assert check_split(counts_of({"a": 21, "b": 79}), percents=PERCENTS).shares[0].ids is None


@pytest.mark.parametrize(
    ("bids", "previous"),
    [
        ({"b": 5_000}, None),  # a run is missing
        ({"b": 5_000}, {"b": 100}),
        ({"a": 2_500, "b": 2_500}, {"a": 50, "b": 50}),
        ({"old": 5_000}, {"old": 100}),
        ({"old": 1_000, "b": 4_000}, {"old": 20, "b": 80}),
    ],
)
def test_a_missing_run_or_the_shares_before_are_a_bidder_that_has_not_loaded_the_split(bids, previous):
    found = check_split(counts_of(bids), percents=PERCENTS, previous_percents=previous)
    assert found.is_off and found.causes == (SplitCause.STALE_SPLIT,)


def test_a_mismatch_is_over_on_the_first_day_that_is_split_as_deployed():
    stale, fixed = {"b": 1_500}, {"a": 310, "b": 1_190}
    first_seen = {"a": 40, "b": 460}  # an id counts for the run of its first bid: it shows the days before for long

    def is_off(*days: dict[str, int]) -> bool:
        return check_split(counts_of(*days), percents=PERCENTS, ids=first_seen).is_off

    assert is_off(stale) and is_off(stale, stale) and is_off(stale, fixed, stale)
    assert not is_off(stale, fixed) and not is_off(stale, stale, fixed)
    assert is_off(fixed, fixed)  # nothing changed, so the ids decide


def test_a_small_canary_that_is_missing_alarms_and_one_that_is_a_little_small_does_not():
    percents = {"a": 5, "b": 95}
    assert check_split(counts_of({"b": 5_000}), percents=percents).causes == (SplitCause.STALE_SPLIT,)
    assert not check_split(counts_of({"a": 200, "b": 4_800}), percents=percents).is_off


def test_a_mismatch_that_is_not_the_split_before_has_no_known_cause():
    found = check_split(counts_of({"a": 2_000, "b": 3_000}), percents=PERCENTS, previous_percents={"b": 100})
    assert found.is_off and found.causes == () and found.place is None


def test_a_mismatch_on_one_exchange_only_names_it():
    honest = {"a": 1_000, "b": 4_000}
    places = pd.concat(
        [
            places_of("exchange", x=honest, y={"a": 2_000, "b": 100}, z=honest),
            places_of("adspace", top={"a": 2_000, "b": 4_050}, side={"a": 2_000, "b": 4_050}),
        ]
    )
    found = check_split(counts_of({"a": 4_000, "b": 8_100}), percents=PERCENTS, places=places)
    assert (found.is_off, found.causes, found.place) == (True, (SplitCause.ONE_PLACE,), "exchange y")


def test_a_run_that_is_missing_everywhere_is_not_one_place():
    places = places_of("exchange", x={"b": 3_000}, y={"b": 2_000})
    found = check_split(counts_of({"b": 5_000}), percents=PERCENTS, places=places)
    assert found.causes == (SplitCause.STALE_SPLIT,) and found.place is None


def test_an_id_that_everyone_shares_alarms_though_the_ids_are_split_as_deployed():
    counts, ids = counts_of({"a": 3_000, "b": 4_000}), {"a": 400, "b": 1_600}
    found = check_split(counts, percents=PERCENTS, ids=ids, largest_id_bids=2_000)
    assert found.is_off and found.causes == (SplitCause.SHARED_ID,)
    assert not check_split(counts, percents=PERCENTS, ids=ids, largest_id_bids=100).is_off


def test_ids_decide_where_they_are_counted():
    counts = counts_of({"a": 1_000, "b": 4_000})
    assert check_split(counts, percents=PERCENTS, ids={"a": 600, "b": 1_400}).is_off
    assert not check_split(counts, percents=PERCENTS, ids={"a": 400, "b": 1_600}).is_off


def test_shares_that_vary_from_day_to_day_raise_the_design_effect():
    def effect(change: int) -> float:
        days = [{"a": 10_000 + move, "b": 40_000 - move} for move in (-change, change) * 10]
        return check_split(counts_of(*days), percents=PERCENTS).design_effect

    assert effect(0) == effect(100) < effect(3_000) / 5


@pytest.mark.parametrize("counts", [counts_of(), counts_of({"a": 0, "b": 0})], ids=["no rows", "no bids"])
def test_without_bids_there_is_nothing_to_alarm_about(counts: pd.DataFrame):
    found = check_split(counts, percents=PERCENTS)
    assert not found.is_off and {share.bids for share in found.shares} == {0.0}


def test_a_single_run_with_all_the_traffic_is_as_deployed():
    assert not check_split(counts_of({"a": 5_000}), percents={"a": 100}).is_off
    assert check_split(counts_of({"a": 4_000, "old": 1_000}), percents={"a": 100}).is_off
