import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from optimizer.core.landscape.hidden_floors import above_hidden_floors, find_hidden_floors

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
