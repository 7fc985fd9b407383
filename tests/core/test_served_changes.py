"""Changes of served bids between runs that were priced with known numbers, and their causes."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from core.priced_runs import PricedRun, price, segment_table

from optimizer.core.pricing.served_changes import ServedBids, served_changes

WIDE = {"daily_step_limit": 1.0, "floor_available": False}
"""Settings under which little bounds a bid."""

NEAR = {**WIDE, "target_win_rate": 0.02}
"""The same with a target that is reached for free: the shadow price is 0."""


def served(run: PricedRun, *, fallback_cpm: float = 9.5) -> ServedBids:
    bids = run.bids["suggested_bid_cpm"].fillna(0.0)
    return ServedBids(dict(zip(run.bids["segment_key"], bids, strict=True)), fallback_cpm)


def changes(before: PricedRun, after: PricedRun, bids: ServedBids | None = None) -> pd.DataFrame:
    return served_changes(
        before.compared("before"),
        after.compared("after"),
        served_before=served(before) if bids is None else bids,
        landscape=after.landscape,
    )


def moved(**columns: float) -> pd.DataFrame:
    """Segments whose columns have another value, added to what they had."""
    table = segment_table()
    return table.assign(**{name: table[name] + value for name, value in columns.items()})


def test_a_run_that_serves_the_same_changes_nothing():
    run = price(segment_table())
    assert changes(run, run).empty


def test_a_change_has_both_served_bids_and_the_spend_that_the_curves_expect_of_each():
    before, after = price(segment_table(), **WIDE), price(segment_table(), **WIDE, target_win_rate=0.4)
    found = changes(before, after)
    assert len(found) > 50
    rows = after.bids.set_index("segment_key").loc[found["segment_key"]]
    old = before.bids.set_index("segment_key").loc[found["segment_key"], "suggested_bid_cpm"].to_numpy()
    assert found["before_cpm"].to_numpy() == pytest.approx(old)
    assert found["after_cpm"].to_numpy() == pytest.approx(rows["suggested_bid_cpm"].to_numpy())
    win_rate = after.landscape.win_rate(rows["level"].to_numpy(), rows["slope"].to_numpy(), old)
    spend = rows["requests"] * (rows["expected_win_rate"] * rows["expected_cost_cpm"] - win_rate * old) / 1000
    assert found["spend_change"].to_numpy() == pytest.approx(spend.to_numpy())
    at_stake = found["spend_change"].abs()
    assert at_stake.is_monotonic_decreasing


@pytest.mark.parametrize(
    ("cause", "before", "after"),
    [
        ("target", price(segment_table(), **WIDE), price(segment_table(), **WIDE, target_win_rate=0.5)),
        ("learned", price(segment_table(), **NEAR), price(moved(level=-0.8, model_level=-0.8), **NEAR)),
        ("cap", price(segment_table(), **WIDE), price(segment_table(), **WIDE, max_bid_cpm=5.0)),
        ("jitter", price(segment_table(), **WIDE), price(segment_table(), **WIDE, run_id="another")),
    ],
    ids=["target", "learned", "cap", "jitter"],
)
def test_what_was_changed_is_the_cause_of_most_changes(cause, before, after):
    shares = changes(before, after).groupby("cause")["requests"].sum()
    assert shares.idxmax() == cause


def test_a_bid_that_moves_by_the_daily_step_has_the_step_as_its_cause():
    settings = {"daily_step_limit": 0.05, "floor_available": False, "target_win_rate": 0.6}
    before = price(segment_table().assign(step_from_cpm=5.0), **settings)
    today = segment_table().assign(step_from_cpm=before.bids["suggested_bid_cpm"])
    found = changes(before, price(today, **settings))
    assert found[found["reason"] == "step"]["cause"].eq("step").all()
    assert (found["cause"] == "step").mean() > 0.8


def test_a_segment_that_the_live_run_did_not_know_was_served_its_fallback():
    whole = price(segment_table())
    known = replace(whole, bids=whole.bids.iloc[1:])
    new = changes(known, whole)
    assert new["segment_key"].tolist() == [whole.bids["segment_key"].iloc[0]]
    assert (new["cause"].item(), new["before_cpm"].item()) == ("new_segment", 9.5)


def test_no_bid_and_a_bid_again_are_causes_of_their_own():
    run = price(segment_table())
    first, second = run.bids["segment_key"].iloc[:2]
    blocked = run.bids["segment_key"] == first
    nothing = {"planned_bid_cpm": np.nan, "suggested_bid_cpm": np.nan, "reason": "no_bid_floor"}
    silent = replace(run, bids=run.bids.assign(**{k: run.bids[k].mask(blocked, v) for k, v in nothing.items()}))
    known = served(run)
    was_blocked = replace(known, bids_cpm={**known.bids_cpm, second: 0.0})
    without = replace(run, bids=run.bids[run.bids["segment_key"] != second])
    found = changes(without, silent, was_blocked).set_index("segment_key")
    assert found["cause"].to_dict() == {first: "no_bid", second: "bid_again"}
    assert found.loc[first, "after_cpm"] == 0 and found.loc[first, "spend_change"] < 0
    assert found.loc[second, "before_cpm"] == 0 and found.loc[second, "spend_change"] > 0


def test_a_bid_below_a_hidden_floor_spends_nothing():
    low = price(segment_table(), **WIDE)
    lifted = price(segment_table().assign(hidden_floor_cpm=15.0), **WIDE)
    found = changes(low, lifted)
    raised = found[(found["before_cpm"] < 15.0) & (found["after_cpm"] > 15.0)]
    rows = lifted.bids.set_index("segment_key").loc[raised["segment_key"]]
    spend = rows["requests"] * rows["expected_win_rate"] * rows["expected_cost_cpm"] / 1000
    assert len(raised) > 20
    assert raised["spend_change"].to_numpy() == pytest.approx(spend.to_numpy())
