"""The history of a log: flat bids, then an earlier optimizer, then the same with jitter."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from lab.market.auctions import draw_requests
from lab.market.outcome import win_law
from lab.market.policies import EarlierOptimizer, FlatPolicy, JitteredOptimizer, Policy
from lab.market.world import World

_CALIBRATION_REQUESTS = 20_000


@dataclass(frozen=True, slots=True)
class Epoch:
    """A policy and the number of days it bids for."""

    policy: Policy
    days: int


def standard_epochs(world: World, *, start_day: date, days: int) -> Sequence[Epoch]:
    """Return a third of the days flat, a third confounded and the rest jittered, each winning near the logged win rate.

    A world of flat bids only has one epoch.
    """
    flat = FlatPolicy(world.flat_bid_cpm)
    if world.settings.is_flat_only:
        return [Epoch(flat, days)]
    third = days // 3
    first_jittered = world.season.number(start_day) + 2 * third
    earlier = calibrate_optimizer(world, start_day=start_day, days=days)
    held = replace(earlier, held_day=max(first_jittered - 1, 0))
    policies = (flat, earlier, JitteredOptimizer(held, seed=world.seed))
    lengths = (third, third, days - 2 * third)
    return [Epoch(policy, length) for policy, length in zip(policies, lengths, strict=True) if length]


def calibrate_optimizer(world: World, *, start_day: date, days: int) -> EarlierOptimizer:
    """Return the earlier optimizer at the level that wins `logged_win_rate` of the requests of these days."""
    requests = draw_requests(world, start_day=start_day, days=days, count=_CALIBRATION_REQUESTS)
    shape = EarlierOptimizer(level_cpm=world.settings.market_median_cpm).price(world, requests).bid_cpm
    win_probability = win_law(world, requests)
    median, low, high = world.settings.market_median_cpm, 0.01, 10.0
    for _ in range(30):
        if round(low * median, 2) == round(high * median, 2):
            break  # the level is in cents
        middle = float(np.sqrt(low * high))
        rate = win_probability(middle * shape).mean()
        low, high = (low, middle) if rate >= world.settings.logged_win_rate else (middle, high)
    return EarlierOptimizer(level_cpm=round(high * median, 2))
