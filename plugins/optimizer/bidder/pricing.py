"""A request and a generation give a price, the same as `lab.market.policies.BidTable` gives.

bid = min(base bid x domain multiplier x NPI multiplier, max_bid_cpm), not rounded. A bid below the floor is not lifted:
it is not a bid. All amounts are CPM in the account's currency: 1.00 is one unit per thousand impressions, never micros.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from optimizer.bidder.fetching import Fetched
from optimizer.bidder.generation import Generation, ServedRun
from optimizer.bidder.reasons import Reason
from optimizer.bidder.requests import PriceRequest
from optimizer.bidder.tables import MemcachedTable
from optimizer.core.serving.keys import segment_key
from optimizer.errors import KeysLost, UnavailableError

_SEGMENT = Reason.SEGMENT  # looked up once: in Python 3.11 a member of an enum is a call


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
            ValueError: it is not a bid, which has no row in BIDS.
        """
        if not self.is_bid:
            raise ValueError(f"entity {self.entity_code}: {self.reason} is not a bid; only bids are rows of BIDS")
        return {
            "run_id": self.run_id,
            "bid_cpm": self.bid_cpm,
            "base_bid_cpm": self.base_bid_cpm,
            "domain_multiplier": self.domain_multiplier,
            "npi_multiplier": self.npi_multiplier,
            "floor_cpm": self.floor_cpm,
        }


Segment = tuple[PriceRequest, ServedRun, str | None]
"""A request with the run that prices it and the key of its segment there; None where it does not name a macro."""


def find_segment(request: PriceRequest, *, generation: Generation) -> Segment:
    """Return the segment of the request."""
    run = generation.runs[generation.split.run_of(request.user_id or request.auction_id or "")]
    try:
        return request, run, segment_key(map(request.macros.__getitem__, run.macros))
    except KeyError:  # an unnamed macro is not an absent value, which has segments of its own
        return request, run, None


def places_of(found: Iterable[Segment | Reason]) -> set[str]:
    """Return the keys of memcached under which the segments' bids stand."""
    segments = (it for it in found if not isinstance(it, Reason))
    return {
        run.bids.place_of(key) for _, run, key in segments if key is not None and isinstance(run.bids, MemcachedTable)
    }


def price(request: PriceRequest, *, generation: Generation) -> Price:
    """Return the price of the request; everything it is made of is of this one generation."""
    return price_segment(find_segment(request, generation=generation), generation)


def price_segment(segment: Segment, generation: Generation, fetched: Fetched | None = None) -> Price:
    """Return the price of a request whose segment was found in this generation.

    Args:
        fetched: what memcached has under `places_of` the segment; without it the bids themselves are asked.

    One function on purpose: after the wait for memcached each call that it makes costs a microsecond.
    """
    request, run, key = segment
    macros, floor_cpm = request.macros, request.floor_cpm
    if (
        request.is_first_price and run.is_second_price
    ):  # its bids are worth of impressions: paying them leaves no margin
        return Price(generation.entity_code, Reason.AUCTION_TYPE, None, run.run_id, floor_cpm=floor_cpm)
    try:
        if key is None:
            found = None
        elif fetched is not None and isinstance(run.bids, MemcachedTable):
            found = run.bids.read(key, fetched)
        else:
            found = run.bids.find(key)
    except UnavailableError as error:
        reason = Reason.TABLE_LOST if isinstance(error, KeysLost) else Reason.TABLE_SILENT
        return Price(generation.entity_code, reason, None, run.run_id, key, floor_cpm=floor_cpm)
    if found is not None:
        base, reason = found, _SEGMENT
    else:
        base, reason = run.fallback_bid_cpm, Reason.NO_MACRO if key is None else Reason.FALLBACK
    # None is a key of neither mapping, so what is not known has no multiplier; asking first would cost time.
    domain = request.domain or macros.get(generation.domain_macro)  # type: ignore[arg-type]
    npi = None if request.withholds_npi else request.npi or macros.get(generation.npi_macro)  # type: ignore[arg-type]
    by_domain = run.domain_multipliers.get(domain, 1.0)  # type: ignore[arg-type]
    by_npi = run.npi_multipliers.get(npi, 1.0)  # type: ignore[arg-type]
    wanted = base * by_domain * by_npi
    if wanted > run.max_bid_cpm:
        wanted, reason = run.max_bid_cpm, Reason.CAP
    bid_cpm: float | None = wanted
    if wanted <= 0:
        bid_cpm, reason = None, Reason.BLOCKED
    elif floor_cpm is not None and wanted < floor_cpm:
        bid_cpm, reason = None, Reason.BELOW_FLOOR
    # What Price(…) does, without the call that every named tuple makes in between.
    parts = (generation.entity_code, reason, bid_cpm, run.run_id, key, base, by_domain, by_npi, floor_cpm)
    return tuple.__new__(Price, parts)
