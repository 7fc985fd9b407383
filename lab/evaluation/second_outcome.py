"""What served bids truly bring in a market of the second family, and how far they moved."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import logit

from lab.evaluation.second_log import LiveLog
from lab.second_market.auctions import Bids
from lab.second_market.ideal import find_ideal, flat_cpm
from lab.second_market.market import Market
from lab.second_market.prices import expected_cost, win_probability
from lab.second_market.requests import Requests
from lab.second_market.served import spell_keys

SLOPE_DAYS = 7


@dataclass(frozen=True, slots=True)
class BidScore:
    """What served bids truly bring on some requests, against the cheapest bids and one flat bid with the same wins.

    achieved: win rate; cpm: what a win costs; flat_cpm, ideal_cpm: what it would cost at the same win rate.
    bid_over_ideal: median of the base bid over the ideal bid at the target.
    margin_broken: share of the requests whose bid leaves less than the target margin; 0 where views earn nothing.
    """

    achieved: float
    cpm: float
    flat_cpm: float
    ideal_cpm: float
    bid_over_ideal: float
    margin_broken: float = 0.0

    @property
    def cpm_over_flat(self) -> float:
        return self.cpm / self.flat_cpm

    @property
    def cpm_over_ideal(self) -> float:
        return self.cpm / self.ideal_cpm


def judge_bids(
    market: Market, requests: Requests, bids: Bids, *, target_win_rate: float, highest_cpm: float = np.inf
) -> BidScore:
    """Return what the bids truly bring on the requests.

    Args:
        highest_cpm: the highest bid that keeps the target margin.
    """
    p = win_probability(market, requests, bids.bid_cpm)
    achieved = float(p.mean())
    at_target = find_ideal(market, requests, win_rate=target_win_rate)
    return BidScore(
        achieved=achieved,
        cpm=float(expected_cost(market, requests, bids.bid_cpm).sum() / p.sum()),
        flat_cpm=flat_cpm(market, requests, win_rate=achieved),
        ideal_cpm=find_ideal(market, requests, win_rate=achieved).cpm,
        bid_over_ideal=float(np.nanmedian(bids.base_cpm / at_target.bid_cpm[requests.segment])),
        margin_broken=float(np.mean(np.nan_to_num(bids.bid_cpm) > highest_cpm * (1 + 1e-9))),
    )


def moves_from_usual(
    market: Market, requests: Requests, bids: Bids, *, features: tuple[str, ...], usual_cpm: Mapping[str, float]
) -> np.ndarray:
    """Return |served / usual - 1| of the base bids of the requests whose key has a usual bid and is bid on."""
    keys, key_of = spell_keys(market, requests, features)
    usual = np.array([usual_cpm.get(key, np.nan) for key in keys])[key_of]
    moves = np.abs(bids.base_cpm / usual - 1)
    return moves[~np.isnan(moves)]


def true_slope(log: LiveLog) -> float:
    """Return d logit P(win) / d log bid at the bids of the log's last week, weighted as logistic regression does."""
    is_last = log.auctions.requests.day >= log.end_day - SLOPE_DAYS
    requests, bid = log.auctions.requests.pick(is_last), log.auctions.bids.bid_cpm[is_last]
    low, here, high = (win_probability(log.market, requests, bid * np.exp(step)) for step in (-0.1, 0.0, 0.1))
    known = (low > 0) & (high < 1)
    slope = (logit(high[known]) - logit(low[known])) / 0.2
    return float(np.average(slope, weights=(here * (1 - here))[known]))
