"""Money saved and gained against a control: known truths, their intervals, and what a day's share does not change."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from lab.live_market.runs import CPM, MARGIN, draw_effects, draw_sums, frame_of
from optimizer.core.live.performance import SUMS
from optimizer.core.live.savings import Savings, measure_savings

FIRST = date(2026, 2, 1)


def table(rows: list[tuple[float, ...]], *, first: date = FIRST) -> pd.DataFrame:
    days = [first + timedelta(days=number) for number in range(len(rows))]
    return pd.DataFrame(rows, columns=list(SUMS), dtype=float).assign(day=days)


def measured(
    *, seed: int = 0, days: int = 14, shares: float | np.ndarray = 0.8, price: float = 1.0, win_rate: float = 0.30
) -> Savings:
    """Measure a policy that pays `price` times the control's CPM, on its shares of 100,000 bids a day."""
    rng = np.random.default_rng(seed)
    market = draw_effects(rng, worlds=1, days=days)
    bids = (100_000 * np.broadcast_to(shares, days)).astype(int)
    own = draw_sums(rng, market, bids=bids, win_rate=win_rate)[:, 0]
    own[SUMS.index("spend")] *= price
    return measure_savings(frame_of(own), frame_of(draw_sums(rng, market, bids=100_000 - bids)[:, 0]))


def test_the_record_holds_the_totals_of_both_sides_and_the_money():
    found = measure_savings(
        table([(1000, 400, 4, 3.0, 1.0, 7.0), (1000, 600, 6, 4.5, 1.0, 9.0)]),
        table([(500, 200, 1, 2.0, 0.5, 3.0), (500, 200, 2, 2.0, 0.5, 3.5)]),
    )
    assert (found.first_day, found.last_day, found.days) == (FIRST, FIRST + timedelta(days=1), 2)
    assert (found.policy_bids, found.policy_wins, found.policy_clicks) == (2000, 1000, 10)
    assert (found.control_bids, found.control_wins, found.control_clicks) == (1000, 400, 3)
    assert (found.policy_spend, found.policy_revenue) == (7.5, 18.0)
    assert (found.control_spend, found.control_revenue) == (4.0, 7.5)
    assert found.saved == pytest.approx(1000 * 4.0 / 400 - 7.5)
    assert found.gained == pytest.approx((18.0 - 7.5) - 2 * (7.5 - 4.0))
    assert found.saved_low < found.saved < found.saved_high
    assert found.gained_low < found.gained < found.gained_high


def test_a_single_day_has_amounts_and_no_interval():
    found = measured(days=1)
    assert found.saved is not None and found.gained is not None
    assert (found.saved_low, found.saved_high, found.gained_low, found.gained_high) == (None, None, None, None)


def test_a_control_that_won_nothing_has_no_price_to_save_from():
    found = measure_savings(table([(100, 10, 1, 1.0, 2.0, 0.0)] * 2), table([(100, 0, 0, 0.0, 0.0, 0.0)] * 2))
    assert (found.saved, found.saved_low, found.saved_high) == (None, None, None)
    assert (found.gained, found.gained_low, found.gained_high) == (2.0, 2.0, 2.0)


def test_a_policy_that_wins_nothing_saves_nothing_and_loses_the_surplus_of_the_control():
    found = measure_savings(table([(100, 0, 0, 0.0, 0.0, 0.0)] * 2), table([(50, 10, 1, 1.0, 2.0, 0.0)] * 2))
    assert (found.saved, found.gained) == (0.0, -4.0)


def test_only_days_on_which_both_bid_count():
    own, control = table([(100, 10, 1, 1.0, 2.0, 0.0)] * 3), table([(100, 10, 1, 2.0, 2.0, 0.0)] * 3)
    control.loc[0, list(SUMS)] = 0.0
    found = measure_savings(own, control[control["day"] < FIRST + timedelta(days=2)])
    assert (found.first_day, found.days, found.policy_bids) == (FIRST + timedelta(days=1), 1, 100)
    assert found.saved == pytest.approx(1.0)
    with pytest.raises(ValueError, match="no day on which both"):
        measure_savings(own, control.iloc[:0])


def test_the_interval_holds_the_truth_and_excludes_zero_where_prices_are_lower():
    truths = []
    for seed in range(100):
        found = measured(seed=seed, price=0.8)
        expected = found.policy_wins * CPM / 1000 * 0.2
        assert found.saved_low > 0
        truths.append(
            (found.saved_low < expected < found.saved_high) and (found.gained_low < expected < found.gained_high)
        )
    assert np.mean(truths) >= 0.95


def test_the_same_policy_saves_and_gains_nothing():
    found = [measured(seed=seed) for seed in range(100)]
    assert np.mean([each.saved_low < 0 < each.saved_high for each in found]) >= 0.95
    assert np.mean([each.gained_low < 0 < each.gained_high for each in found]) >= 0.95
    spend = found[0].policy_spend
    assert abs(np.mean([each.saved for each in found])) < 0.005 * spend
    assert abs(np.mean([each.gained for each in found])) < 0.02 * spend


def test_more_wins_at_the_same_price_gain_and_do_not_save():
    found = [measured(seed=seed, win_rate=0.36) for seed in range(50)]
    surplus_per_win = CPM / 1000 * (1 / (1 - MARGIN) - 1)
    truth = np.mean([each.policy_wins for each in found]) / 6 * surplus_per_win
    assert np.mean([each.gained for each in found]) == pytest.approx(truth, rel=0.1)
    assert np.mean([each.saved_low < 0 < each.saved_high for each in found]) >= 0.95


def test_a_larger_share_on_cheap_days_is_not_a_saving():
    def days(bids_a_day: tuple[int, int]) -> pd.DataFrame:
        each = zip(bids_a_day, (0.005, 0.01), strict=True)
        return table([(bids, bids / 2, 0, bids / 2 * price, 0.0, 0.0) for bids, price in each])

    assert measure_savings(days((900, 500)), days((100, 500))).saved == pytest.approx(0, abs=1e-9)


def test_amounts_are_of_the_period_and_their_interval_may_be_read_every_day():
    missed = 0
    for seed in range(25):
        rng = np.random.default_rng(seed)
        market = draw_effects(rng, worlds=1, days=14)
        own, control = (frame_of(draw_sums(rng, market)[:, 0]) for _ in range(2))
        looks = [measure_savings(own[:days], control[:days]) for days in range(2, 15)]
        missed += any(not look.saved_low < 0 < look.saved_high for look in looks)
    assert missed <= 2
