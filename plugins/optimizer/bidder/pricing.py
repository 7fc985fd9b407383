"""A request and a generation give a price, the same as `optimizer.simulation.policies.BidTable` gives.

bid = min(base bid x domain multiplier x NPI multiplier, max_bid_cpm), not rounded. A bid below the floor is not lifted:
it is no bid. All amounts are CPM in the account's currency.
"""

from enum import StrEnum
from typing import Any, NamedTuple

from optimizer.bidder.generation import Generation, ServedRun
from optimizer.bidder.requests import PriceRequest
from optimizer.core.keys import segment_key
from optimizer.errors import UnavailableError


class Reason(StrEnum):
    """Why the bid is what it is; the first three bid, the others do not."""

    SEGMENT = "segment"  # the run serves the segment
    FALLBACK = "fallback"  # it does not: its bid for unknown segments
    CAP = "cap"  # max_bid_cpm bounds the product
    BLOCKED = "blocked"  # the run says not to bid on the segment
    BELOW_FLOOR = "below_floor"
    TABLE_LOST = "table_lost"  # memcached is silent or lost the key
    NOT_SERVED = "not_served"  # the entity is unknown, or nothing of it is loaded
    CURRENCY = "currency"  # the floor, or the auction, is in a currency that is not ours


class Price(NamedTuple):
    """What to bid on a request, and what the bid is made of; bid_cpm None says not to bid.

    A named tuple: a frozen dataclass takes 3 microseconds to make, half of a price.
    """

    entity_code: str
    reason: Reason
    bid_cpm: float | None = None
    run_id: str | None = None
    segment_key: str | None = None
    base_bid_cpm: float | None = None
    domain_multiplier: float | None = None
    npi_multiplier: float | None = None
    floor_cpm: float | None = None

    @property
    def is_bid(self) -> bool:
        return self.bid_cpm is not None

    def bids_row(self) -> dict[str, Any]:
        """Return the columns of the warehouse's BIDS that the price fills.

        Raises:
            ValueError: it is no bid, which has no row in BIDS.
        """
        if not self.is_bid:
            raise ValueError(f"entity {self.entity_code}: {self.reason} is no bid; only bids are rows of BIDS")
        names = ("run_id", "bid_cpm", "base_bid_cpm", "domain_multiplier", "npi_multiplier", "floor_cpm")
        return {name: getattr(self, name) for name in names}


def price(request: PriceRequest, *, generation: Generation) -> Price:
    """Return the price of the request; everything it is made of is of this one generation."""
    run = generation.runs[generation.split.run_of(request.identity)]
    macros = request.macros
    key = segment_key([macros.get(name) for name in run.macros])
    domain = request.domain or macros.get(generation.domain_macro)
    npi = request.npi or macros.get(generation.npi_macro)
    try:
        found = run.bids.find(key)
    except UnavailableError:
        return Price(generation.entity_code, Reason.TABLE_LOST, None, run.run_id, key, floor_cpm=request.floor_cpm)
    base = run.fallback_bid_cpm if found is None else found
    by_domain, by_npi = run.domain_multipliers.get(domain, 1.0), run.npi_multipliers.get(npi, 1.0)
    bid, reason = _compose(base, by_domain, by_npi, run=run, is_known=found is not None, floor_cpm=request.floor_cpm)
    return Price(
        generation.entity_code, reason, bid, run.run_id, key, base, by_domain, by_npi, floor_cpm=request.floor_cpm
    )


def _compose(
    base: float, by_domain: float, by_npi: float, *, run: ServedRun, is_known: bool, floor_cpm: float | None
) -> tuple[float | None, Reason]:
    if base <= 0:
        return None, Reason.BLOCKED
    bid, reason = base * by_domain * by_npi, Reason.SEGMENT if is_known else Reason.FALLBACK
    if bid > run.max_bid_cpm:
        bid, reason = run.max_bid_cpm, Reason.CAP
    if floor_cpm is not None and bid < floor_cpm:
        return None, Reason.BELOW_FLOOR
    return bid, reason
