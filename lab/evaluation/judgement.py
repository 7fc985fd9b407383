"""How far suggested bids are from the truth."""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from scipy.special import logit

from lab.evaluation.suggestion import Suggestion
from lab.market.auctions import Requests, draw_requests
from lab.market.events import mean_bids
from lab.market.ideal import find_ideal_bids
from lab.market.outcome import win_law
from lab.market.policies import Policy, Prices
from lab.market.world import World

REQUESTS = 200_000
"""Requests on which a policy's truth is averaged; their win probabilities are exact."""

JUDGED_DAYS = 7
"""A week after the log: what a weekday or a day's weather does evens out."""

CURVE_SHARES = (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3)
"""Where a landscape is judged: at these shares of the suggested bid."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """Errors of one suggestion on the week after its log, weighted by requests.

    achieved: the true win rate; gap: achieved less target.
    segment_error: mean |expected - true win rate| of the segments that have a bid, at that bid.
    landscape_error: the same over bids from .7 to 1.3 times the suggested one.
    bid_over_ideal: median of the base bid over the ideal one among bids not below the method's lowest.
    cpm, ideal_cpm: what a win costs, and what it would cost at ideal bids without multipliers.
    """

    achieved: float
    gap: float
    segment_error: float
    landscape_error: float
    bid_over_ideal: float
    cpm: float
    ideal_cpm: float


def judge(world: World, suggestion: Suggestion, *, day: date, target_win_rate: float, seed: int = 1) -> Judgement:
    """Return the suggestion's errors on the requests of the week that starts on `day`."""
    requests, seen = meet_policy(world, suggestion.table, day=day, days=JUDGED_DAYS, count=REQUESTS, seed=seed)
    prices = suggestion.table.price(world, requests)
    keys, key_of = suggestion.table.keys(world, requests)
    win_probability = win_law(world, requests)
    by_share = {share: win_probability(share * prices.bid_cpm) for share in CURVE_SHARES}
    errors = {
        share: _curve_error(
            suggestion, won, share * prices.base_bid_cpm, keys=np.array(keys, dtype=object), key_of=key_of
        )
        for share, won in by_share.items()
    }
    won = by_share[1.0]
    ideal = find_ideal_bids(
        world,
        target_win_rate=target_win_rate,
        day=day + timedelta(days=JUDGED_DAYS // 2),
        scope=suggestion.scope,
        seen_bid_cpm=seen,
        lowest_cpm=suggestion.lowest_cpm,
    )
    return Judgement(
        achieved=float(won.mean()),
        gap=float(won.mean() - target_win_rate),
        segment_error=errors[1.0],
        landscape_error=float(np.mean(list(errors.values()))),
        bid_over_ideal=float(np.median(prices.base_bid_cpm / ideal.bid_cpm[requests.segment])),
        cpm=float((won @ prices.bid_cpm) / won.sum()),
        ideal_cpm=ideal.cpm,
    )


def meet_policy(
    world: World, policy: Policy, *, day: date, days: int, count: int, seed: int
) -> tuple[Requests, np.ndarray | None]:
    """Return the requests of these days as they answer to the policy, and the mean bids by adspace that floors chase.

    Without floors that chase our bids they are the same for every bidder.
    """
    requests = draw_requests(world, start_day=day, days=days, count=count, seed=seed)
    if not world.settings.floor_chase_share:
        return requests, None
    numbers = np.arange(requests.day_number[0], requests.day_number[-1] + 1)
    seen = np.nanmean(mean_bids(world, requests, prices=policy.price(world, requests), days=numbers), axis=0)
    return draw_requests(world, start_day=day, days=days, count=count, seed=seed, seen_bid_cpm=seen), seen


def true_slope(world: World, requests: Requests, prices: Prices) -> float:
    """Return d logit P(win) / d log bid within segments at these prices, weighted as a logistic regression weighs."""
    by = requests.segment
    size = np.bincount(by)

    win_probability = win_law(world, requests)

    def win_rate(step: float) -> np.ndarray:
        won = win_probability(prices.bid_cpm * np.exp(step))
        return np.bincount(by, won) / np.maximum(size, 1)

    low, here, high = (win_rate(step) for step in (-0.1, 0.0, 0.1))
    known = (size > 0) & (low > 0) & (high < 1)
    slope = (logit(high[known]) - logit(low[known])) / 0.2
    return float(np.average(slope, weights=(size * here * (1 - here))[known]))


def _curve_error(
    suggestion: Suggestion, won: np.ndarray, base_bid_cpm: np.ndarray, *, keys: np.ndarray, key_of: np.ndarray
) -> float:
    """Mean |expected - true win rate| at these bids, over the requests whose key has a suggested one.

    Args:
        won: shape (n_requests,), the probability that each is won; keys: shape (n_keys,); key_of: the key's number.
    """
    requests = np.bincount(key_of)
    true, bid = np.bincount(key_of, won) / requests, np.bincount(key_of, base_bid_cpm) / requests
    has_bid = np.array([key in suggestion.table.bids for key in keys])
    expected = suggestion.win_rate(keys[has_bid], bid[has_bid])
    return float(np.average(np.abs(expected - true[has_bid]), weights=requests[has_bid]))
