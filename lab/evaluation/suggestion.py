"""What a method suggests for a market: bids by key, and the win-rate curve behind each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from lab.market.policies import BidTablePolicy
from optimizer.core.serving.keys import segment_key
from optimizer.runs.pricing import PricedRun


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Bids as a bidder serves them, with the curves to be judged.

    method: its name in tables.
    scope: where the target applies; selects the ideal for the comparison.
    table: bids by segment key with fallback and multipliers.
    win_rate: P(win) that the method expects: (segment keys, shape (n,), base bids CPM, shape (n,)) -> shape (n,).
    lowest_cpm: the least bid that the method may make; its ideal may not go below either.
    """

    method: str
    scope: Literal["portfolio", "segment"]
    table: BidTablePolicy
    win_rate: Callable[[np.ndarray, np.ndarray], np.ndarray]
    lowest_cpm: float


def suggestion_of(
    priced: PricedRun, *, features: tuple[str, ...], run_id: str, method: str = "optimizer"
) -> Suggestion:
    """Return what a run of the optimizer suggests: its served bids, fallback and multipliers."""
    bids = priced.bids.set_index("segment_key")
    served = bids[bids["is_served"]]

    def win_rate(keys: np.ndarray, bid_cpm: np.ndarray) -> np.ndarray:
        curves = bids.loc[keys]
        return priced.landscape.win_rate(curves["level"].to_numpy(), curves["slope"].to_numpy(), bid_cpm)

    return Suggestion(
        method=method,
        scope="portfolio",
        table=BidTablePolicy(
            bids=served["suggested_bid_cpm"].to_dict(),
            features=features,
            fallback_bid_cpm=priced.figures.fallback_bid_cpm,
            domain_multipliers=_multipliers(priced.domains, "domain"),
            npi_multipliers=_multipliers(priced.npis, "npi"),
            run_id=run_id,
            spell_key=segment_key,
        ),
        win_rate=win_rate,
        lowest_cpm=priced.figures.trust_low_cpm,
    )


def _multipliers(table: pd.DataFrame | None, key: str) -> dict[str, float]:
    return {} if table is None else dict(zip(table[key], table["multiplier"], strict=True))
