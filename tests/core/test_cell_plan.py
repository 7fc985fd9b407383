"""How fine the cells of a log are read where it has more than may be read."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from optimizer.core.landscape.cell_plan import plan_cells
from optimizer.core.landscape.cells import count_days, prepare_cells, split_by_time
from optimizer.core.landscape.features import FeatureScore, Selection
from optimizer.core.landscape.grain import FINE_DAYS, LADDER, NEARLY_FINEST, fine_from, finest_within
from optimizer.errors import DataError

CANDIDATES = ("adspace", "region", "os", "browser")
VALUES = {"adspace": 10, "region": 50, "os": 6, "browser": 5, "user": 100_000}


def count(counted) -> list[int]:
    """Each feature multiplies the cells by its values, each grain divides them by a third."""
    return [
        max(1, int(np.prod([float(VALUES[feature]) for feature in own]) / 3 ** LADDER.index(grain)))
        for own, grain in counted
    ]


def judging(*chosen: str, known_by: tuple[str, ...] = ()):
    """A choice of these features, and what it was asked."""
    asked = []

    def judge(features, grain):
        asked.append((tuple(features), grain))
        scores = [FeatureScore(f, 1.0, 0.1, -0.1, f in chosen, f == "adspace", "no gain") for f in features]
        return Selection(chosen, tuple(scores)), known_by

    return judge, asked


def plan(max_cells: int, judge, *, candidates=CANDIDATES, needed=("adspace",)):
    return plan_cells(candidates, needed=needed, max_features=4, max_cells=max_cells, count=count, judge=judge)


def test_a_log_within_the_bound_is_read_as_it_is():
    judge, asked = judging("adspace")
    found = plan(15_000, judge)
    assert found.is_finest and found.features == CANDIDATES and found.finest_cells == 15_000
    assert not asked


def test_what_is_older_is_coarsened_first_and_no_feature_is_judged_for_that():
    judge, asked = judging("adspace")
    found = plan(14_999, judge)
    assert found.grain == LADDER[1] and found.features == CANDIDATES and not found.is_finest
    assert LADDER[1].price_buckets == 1 and not asked


def test_features_that_would_not_join_the_key_are_left_out_before_latest_prices_are_coarsened():
    judge, asked = judging("adspace", "region", "os")
    found = plan(600, judge)
    assert found.features == ("adspace", "region", "os") and found.grain == LADDER[2]
    coarse = plan(100, judge).grain
    assert coarse == LADDER[4] and coarse.base_buckets == 1
    assert [score.feature_name for score in found.left_out] == ["browser"] and not found.unjudged
    assert "max_cells" in found.left_out[0].reason
    assert LADDER.index(asked[1][1]) >= NEARLY_FINEST


def test_the_key_of_the_active_run_and_what_earlier_bids_are_known_by_stay():
    judge, _ = judging("adspace", known_by=("browser",))
    found = plan(100, judge, needed=("adspace", "os"))
    assert found.features == ("adspace", "os", "browser")


def test_where_the_coarsest_cells_by_all_are_too_many_features_join_one_by_one():
    judge, asked = judging("adspace", "region", "os")
    found = plan(20_000, judge, candidates=("user", *CANDIDATES))
    assert found.features == ("adspace", "region", "os") and found.grain == LADDER[0]
    assert {score.feature_name for score in found.left_out} == {"user", "browser"} and not found.unjudged
    assert max(len(features) for features, _ in asked) < 5


def test_a_feature_with_too_many_values_beside_the_anchor_alone_is_left_out_unjudged():
    judge, asked = judging("adspace", "region")
    found = plan(100, judge, candidates=("adspace", "region", "user"))
    assert found.unjudged == ("user",) and found.features == ("adspace", "region")
    assert "unjudged" in found.left_out[0].reason
    assert all("user" not in features for features, _ in asked)


def test_needed_features_stay_as_far_as_they_fit_and_an_anchor_that_is_too_large_alone_is_refused():
    judge, _ = judging("region")
    found = plan(100, judge, candidates=("region", "os", "user"), needed=("region", "user"))
    assert found.features == ("region",) and found.unjudged == ("user",)
    with pytest.raises(DataError, match="max_cells=10 cells by user alone"):
        plan(10, judge, candidates=("user", "region"), needed=("user",))


def test_every_grain_of_the_ladder_is_coarser_than_the_one_before_and_merges_buckets_around_their_middle():
    for finer, coarser in pairwise(LADDER):
        for name in ("price_buckets", "older_price_buckets", "base_buckets", "older_days"):
            assert getattr(finer, name) <= getattr(coarser, name)
    assert all(size % 2 for grain in LADDER for size in (grain.price_buckets, grain.older_price_buckets))
    assert finest_within([9, 5, 2], 5) == 1 and finest_within([9, 5, 2], 1) is None


def test_the_latest_days_begin_at_a_midnight():
    assert fine_from(datetime(2026, 3, 6, 15, tzinfo=UTC)).isoformat() == "2026-01-30T00:00:00"
    assert FINE_DAYS == 35


def log(days: int, *, merged: int = 0) -> pd.DataFrame:
    """A cell a day, the first `merged` weeks as one day each."""
    last = date(2026, 3, 5)
    ages = list(range(days - 7 * merged)) + [days - 7 * merged + 7 * week + 3 for week in range(merged)]
    spans = [1] * (days - 7 * merged) + [7] * merged
    bids = 100 * np.array(spans)
    cells = pd.DataFrame({"day": [last - timedelta(days=age) for age in ages], "bids": bids, "wins": bids // 3})
    cells = cells.assign(clicks=0, bid_cpm_sum=bids * 1.0, base_bid_cpm_sum=np.nan)
    return cells.assign(day_span=spans) if merged else cells


def test_a_split_by_time_is_the_same_where_days_before_its_slices_are_one():
    whole, merged = (prepare_cells(log(60, merged=weeks), []) for weeks in (0, 3))
    assert count_days(whole) == count_days(merged) == 60
    assert split_by_time(whole) == split_by_time(merged)


def test_a_split_by_time_may_begin_within_merged_days():
    cells = prepare_cells(log(210, merged=25), [])
    train, calibrate, test = split_by_time(cells).slices(cells)
    assert count_days(test) == pytest.approx(0.15 * 210, abs=7)
    assert count_days(calibrate) == pytest.approx(0.15 * 210, abs=7)
    assert len(train) > 10
