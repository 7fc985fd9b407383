import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from optimizer.core.landscape.curves import Landscape
from optimizer.core.landscape.price_steps import LADDERS, PriceSteps, fit_price_steps

SLOPE = 3.0


def auctions(seed: int, *, ladder: str | None, share: float = 0.5, bids: int = 30_000) -> pd.DataFrame:
    """Return cells of single bids against rivals of whom a share bids the nearest rung."""
    rng = np.random.default_rng(seed)
    rival = 5 * np.exp(rng.logistic(0, 1 / SLOPE, bids))
    if ladder is not None:
        rungs = LADDERS[ladder]
        edges = (rungs[1:] + rungs[:-1]) / 2
        rival = np.where(rng.random(bids) < share, rungs[np.searchsorted(edges, rival)], rival)
    bid = np.round(5 * np.exp(rng.normal(0, 0.25, bids)), 2)
    day = pd.Timestamp("2026-01-05") + pd.to_timedelta(rng.integers(0, 20, bids), unit="D")
    return pd.DataFrame({"day": day, "bids": 1, "wins": (bid > rival).astype(int), "log_bid": np.log(bid)})


def found(cells: pd.DataFrame) -> PriceSteps | None:
    logit = SLOPE * (cells["log_bid"].to_numpy() - np.log(5))
    return fit_price_steps(cells, logit=logit, slope=np.full(len(cells), SLOPE), win_rate=expit)


@pytest.mark.parametrize("ladder", ["1.00", "coarser as prices rise"])
def test_the_ladder_of_the_rivals_is_found_with_the_share_that_bids_on_it(ladder):
    steps = [found(auctions(seed, ladder=ladder, bids=100_000)) for seed in range(4)]
    right = [one.share for one in steps if one is not None and one.ladder == ladder]
    assert len(right) >= 3 and np.mean(right) == pytest.approx(0.5, abs=0.08)


def test_a_ladder_that_is_found_is_one_of_some_share():
    for seed in range(6):
        steps = found(auctions(seed, ladder="0.50"))
        assert steps is None or 0.03 <= steps.share <= 0.9


def test_smooth_prices_have_no_ladder():
    assert [found(auctions(seed, ladder=None)) for seed in range(10)] == [None] * 10


def test_a_bid_a_cent_above_a_round_price_beats_those_who_bid_it():
    landscape = Landscape(5.0, steps=PriceSteps("1.00", 0.4))
    level, slope = np.zeros(3), np.full(3, SLOPE)
    at, above, far = landscape.win_rate(level, slope, np.array([5.0, 5.01, 5.9]))
    smooth = Landscape(5.0).win_rate(level, slope, np.array([4.5, 5.5, 5.01]))
    assert above - at == pytest.approx(0.4 * (smooth[1] - smooth[0]), abs=0.01)
    assert far - above == pytest.approx(0.6 * (Landscape(5.0).win_rate(level[:1], slope[:1], 5.9)[0] - smooth[2]))


def test_prices_around_a_bid_are_a_cent_above_its_nearest_rungs():
    assert PriceSteps("0.50", 0.3).around(np.array([5.2]))[:, 0].tolist() == [4.51, 5.01, 5.51]
    assert PriceSteps("1.00", 0.3).around(np.array([0.3])).min() == 1.01
