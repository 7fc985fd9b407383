"""What a policy is worth in truth, without the chance of single auctions: the yardstick for a backtest."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lab.market import market
from lab.market.auctions import Requests
from lab.market.policies import Prices
from lab.market.world import World


@dataclass(frozen=True, slots=True)
class ExpectedOutcome:
    """Expected totals of a first-price policy on a set of requests; amounts in currency units."""

    requests: int
    wins: float
    clicks: float
    cost: float
    revenue: float

    @property
    def win_rate(self) -> float:
        return self.wins / self.requests

    @property
    def cpm(self) -> float:
        return 1_000 * self.cost / self.wins

    @property
    def surplus(self) -> float:
        return self.revenue - self.cost

    @property
    def margin(self) -> float:
        return self.surplus / self.revenue


def expect_outcome(world: World, requests: Requests, *, prices: Prices) -> ExpectedOutcome:
    """Return what the prices bring on these requests, over all that rivals might have bid."""
    won = request_win_probability(world, requests, bid_cpm=prices.bid_cpm)
    clicked = won * request_click_rate(world, requests)
    return ExpectedOutcome(
        requests=len(requests),
        wins=float(won.sum()),
        clicks=float(clicked.sum()),
        cost=float(won @ np.nan_to_num(prices.bid_cpm)) / 1_000,
        revenue=float(clicked.sum() * world.click_revenue + won.sum() * world.view_revenue),
    )


def request_win_probability(world: World, requests: Requests, *, bid_cpm: np.ndarray) -> np.ndarray:
    """Return P(win) of each bid given its request's day, segment, domain, visitor and floor; 0 where none is made."""
    return win_law(world, requests)(bid_cpm)


def win_law(world: World, requests: Requests) -> Callable[[np.ndarray], np.ndarray]:
    """Return `request_win_probability` as a function of the bids: what the requests say is looked up once."""
    effects = world.domains.price_effect[requests.domain] + requests.quality
    adspaces = world.population.adspace[requests.segment]
    log_level = world.log_level(requests.segment, day_numbers=requests.day_number)
    new_rival_share = world.season.new_rival_share(requests.day_number, adspaces=adspaces)

    def win_probability(bid_cpm: np.ndarray) -> np.ndarray:
        bid = np.nan_to_num(bid_cpm)
        cheaper = market.best_rival_cdf(
            bid,
            log_level=log_level,
            new_rival_share=new_rival_share,
            ratio_cdf=lambda log_ratio: market.noise_cdf(log_ratio - effects),
            settings=world.settings,
        )
        return (1 - world.settings.lost_otherwise_share) * (bid > 0) * (bid >= requests.floor_cpm) * cheaper

    return win_probability


def request_click_rate(world: World, requests: Requests) -> np.ndarray:
    """Return P(click) of each request if it is viewed."""
    visitor = np.append(world.visitors.click_ratio, 1.0)[requests.npi]
    rate = world.segment_click_rate[requests.segment] * world.domains.click_ratio[requests.domain] * visitor
    return np.minimum(rate, 1.0)
