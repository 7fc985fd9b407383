"""Amounts in micros, cents or thousandths."""

import numpy as np
import pandas as pd
import pytest

from optimizer.core.checks.units import unit_checks, unit_of
from optimizer.core.config.settings import RunSettings

SETTINGS = RunSettings(floor_available=True)


def cells(values: int = 10) -> pd.DataFrame:
    """Cells of ten adspaces: bids around 2.5 CPM, floors around 1, half of the bids won, revenue twice the cost."""
    chance = np.random.default_rng(1)
    size = 40 * values
    bids = chance.integers(20, 200, size).astype(float)
    bid, wins = 2.5 * np.exp(chance.normal(0, 0.3, size)), np.round(bids / 2)
    return pd.DataFrame(
        {
            "day": pd.Timestamp("2026-01-05"),
            "adspace": np.resize([f"a{number}" for number in range(values)], size),
            "bids": bids,
            "wins": wins,
            "bid_cpm_sum": bids * bid,
            "cost_cpm_sum": wins * bid,
            "view_revenue": 2 * wins * bid / 1000,
            "click_revenue": 0.0,
            "floor_cpm_max": 1.0,
        }
    )


def failed(table: pd.DataFrame, settings: RunSettings = SETTINGS) -> dict[str, tuple[str, str]]:
    checks = unit_checks(table, by="adspace", settings=settings)
    return {check.name: (check.verdict, check.message) for check in checks if not check.is_passed}


def test_amounts_in_the_units_of_the_contract_pass():
    assert failed(cells()) == {}
    assert failed(cells().assign(floor_cpm_max=np.nan, view_revenue=0.0)) == {}


def test_floors_in_micros_are_named_with_their_adspaces_and_how_to_convert_them():
    table = cells()
    table["floor_cpm_max"] = table["floor_cpm_max"].where(table["adspace"] == "a9", 2_500_000)
    verdict, message = failed(table)["floor_unit"]
    assert verdict == "failed"
    assert (
        "floor_cpm of adspace a0, a1, a2 and 6 more (9 of 10 values) looks like micros: divide by 1,000,000" in message
    )
    assert "median 2,500,000, against a median bid of 2." in message


def test_floors_that_are_not_used_only_warn():
    assert failed(cells().assign(floor_cpm_max=250.0), RunSettings())["floor_unit"][0] == "warning"


def test_a_floor_that_no_bid_won_below_may_be_true():
    table = cells()
    table.loc[table["adspace"] == "a1", ["floor_cpm_max", "wins"]] = (400.0, 0.0)
    assert "floor_unit" not in failed(table)


@pytest.mark.parametrize(
    ("column", "factor", "rule", "verdict", "text"),
    [
        ("cost_cpm_sum", 100, "cost_unit", "failed", "cost_cpm looks like cents: divide by 100"),
        ("cost_cpm_sum", 0.001, "cost_unit", "failed", "cost_cpm looks 1,000 times too small: multiply by 1,000"),
        ("view_revenue", 1000, "revenue_unit", "holds", "revenue looks like thousandths: divide by 1,000"),
        ("view_revenue", 1e6, "revenue_unit", "holds", "revenue looks like micros: divide by 1,000,000"),
    ],
)
def test_costs_and_revenue_in_another_unit_are_named(column: str, factor: float, rule: str, verdict: str, text: str):
    table = cells()
    found = failed(table.assign(**{column: table[column] * factor}))
    assert found[rule][0] == verdict and text in found[rule][1]


def test_bids_of_one_adspace_in_cents_are_named():
    table = cells()
    rows = table["adspace"] == "a4"
    table.loc[rows, ["bid_cpm_sum", "cost_cpm_sum"]] *= 100
    assert "bid_cpm of adspace a4 (1 of 10 values) looks like cents" in failed(table)["bid_unit"][1]


def test_bids_that_are_all_in_micros_are_found_by_the_cap():
    table = cells()
    for column in ("bid_cpm_sum", "cost_cpm_sum"):
        table[column] *= 1e6
    assert "against max_bid_cpm=30" in failed(table)["bid_unit"][1]


def test_costs_above_the_bids_warn():
    table = cells()
    assert failed(table.assign(cost_cpm_sum=1.5 * table["cost_cpm_sum"]))["cost_over_bid"][0] == "warning"


def test_a_ratio_near_no_unit_is_said_as_a_number():
    assert unit_of(2e8) == "is 2e+08 times what it should be"
