import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from optimizer.core.landscape.recency import LEAST_GAIN, OTHER_HALF_LIVES_DAYS, USUAL_HALF_LIFE_DAYS, choose_half_life


def log(
    seed: int, *, wander: float, spread: float = 0.8, days: int = 60, segments: int = 80, bids: int = 60
) -> pd.DataFrame:
    """Segments that differ by `spread` and wander by so much a day (logit units), in a market that moves every day."""
    rng = np.random.default_rng(seed)
    level = rng.normal(0, spread, segments) + np.cumsum(rng.normal(0, wander, (days, segments)), axis=0)
    market = rng.normal(0, 0.2, (days, 1))
    day, segment = np.divmod(np.arange(days * segments), segments)
    return pd.DataFrame(
        {
            "day": pd.Timestamp("2026-01-05") + pd.to_timedelta(day, unit="D"),
            "segment": segment,
            "bids": bids,
            "wins": rng.binomial(bids, expit(-0.8 + level + market)).ravel(),
            "expected": 0.3,
        }
    )


def test_a_market_that_stands_still_keeps_the_usual_half_life():
    chosen = [choose_half_life(log(seed, wander=0.0)) for seed in range(20)]
    assert {choice.days for choice in chosen} == {USUAL_HALF_LIFE_DAYS}
    # A longer one is better there, and known to be, by less than a bid would show.
    assert all(0 < choice.gain < LEAST_GAIN for choice in chosen)


def test_segments_that_wander_fast_are_estimated_from_their_latest_days():
    chosen = [choose_half_life(log(seed, wander=0.25)) for seed in range(5)]
    assert {choice.days for choice in chosen} == {min(OTHER_HALF_LIVES_DAYS)}
    assert all(choice.gain > choice.gain_lower > LEAST_GAIN for choice in chosen)


def test_the_usual_half_life_is_not_left_where_segments_do_not_differ():
    chosen = [choose_half_life(log(seed, wander=0.0, spread=0.0)) for seed in range(20)]
    assert {choice.days for choice in chosen} == {USUAL_HALF_LIFE_DAYS}


@pytest.mark.parametrize("days", [3, 27])
def test_a_short_log_keeps_the_usual_half_life_and_says_nothing_of_gains(days: int):
    choice = choose_half_life(log(1, wander=0.25, days=days))
    assert (choice.days, choice.gain, choice.gain_lower) == (USUAL_HALF_LIFE_DAYS, None, None)
