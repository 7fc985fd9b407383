"""The delay from view to click, learned from logs whose true delays are known."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from optimizer.core.landscape.click_delay import (
    LEAST_CLICKS,
    completeness_by_day,
    learn_click_delay,
    learn_click_maturity,
)

MEAN_HOURS, DAYS, DAY = 20.0, 14, date(2026, 2, 1)


def log_of(seed: int, *, views: int = 400_000, click_rate: float = 0.01) -> pd.DataFrame:
    """Return the counts of a log that ends `DAYS` days after its first view, with exponential delays."""
    rng = np.random.default_rng(seed)
    age = rng.uniform(0, 24 * DAYS, views)
    delay = rng.exponential(MEAN_HOURS, views)
    is_seen = (rng.random(views) < click_rate) & (delay <= age)
    days = np.array([DAY + timedelta(days=n) for n in range(DAYS)])
    return pd.DataFrame(
        {
            "day": days[DAYS - 1 - (age // 24).astype(int)],
            "age_hours": np.minimum(age // 1, 168),
            "delay_hours": np.where(is_seen, np.minimum(delay // 1, 168), np.nan),
            "views": 1.0,
        }
    )


def true_share(hours: np.ndarray | float) -> np.ndarray:
    return 1 - np.exp(-np.asarray(hours) / MEAN_HOURS)


def test_the_true_delay_is_recovered_although_late_clicks_are_not_in_the_log_yet():
    counts = log_of(1)
    delay = learn_click_delay(counts)
    hours = np.array([1.0, 6.0, 24.0, 48.0, 96.0])
    assert delay is not None
    assert delay.completeness(hours) == pytest.approx(true_share(hours), abs=0.03)
    seen = counts["delay_hours"].dropna()
    assert (seen < 24).mean() > true_share(24.0) + 0.01


def test_the_last_day_is_as_complete_as_its_views_are_old():
    found = [
        completeness_by_day(counts, delay) for seed in range(5) if (delay := learn_click_delay(counts := log_of(seed)))
    ]
    true_last = true_share(np.linspace(0, 24, 2_401)).mean()
    assert len(found) == 5
    last = DAY + timedelta(days=DAYS - 1)
    assert np.mean([by_day[last] for by_day in found]) == pytest.approx(true_last, abs=0.015)
    assert found[0][DAY] == 1.0


def test_views_weighed_by_completeness_give_the_true_click_rate_of_the_last_day():
    last, raw, weighed = DAY + timedelta(days=DAYS - 1), [], []
    for seed in range(20):
        counts = log_of(seed)
        delay = learn_click_delay(counts)
        assert delay is not None
        own = counts[counts["day"] == last]
        rate = own["delay_hours"].notna().sum() / own["views"].sum()
        raw.append(rate)
        weighed.append(rate / completeness_by_day(counts, delay)[last])
    assert np.mean(raw) < 0.005
    assert np.mean(weighed) == pytest.approx(0.01, rel=0.05)


def test_too_few_clicks_show_no_delay():
    counts = log_of(3)
    clicked = counts[counts["delay_hours"].notna()]
    assert learn_click_delay(clicked.head(LEAST_CLICKS - 1)) is None
    assert learn_click_delay(counts.head(0)) is None


def test_clicks_that_all_come_at_once_are_complete_after_an_hour():
    counts = log_of(4)
    delay = learn_click_delay(counts.assign(delay_hours=counts["delay_hours"].mask(counts["delay_hours"].notna(), 0.0)))
    assert delay is not None
    assert delay.completeness(np.array([0.0, 1.0, 5.0])).tolist() == [0.0, 1.0, 1.0]


def test_a_log_of_some_days_does_not_show_late_clicks_and_says_so():
    counts = log_of(5)
    young = counts[counts["age_hours"] < 4 * 24]
    whole, part = learn_click_maturity(counts), learn_click_maturity(young)
    assert whole is not None and part is not None
    assert (whole.is_whole, part.is_whole) == (True, False)
    last = DAY + timedelta(days=DAYS - 1)
    assert part.by_day[last] > whole.by_day[last]
    assert learn_click_maturity(counts.head(0)) is None
