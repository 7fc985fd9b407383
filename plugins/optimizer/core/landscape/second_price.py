"""Second-price auctions: the price paid is the best rival's bid, so each auction shows what lower bids would have won.

A win at price c says that every bid from c on would have won, a loss at b that no bid up to b would have. So each
auction is an experiment at any share of its own bid, the same shares for all: shadow bids vary the price at random,
whatever the rivals bid, and the log of losses is censored at the bid made.
"""

import numpy as np
import pandas as pd

from optimizer.core.landscape.cells import SHADOW_WINS

SHADOW_PERCENTS = (70, 85)
"""Shadow bids in addition to the bid made, as percentages of it."""


def wins_column(percent: int) -> str:
    """Return the cells' column that counts the wins of a shadow bid."""
    return f"{SHADOW_WINS}{percent}"


def add_shadow_bids(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the prepared cells with a copy for each shadow bid, its price varied at random around the copies' mean.

    Each auction is seen several times, so each sight counts for its share. Clicks, costs and revenue of the copies mean
    nothing: only the bid made has any.
    """
    shares = np.array([1.0, *(percent / 100 for percent in SHADOW_PERCENTS)])
    copies = []
    for share, wins in zip(shares, ["wins", *map(wins_column, SHADOW_PERCENTS)], strict=True):
        own = cells.assign(
            bids=cells["bids"] / len(shares),
            wins=cells[wins] / len(shares),
            bid_cpm_sum=cells["bid_cpm_sum"] * share / len(shares),
            log_bid=cells["log_bid"] + np.log(share),
            log_base=cells["log_base"].fillna(cells["log_bid"]) + np.log(share),
            log_planned=cells["log_base"].fillna(cells["log_bid"]) + np.log(shares).mean(),
        )
        copies.append(own)
    return pd.concat(copies, ignore_index=True)
