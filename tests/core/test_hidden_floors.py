import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from optimizer.core.landscape.hidden_floors import (
    above_hidden_floors,
    find_floors,
    find_hidden_floors,
    log_ratio_to_day_before,
)

GROUPS = 6


def bids_with_floor(
    seed: int, floors: np.ndarray, *, bids: int = 6_000, slope: float = 2.0
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return cells of single bids, and their group; bids below a group's floor never win."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, GROUPS, bids)
    bid = 8 * np.exp(rng.normal(0, 0.3, bids)).round(2)
    won = (rng.random(bids) < expit(-0.8 + slope * np.log(bid / 8))) & (bid > floors[group])
    day = pd.Timestamp("2026-01-05") + pd.to_timedelta(rng.integers(0, 14, bids), unit="D")
    return pd.DataFrame({"day": day, "bids": 1, "wins": won.astype(int), "log_bid": np.log(bid)}), group


def test_a_floor_that_is_never_passed_is_found_within_a_few_percent():
    for seed in range(10):
        floors = np.array([0.0, 7.0, 8.0, 0.0, 9.0, 0.0])
        cells, group = bids_with_floor(seed, floors)
        found = find_hidden_floors(cells, group=group, size=GROUPS)
        assert (found > 0).tolist() == (floors > 0).tolist()
        assert found[floors > 0] == pytest.approx(floors[floors > 0], rel=0.05)
        assert (found[floors > 0] >= floors[floors > 0]).all()


@pytest.mark.parametrize("slope", [1.0, 3.0, 6.0])
def test_a_curve_without_a_floor_has_none_however_steep(slope):
    found = [
        find_hidden_floors(cells, group=group, size=GROUPS)
        for cells, group in (bids_with_floor(seed, np.zeros(GROUPS), slope=slope) for seed in range(20))
    ]
    assert np.max(found) == 0.0


def test_a_group_with_hardly_a_bid_below_has_no_floor():
    cells, group = bids_with_floor(1, np.full(GROUPS, 5.0), bids=600)
    assert (find_hidden_floors(cells, group=group, size=GROUPS) == 0.0).all()


def test_only_bids_at_or_above_the_floor_of_their_group_count():
    cells = pd.DataFrame({"log_bid": np.log([4.99, 5.0, 4.0])})
    is_above = above_hidden_floors(cells, group=np.array([0, 0, 1]), floors=np.array([5.0, 0.0]))
    assert is_above.tolist() == [False, True, True]


FIRST = pd.Timestamp("2026-01-05")


def bids_with_following_floor(
    seed: int,
    *,
    share: float = 0.85,
    since: int = 10,
    days: int = 21,
    bids: int = 1_500,
    drift: float = 0.02,
    fixed_cpm: float = 0.0,
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return single bids of `bids` a day; from day `since` on those below the share of the day before's mean lose."""
    rng = np.random.default_rng(seed)
    group, day = rng.integers(0, GROUPS, days * bids), np.repeat(np.arange(days), bids)
    usual = 8 * np.exp(rng.normal(0, 0.5, GROUPS))[group] * np.exp(drift * day)
    bid = (usual * np.exp(rng.normal(0, 0.4, len(day)))).round(2)
    mean = pd.Series(bid).groupby([day, group]).mean().unstack().shift(1).to_numpy()[day, group]
    floor = np.where(day >= since, share * np.nan_to_num(mean), 0.0)
    won = (rng.random(len(day)) < expit(-0.8 + 2 * np.log(bid / usual))) & (bid >= np.maximum(floor, fixed_cpm))
    cells = pd.DataFrame(
        {"day": FIRST + pd.to_timedelta(day, unit="D"), "bids": 1, "wins": won.astype(int), "log_bid": np.log(bid)}
    )
    return cells, group


@pytest.mark.parametrize("share", [0.7, 0.85, 0.95])
def test_a_floor_that_follows_the_bids_is_found_with_its_share_and_its_days(share):
    for seed in range(5):
        cells, group = bids_with_following_floor(seed, share=share)
        floors = find_floors(cells, group=group, size=GROUPS)
        assert floors.following.share == pytest.approx(share, rel=0.02)
        assert [(day - FIRST).days for day in floors.following.days] == list(range(10, 21))
        assert (floors.fixed_cpm == 0).all()


def test_bids_below_a_following_floor_are_left_out_on_its_days():
    cells, group = bids_with_following_floor(1)
    floors = find_floors(cells, group=group, size=GROUPS)
    ratio = log_ratio_to_day_before(cells, group=group, size=GROUPS)
    is_below = (ratio < np.log(floors.following.share)) & cells["day"].isin(floors.following.days)
    assert (floors.is_above == ~is_below).all() and 0.1 < is_below.mean() < 0.4
    assert cells["wins"][~floors.is_above].sum() <= 0.01 * is_below.sum()


@pytest.mark.parametrize("drift", [0.0, 0.02])
def test_bids_that_no_floor_follows_show_none(drift):
    for seed in range(10):
        cells, group = bids_with_following_floor(seed, since=99, drift=drift)
        assert find_floors(cells, group=group, size=GROUPS).following is None


def test_a_fixed_floor_is_not_taken_for_one_that_follows():
    for seed in range(10):
        cells, group = bids_with_following_floor(seed, since=99, fixed_cpm=7.0, drift=0.0)
        floors = find_floors(cells, group=group, size=GROUPS)
        assert floors.following is None and (floors.fixed_cpm > 0).any()


def test_a_floor_that_followed_until_two_days_ago_does_not_count():
    cells, group = bids_with_following_floor(1)
    later, _ = bids_with_following_floor(1, since=99)
    is_last = cells["day"] >= FIRST + pd.Timedelta(days=19)
    cells["wins"] = later["wins"].where(is_last, cells["wins"])
    assert find_floors(cells, group=group, size=GROUPS).following is None


@pytest.mark.parametrize("free", [[17], [15, 16, 18]])
def test_a_day_on_which_the_floor_was_off_keeps_its_bids(free):
    cells, group = bids_with_following_floor(1)
    without, _ = bids_with_following_floor(1, since=99)
    is_free = cells["day"].isin([FIRST + pd.Timedelta(days=day) for day in free])
    cells["wins"] = without["wins"].where(is_free, cells["wins"])
    floors = find_floors(cells, group=group, size=GROUPS)
    assert [(day - FIRST).days for day in floors.following.days] == [day for day in range(10, 21) if day not in free]
    assert floors.is_above[is_free].all()


def test_the_ratio_is_to_the_mean_bid_of_the_same_group_on_the_day_before():
    cells = pd.DataFrame(
        {
            "day": FIRST + pd.to_timedelta([0, 0, 1, 1, 3], unit="D"),
            "bids": [3, 1, 1, 1, 1],
            "wins": 0,
            "log_bid": np.log([4.0, 8.0, 10.0, 6.0, 6.0]),
        }
    )
    ratio = log_ratio_to_day_before(cells, group=np.array([0, 0, 0, 1, 0]), size=2)
    assert np.exp(ratio[2]) == pytest.approx(2.0)
    assert np.isnan(ratio[[0, 1, 3, 4]]).all()
