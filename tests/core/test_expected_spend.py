import numpy as np
import pandas as pd
import pytest

from optimizer.core.pricing.expected_spend import (
    DailySpend,
    expected_spend_by,
    largest_spend_by,
    seen_spend_by,
    total_spend,
)


def test_expected_spend_is_summed_by_value_with_the_rates_of_the_sums():
    bids = pd.DataFrame(
        {
            "requests": [1000.0, 3000.0, 500.0],
            "expected_win_rate": [0.4, 0.2, 0.0],
            "expected_cost_cpm": [10.0, 20.0, np.nan],
            "value_cpm": [20.0, 25.0, np.nan],
        }
    )
    (texas, spend), (missing, nothing) = expected_spend_by(bids, ["Texas", "Texas", None])
    assert (texas, missing) == ("Texas", None)
    assert spend == DailySpend(requests=4000, wins=1000, spend=pytest.approx(16.0), value=pytest.approx(23.0))
    assert (spend.win_rate, spend.cpm, spend.margin) == pytest.approx((0.25, 16.0, 1 - 16 / 23))
    assert nothing == DailySpend(requests=500.0)
    assert (nothing.win_rate, nothing.cpm, nothing.margin) == (0.0, None, None)


def test_the_largest_spend_comes_first_and_the_scale_is_on_all_volumes():
    bids = pd.DataFrame(
        {"requests": [10.0, 90.0], "expected_win_rate": 0.5, "expected_cost_cpm": 8.0, "value_cpm": 10.0}
    )
    parts = expected_spend_by(bids, ["small", "large"], scale=2.0)
    assert [name for name, _ in parts] == ["large", "small"]
    assert parts[0][1].spend == pytest.approx(2 * 90 * 0.5 * 8 / 1000)
    total = total_spend(parts)
    assert (total.requests, total.wins) == (200.0, 100.0)
    assert (total.cpm, total.margin) == pytest.approx((8.0, 0.2))


def test_what_was_seen_is_the_log_a_day():
    cells = pd.DataFrame(
        {
            "domain": ["a.example", "b.example", "a.example"],
            "bids": [400, 100, 600],
            "wins": [100, 50, 100],
            "cost_cpm_sum": [1000.0, 900.0, 3000.0],
            "view_revenue": [5.0, 0.0, 1.0],
            "click_revenue": [0.0, 0.0, 2.0],
        }
    )
    (first, spend), (second, unpaid) = seen_spend_by(cells, "domain", days=2)
    assert (first, second) == ("a.example", "b.example")
    assert spend == DailySpend(requests=500, wins=100, spend=2.0, value=4.0)
    assert (spend.cpm, spend.margin, unpaid.margin) == (20.0, 0.5, None)


@pytest.mark.parametrize("most", [1, 3, 10])
def test_the_largest_values_and_the_rest_are_the_parts_of_the_whole(most: int):
    names = ["a", "b", None, "c", "a", "d"]
    random = np.random.default_rng(1)
    bids = pd.DataFrame(
        {name: random.uniform(1, 9, len(names)) for name in ("requests", "expected_cost_cpm", "value_cpm")}
    ).assign(expected_win_rate=0.5)
    parts = expected_spend_by(bids, names, scale=3.0)
    largest, rest, rest_values = largest_spend_by(bids, names, most=most, scale=3.0)
    assert largest == parts[:most] and rest_values == len(parts[most:])
    for name in ("requests", "wins", "spend", "value"):
        assert getattr(rest, name) == pytest.approx(getattr(total_spend(parts[most:]), name))
