"""How much what a click earns varies, and how far that lowers the trust in the value."""

import numpy as np
import pandas as pd
import pytest

from optimizer.runs.bid_limits import value_trust
from optimizer.training.job import TrainingReport
from optimizer.training.results import click_value_cv


def cells_of(clicks: np.ndarray, revenue: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"clicks": clicks, "click_revenue": revenue})


def test_clicks_that_earn_the_same_do_not_vary():
    clicks = np.array([1, 4, 9, 0])
    assert click_value_cv(cells_of(clicks, 2.5 * clicks)) == pytest.approx(0)


@pytest.mark.parametrize("per_cell", [1, 5])
def test_the_spread_of_single_clicks_is_found_at_any_cell_size(per_cell: int):
    chance = np.random.default_rng(4)
    earned = chance.exponential(3.0, (4000, per_cell)).sum(axis=1)
    assert click_value_cv(cells_of(np.full(4000, per_cell), earned)) == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize(("clicks", "revenue"), [([], []), ([3], [9.0]), ([1, 2], [0.0, 0.0])])
def test_where_nothing_can_be_compared_nothing_varies(clicks: list[int], revenue: list[float]):
    assert click_value_cv(cells_of(np.array(clicks, float), np.array(revenue, float))) == 0.0


def test_trust_in_the_value_falls_with_the_spread_of_what_a_click_earns():
    by_clicks = TrainingReport.model_construct(
        global_click_rate=0.001, value_per_click=5.0, value_per_mille_views=0.0, click_value_cv=0.0
    )
    spread = by_clicks.model_copy(update={"click_value_cv": 3.0**0.5})
    assert value_trust(by_clicks, total_clicks=100) == pytest.approx(0.9)
    assert value_trust(spread, total_clicks=100) == pytest.approx(0.8)
    assert value_trust(spread, total_clicks=1) == 0.0
