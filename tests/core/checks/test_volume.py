"""Runs that would all but stop the bidding."""

import numpy as np
import pandas as pd
import pytest
from core.checks.tables import SETTINGS, bid_table, figures_of, measured
from core.noted_figures import bid_figures

from optimizer.core.checks.volume import VolumeBaseline, volume_checks

LOG = pd.DataFrame(
    {
        "day": pd.date_range("2026-01-01", periods=20),
        "bids": 1000,
        "wins": [900] * 10 + [400] * 10,
        "cost_cpm_sum": [9000.0] * 10 + [4000.0] * 10,
    }
)


def verdicts(bids: pd.DataFrame, settings=SETTINGS, **figures) -> dict[str, str]:
    noted = figures_of(bid_table(), **figures)
    return {c.name: c.verdict for c in volume_checks(measured(bids), figures=noted, cells=LOG, settings=settings)}


def blocked(share: float) -> pd.DataFrame:
    """Nothing is left of this share of the segments between floor and cap, as with a floor in micros."""
    bids = bid_table()
    rows = np.arange(len(bids)) < share * len(bids)
    prices = {name: bids[name].mask(rows) for name in ("suggested_bid_cpm", "planned_bid_cpm")}
    return bids.assign(**prices, is_served=~rows, is_blocked=rows, reason=np.where(rows, "no_bid_floor", "target"))


def test_usual_bids_pass():
    assert set(verdicts(bid_table()).values()) == {"passed"}


def test_blocked_keys_are_not_covered():
    assert measured(blocked(0.5)).row_coverage == pytest.approx(0.5, abs=0.05)
    assert measured(blocked(1.0)).row_coverage == 0


def test_a_run_that_blocks_most_keys_fails_on_coverage_wins_and_spend():
    found = verdicts(blocked(0.99))
    assert {found[name] for name in ("row_coverage", "win_share", "spend_share")} == {"failed"}


def test_a_first_run_is_compared_with_the_latest_week_of_the_log():
    none = dict.fromkeys(("active_expected_win_rate", "active_expected_cpm", "active_row_coverage"))
    assert VolumeBaseline.of(bid_figures(**none), LOG) == VolumeBaseline(0.4, 4.0)
    assert verdicts(bid_table(), **none)["win_share"] == "passed"
    assert verdicts(blocked(0.8), **none)["win_share"] == "failed"


def test_a_lower_target_is_not_taken_for_a_stop():
    settings = SETTINGS.model_copy(update={"target_win_rate": 0.1})
    bids = bid_table()
    low = bids.assign(suggested_bid_cpm=bids["suggested_bid_cpm"] / 3)
    assert measured(low).win_rate == pytest.approx(0.1, abs=0.02)
    assert verdicts(low)["win_share"] == "failed"
    assert verdicts(low, settings)["win_share"] == "passed"


def test_winning_as_much_for_half_the_price_is_not_taken_for_a_stop():
    before = figures_of(bid_table()).active_expected_cpm
    assert verdicts(bid_table(), active_expected_cpm=2 * before)["spend_share"] == "passed"
