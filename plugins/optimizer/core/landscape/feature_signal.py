"""How much the win rate at equal price differs between a feature's values."""

import numpy as np
import pandas as pd
from scipy.optimize import brentq, isotonic_regression
from scipy.special import expit

from optimizer.core.landscape.cells import MISSING, PRICE_BUCKET_WIDTH
from optimizer.core.landscape.shrinkage import between_group_variance

ONE_SIDED_95 = 1.645


def remove_price(cells: pd.DataFrame, *, slope: float | None = None) -> pd.DataFrame:
    """Return the cells with `expected`, the win rate that the price alone explains.

    Args:
        slope: logit units per unit of log bid, where it was identified. Without one the curve is isotonic regression of
            won on bid, the maximum likelihood of current-status data (Groeneboom and Wellner), which mistakes the
            habits of earlier bidding for effects of the price.
    """
    if slope is not None:
        log_bid = PRICE_BUCKET_WIDTH * cells["price_bucket"].to_numpy(float)
        price = slope * (log_bid - np.average(log_bid, weights=cells["bids"]))
        wins, bids = cells["wins"].to_numpy(float), cells["bids"].to_numpy(float)
        won = np.clip(wins.sum(), 0.5, bids.sum() - 0.5) if bids.sum() > 1 else 0.5 * bids.sum()
        level = brentq(lambda level: (bids * expit(level + price)).sum() - won, -50, 50)
        return cells.assign(expected=np.clip(expit(level + price), 1e-4, 1 - 1e-4))
    by_price = cells.groupby("price_bucket", sort=True)[["bids", "wins"]].sum()
    fitted = isotonic_regression(by_price["wins"] / by_price["bids"], weights=by_price["bids"]).x
    expected = pd.Series(np.clip(fitted, 1e-4, 1 - 1e-4), index=by_price.index)
    return cells.assign(expected=cells["price_bucket"].map(expected).astype(float))


def signal_score(priced: pd.DataFrame, feature: str) -> float:
    """Return how much the win rate at equal price truly differs between values: 1e4 tau2 (1 - null share)."""
    effects, weights = _group_effects(priced, feature)
    null_share = priced.loc[priced[feature] == MISSING, "bids"].sum() / priced["bids"].sum()
    return 1e4 * between_group_variance(effects, weights) * (1.0 - float(null_share))


def _group_effects(cells: pd.DataFrame, by: str) -> tuple[np.ndarray, np.ndarray]:
    """The mean residual of each value and its inverse variance, which is that of the bids at each price.

    The variance is not the model's, p0 (1 - p0): where the price curve fits badly that is too small, and rare values
    would seem to differ.
    """
    bids, wins = cells["bids"].to_numpy(float), cells["wins"].to_numpy(float)
    expected = cells["expected"].to_numpy(float)
    price, value = pd.factorize(cells["price_bucket"])[0], pd.factorize(cells[by])[0]
    square = np.bincount(price, wins * (1 - expected) ** 2 + (bids - wins) * expected**2) / np.bincount(price, bids)
    count = np.bincount(value, bids)
    return (
        np.bincount(value, wins - bids * expected) / count,
        count**2 / np.bincount(value, np.maximum(bids * square[price], 1e-12)),
    )
