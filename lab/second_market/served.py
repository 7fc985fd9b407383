"""What a run's tables bid on requests, as a bidder serves them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from lab.second_market.auctions import Bids
from lab.second_market.market import Market
from lab.second_market.requests import Requests, feature_codes
from optimizer.core.serving.keys import segment_key


@dataclass(frozen=True, slots=True)
class ServedTable:
    """A run's outputs: base bid by segment key (0: no bid), the fallback of all other keys, multipliers, the cap."""

    features: tuple[str, ...]
    bids_cpm: Mapping[str, float] = field(repr=False)
    fallback_cpm: float
    max_bid_cpm: float
    domain_multipliers: Mapping[str, float] = field(default_factory=dict, repr=False)
    npi_multipliers: Mapping[str, float] = field(default_factory=dict, repr=False)

    def price(self, market: Market, requests: Requests) -> Bids:
        """Return the bids; NaN where the table says not to bid."""
        keys, key_of = spell_keys(market, requests, self.features)
        base = np.array([self.bids_cpm.get(key, self.fallback_cpm) for key in keys])[key_of]
        base = np.where(base > 0, base, np.nan)
        by_domain = _multiplier(market, requests, "domain", self.domain_multipliers)
        by_npi = _multiplier(market, requests, "npi", self.npi_multipliers)
        return Bids(np.minimum(base * by_domain * by_npi, self.max_bid_cpm), base, by_domain, by_npi)


def spell_keys(market: Market, requests: Requests, features: tuple[str, ...]) -> tuple[list[str], np.ndarray]:
    """Return the distinct segment keys of the requests and the number of each request's key, shape (n,)."""
    columns = [feature_codes(market, requests, feature) for feature in features]
    code = np.zeros(len(requests), dtype=np.int64)
    for codes, names in columns:
        code = code * len(names) + codes
    _, first, key_of = np.unique(code, return_index=True, return_inverse=True)
    rows = zip(*(names[codes[first]] for codes, names in columns), strict=True)
    return [segment_key(row) for row in rows], key_of


def _multiplier(market: Market, requests: Requests, column: str, table: Mapping[str, float]) -> np.ndarray:
    codes, names = feature_codes(market, requests, column)
    return np.array([*(table.get(name, 1.0) for name in names), 1.0])[codes]
