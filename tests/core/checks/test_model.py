"""Features that know the outcome, and features that do not."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from optimizer.core.checks.model import model_checks, outcome_auc, outcome_check
from optimizer.core.config.settings import RunSettings

REPORT: dict[str, Any] = {
    "largest_fall": 0.0,
    "wr_model_ece": 0.02,
    "ctr_model_used": False,
    "ctr_model_auc": 0.55,
    "ctr_model_auc_error": 0.1,
}


def cells(size: int = 20_000, days: int = 20) -> pd.DataFrame:
    """One auction a cell: adspace moves the win rate, noise has 5,000 values, id is new in each auction."""
    chance = np.random.default_rng(1)
    adspace = chance.integers(0, 10, size)
    won = chance.random(size) < 0.1 + 0.08 * adspace
    return pd.DataFrame(
        {
            "day": pd.Timestamp("2026-01-05") + pd.to_timedelta(chance.integers(0, days, size), unit="D"),
            "adspace": adspace.astype(str),
            "noise": chance.integers(0, 5_000, size).astype(str),
            "id": np.arange(size).astype(str),
            "device_type": np.where(won, "won", "lost"),
            "bids": 1,
            "wins": won.astype(int),
        }
    )


@pytest.mark.parametrize(("feature", "low", "high"), [("adspace", 0.6, 0.9), ("noise", 0.45, 0.55), ("id", 0.5, 0.5)])
def test_traits_of_the_request_do_not_know_the_outcome(feature: str, low: float, high: float):
    assert low <= outcome_auc(cells(), feature) <= high
    assert outcome_check(cells(), [feature], selected=[feature]).is_passed


def test_a_feature_that_knows_the_outcome_fails_by_name_with_its_macro():
    check = outcome_check(cells(), ["adspace", "noise", "device_type"], selected=["adspace", "device_type"])
    assert check.verdict == "failed"
    assert "device_type (in the segment key) knows whether the bid won" in check.message
    assert "set status='I' on device_type in opt_feature_macros" in check.message


def test_a_feature_that_knows_most_outcomes_fails_too():
    table = cells()
    unknown = np.arange(len(table)) % 10 == 0
    assert not outcome_check(
        table.assign(device_type=table["device_type"].mask(unknown)), ["device_type"], selected=[]
    ).is_passed


def test_logs_that_show_nothing_pass():
    assert outcome_auc(cells(days=1), "device_type") == 0.5
    assert outcome_auc(cells().assign(wins=0), "device_type") == 0.5


@pytest.mark.parametrize(("is_used", "names"), [(False, set()), (True, {"ctr_auc_lower"})])
def test_a_click_model_that_is_not_used_does_not_warn(is_used: bool, names: set[str]):
    checks = model_checks(SimpleNamespace(**REPORT | {"ctr_model_used": is_used}), RunSettings())
    assert {check.name for check in checks if not check.is_passed} == names
