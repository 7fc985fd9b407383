"""The best rival's price: noise, round prices, and the share of auctions without a rival.

The noise is a price ratio drawn from two Weibulls: most bidders, and a class that bids more. Parameters: the market
price histograms of nine iPinYou campaigns (aggregates of han-cai/rlb-dp, 15.4 million impressions) are fitted best by a
mixture of two Weibulls, and by one gamma better than by one lognormal, in all nine. One Weibull has shape 1.05 to 1.46.
In the five mixtures without a part that is a single price point the body holds .60 to .86 of the mass with shape 1.2 to
1.7; the rest has shape 2.4 to 4.1 and 3.4 to 4.2 times the body's scale. Those histograms spread over segments, days
and visitors; ours is what is left within one, so it is narrower: body shape 2.2, and 2.5 times its scale.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lab.market.settings import WorldSettings

BODY_SHARE = 0.75
BODY_SHAPE, BODY_SCALE = 2.2, 0.95
DEAR_SHAPE, DEAR_SCALE = 3.2, 2.4
NEW_RIVAL_SHAPE, NEW_RIVAL_SCALE = 2.5, 0.9

# Sellers and rivals like these prices; each stands for all prices that are nearest to it.
ROUND_PRICES_CPM = np.concatenate(
    [
        np.arange(0.25, 2, 0.25),
        np.arange(2, 5, 0.5),
        np.arange(5, 20, 1.0),
        np.arange(20, 100, 5.0),
        np.arange(100, 1_025, 25.0),
    ]
)
_ROUNDING_EDGES_CPM = np.append((ROUND_PRICES_CPM[1:] + ROUND_PRICES_CPM[:-1]) / 2, 1_012.5)

_LOG_LOW, _LOG_HIGH, _LOG_STEP = -8.0, 5.0, 0.005


def noise_cdf(log_ratio: np.ndarray) -> np.ndarray:
    """Return P(log noise <= log_ratio) for logs of price ratios, of any shape."""
    body = -np.expm1(-np.exp(BODY_SHAPE * (log_ratio - np.log(BODY_SCALE))))
    dear = -np.expm1(-np.exp(DEAR_SHAPE * (log_ratio - np.log(DEAR_SCALE))))
    return BODY_SHARE * body + (1 - BODY_SHARE) * dear


def draw_noise(rng: np.random.Generator, *, size: int) -> np.ndarray:
    """Return price ratios, shape (size,)."""
    is_body = rng.random(size) < BODY_SHARE
    shape = np.where(is_body, 1 / BODY_SHAPE, 1 / DEAR_SHAPE)
    return np.where(is_body, BODY_SCALE, DEAR_SCALE) * rng.standard_exponential(size) ** shape


def new_rival_cdf(ratio: np.ndarray) -> np.ndarray:
    """Return P(the new rival's price ratio <= ratio)."""
    return -np.expm1(-((ratio / NEW_RIVAL_SCALE) ** NEW_RIVAL_SHAPE))


def draw_new_rival(rng: np.random.Generator, *, size: int) -> np.ndarray:
    """Return the new rival's price ratios, shape (size,)."""
    return NEW_RIVAL_SCALE * rng.standard_exponential(size) ** (1 / NEW_RIVAL_SHAPE)


def round_price(price_cpm: np.ndarray) -> np.ndarray:
    """Return the nearest round price; 0 (no rival) stays 0."""
    nearest = np.searchsorted(_ROUNDING_EDGES_CPM, price_cpm, side="right")
    return np.where(price_cpm > 0, ROUND_PRICES_CPM[np.minimum(nearest, len(ROUND_PRICES_CPM) - 1)], 0.0)


def highest_rounded_below(bid_cpm: np.ndarray) -> np.ndarray:
    """Return the price under which every rounded price is at most the bid; 0 where no round price is."""
    highest = np.searchsorted(ROUND_PRICES_CPM, bid_cpm, side="right") - 1
    return np.where(highest >= 0, _ROUNDING_EDGES_CPM[highest], 0.0)


def best_rival_cdf(
    price_cpm: np.ndarray,
    *,
    log_level: np.ndarray,
    new_rival_share: np.ndarray,
    ratio_cdf: Callable[[np.ndarray], np.ndarray],
    settings: WorldSettings,
) -> np.ndarray:
    """Return P(best rival's price <= price_cpm); all arrays broadcast together.

    Args:
        log_level: log CPM of the market for the segment and day.
        new_rival_share: share of auctions the new rival takes part in.
        ratio_cdf: P(log(price) - log_level <= z), without rounding, missing rivals and the new one.
    """

    def cdf_before_rounding(price: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            log_ratio = np.log(price) - log_level
        nobody = settings.no_rival_share * ratio_cdf(np.array(np.inf))
        known = nobody + (1 - settings.no_rival_share) * ratio_cdf(log_ratio)
        if not np.any(new_rival_share):
            return known
        return known * (1 - new_rival_share * (1 - new_rival_cdf(np.exp(log_ratio))))

    exact = cdf_before_rounding(price_cpm)
    rounded = cdf_before_rounding(highest_rounded_below(price_cpm))
    return (1 - settings.round_price_share) * exact + settings.round_price_share * rounded


@dataclass(frozen=True, slots=True)
class RatioTable:
    """A cumulative function of log price ratio for each adspace, on an even grid: shape (adspaces, grid)."""

    values: np.ndarray

    def at(self, adspaces: np.ndarray, log_ratio: np.ndarray) -> np.ndarray:
        """Return the values at the log ratios by linear interpolation; the arguments broadcast together."""
        last = self.values.shape[1] - 1
        position = np.clip((log_ratio - _LOG_LOW) / _LOG_STEP, 0, last - 1e-9)
        below = position.astype(np.intp)
        low, high = self.values[adspaces, below], self.values[adspaces, below + 1]
        return low + (position - below) * (high - low)


def tabulate_ratios(
    *, quality_effects: np.ndarray, quality_weights: np.ndarray, domain_effects: np.ndarray, domain_weights: np.ndarray
) -> RatioTable:
    """Return sum over qualities q and domains d of weight x P(noise x exp(q + d) <= ratio), by adspace.

    Args:
        quality_effects, quality_weights: shape (qualities,).
        domain_effects: shape (domains,).
        domain_weights: shape (adspaces, domains).
    """
    grid = np.arange(_LOG_LOW, _LOG_HIGH + _LOG_STEP, _LOG_STEP)
    over_qualities = noise_cdf(grid[:, None] - quality_effects) @ quality_weights
    by_domain = np.interp(grid[:, None] - domain_effects, grid, over_qualities)
    return RatioTable(domain_weights @ by_domain.T)
