from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from core.worlds import logistic_cells

from optimizer.core.landscape.cells import OWN_JITTER, block_hours, group_cells, prepare_cells, split_by_time, unmask
from optimizer.errors import DataError


def test_grouping_keeps_every_count():
    cells = prepare_cells(logistic_cells(1, bids=5_000), ["adspace", "region"])
    grouped = group_cells(cells, ["adspace"])
    for column in ("bids", "wins", "clicks", "bid_cpm_sum", "click_revenue"):
        assert grouped[column].sum() == pytest.approx(cells[column].sum())
    assert len(grouped) < len(cells)


def test_grouping_keeps_own_jitter_apart_from_what_others_bid_and_a_known_plan_from_an_unknown_one():
    cells = prepare_cells(logistic_cells(1, bids=5_000), ["adspace"])
    is_own = np.arange(len(cells)) % 2 == 0
    known = cells.assign(**{OWN_JITTER: is_own}, log_planned=np.where(is_own, np.log(8.0), np.nan))
    grouped = group_cells(known, ["adspace"])
    assert grouped.loc[grouped[OWN_JITTER], "bids"].sum() == is_own.sum()
    assert grouped.loc[grouped[OWN_JITTER], "log_planned"].to_numpy() == pytest.approx(np.log(8.0))
    assert grouped.loc[~grouped[OWN_JITTER], "log_planned"].isna().all()


def test_nulls_are_a_group_of_their_own_and_come_back_as_none():
    raw = logistic_cells(1, bids=2_000)
    raw.loc[raw["region"] == "r1", "region"] = None
    grouped = group_cells(prepare_cells(raw, ["region"]), ["region"])
    assert grouped["bids"].sum() == 2_000
    assert None in set(unmask(grouped["region"]))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [("wins", 2, "wins outside 0..bids"), ("bids", 0, "bids below 1"), ("bid_cpm_sum", -1.0, "not a positive number")],
)
def test_impossible_cells_are_refused_and_counted(column, value, message):
    raw = logistic_cells(1, bids=100)
    raw.loc[raw.index[:3], column] = value
    with pytest.raises(DataError, match=rf"3 cells with .*{message}"):
        prepare_cells(raw, ["adspace"])


def test_slices_follow_each_other_in_time():
    cells = prepare_cells(logistic_cells(1), ["adspace"])
    train, calibrate, test = split_by_time(cells).slices(cells)
    assert train["day"].max() < calibrate["day"].min() <= calibrate["day"].max() < test["day"].min()
    assert len(train) + len(calibrate) + len(test) == len(cells)


@pytest.mark.parametrize("days", [1, 2, 3, 4])
def test_a_log_of_a_few_days_is_divided_between_blocks_of_hours(days):
    log = logistic_cells(1, bids=20_000, days=days)
    log["block_hour"] = np.random.default_rng(1).integers(0, 6, len(log)) * 4
    cells = group_cells(prepare_cells(log, ["adspace"]), ["adspace"])
    train, calibrate, test = split_by_time(cells).slices(cells)
    assert train["block"].max() < calibrate["block"].min() <= calibrate["block"].max() < test["block"].min()
    assert 0.05 < test["bids"].sum() / 20_000 < 0.35
    assert (cells["day"] == cells["block"].dt.floor("D")).all()


def test_a_log_of_two_days_without_hours_is_refused_with_what_to_do():
    with pytest.raises(DataError, match=r"bids in 2 blocks of time; at least 3 are needed .* raise lookback_days"):
        split_by_time(prepare_cells(logistic_cells(1, days=2), ["adspace"]))


@pytest.mark.parametrize(("days", "hours"), [(1, 2), (2, 4), (3, 6), (4, 8), (5, 8), (9, 12), (10, None), (60, None)])
def test_a_short_window_has_a_dozen_blocks_or_more_and_a_long_one_its_days(days, hours):
    first = datetime(2026, 1, 5, 13, 30, tzinfo=UTC)
    assert block_hours(first, first.replace(hour=1) + timedelta(days=days - 1)) == hours


@pytest.mark.parametrize(
    ("share_won", "what", "advice"),
    [
        (1, "all 2,400 bids of the train days", "check that BIDS has the lost bids"),
        (0, "none of the", "check that VIEWS"),
    ],
)
def test_days_without_losses_or_wins_are_refused_with_advice_that_fits(share_won: int, what: str, advice: str):
    raw = logistic_cells(1, bids=4_000, days=20)
    raw["wins"] = share_won * raw["bids"]
    raw["clicks"] = 0
    with pytest.raises(DataError) as refused:
        split_by_time(prepare_cells(raw, ["adspace"]))
    message = str(refused.value)
    assert what.split(" bids")[0].split("2,400")[0].strip() in message and advice in message
    assert "lookback_days" not in message
