"""On which terms an impression may be bid on: our seat and deals, the floor, and the time that is left."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from optimizer.bidder.openrtb.money import DEFAULT_CURRENCY, Exchange
from optimizer.bidder.openrtb.oddities import Oddities, Oddity
from optimizer.bidder.openrtb.scalars import (
    Object,
    as_text,
    is_empty,
    oddity_of,
    read_amount,
    read_flag,
    read_id,
    read_list,
    read_number,
    read_object,
    read_texts,
)
from optimizer.bidder.reasons import Reason

ANY_DEAL = "*"
"""In the place of the ids of our deals: each deal that an exchange offers us."""

DEFAULT_LEAST_ANSWER_MS = 5.0

_USUAL_TIME_MS = 1_000_000
"""A whole number below this one is a time without a look at anything else."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How we trade with exchanges.

    Attributes:
        seat: our buyer seat; empty where we have none.
        deals: ids of our deals, or ANY_DEAL.
        states_reasons: every answer without a bid says why, also to a request that does not ask.
        least_answer_ms: what an answer takes at least, the way back to the exchange included.
    """

    seat: str = ""
    deals: frozenset[str] = frozenset()
    states_reasons: bool = False
    least_answer_ms: float = DEFAULT_LEAST_ANSWER_MS


class Deal(NamedTuple):
    """A deal of ours on an impression, and its floor, CPM in our currency."""

    deal_id: str
    floor_cpm: float


Offer = tuple[float, Deal | None]
"""The least floor at which an impression is sold to us, CPM in our currency, and our deal on it."""


class AuctionReader:
    """Reads what decides whether a bid would be taken."""

    def __init__(self, terms: Terms, exchange: Exchange) -> None:
        self._terms, self._exchange = terms, exchange

    def is_open_to_us(self, request: Object, oddities: Oddities) -> bool:
        """Return whether our seat may bid: wseat names it or nobody, and bseat does not."""
        if "wseat" not in request and "bseat" not in request:
            return True
        wanted, blocked = (read_texts(request, name, oddities) for name in ("wseat", "bseat"))
        return (not wanted or self._terms.seat in wanted) and self._terms.seat not in (blocked or ())

    def is_first_price(self, request: Object, oddities: Oddities) -> bool:
        """Return whether the auction says that the winner pays its own bid (`at`)."""
        value = request.get("at")
        return value == 1 or (isinstance(value, str) and read_number(value, oddities) == 1)

    def read_time(self, request: Object, oddities: Oddities) -> float | None:
        """Return how long the exchange waits, milliseconds, or None where it does not say."""
        value = request.get("tmax")
        if type(value) is int and 0 < value < _USUAL_TIME_MS:
            return float(value)
        if value is None or value == "":
            return None
        found = read_number(value, oddities)
        if found is None or found <= 0:
            oddities.append(Oddity.OUT_OF_RANGE)
            return None
        return found

    def read_offer(self, impression: Object, oddities: Oddities) -> Offer | Reason:
        """Return the floor of the impression and our deal on it, or why no bid would be taken."""
        if "pmp" not in impression:
            floor = self._read_floor(impression, oddities)
            return floor if isinstance(floor, Reason) else (floor, None)
        pmp = read_object(impression, "pmp", oddities)
        deal = self._find_deal(pmp, oddities)
        if read_flag(pmp, "private_auction", oddities):
            return Reason.PRIVATE if deal is None else (deal.floor_cpm, deal)
        floor = self._read_floor(impression, oddities)
        if deal is None:
            return floor if isinstance(floor, Reason) else (floor, None)
        return deal.floor_cpm if isinstance(floor, Reason) else min(floor, deal.floor_cpm), deal

    def _read_floor(self, priced: Object, oddities: Oddities) -> float | Reason:
        """The floor of an impression or a deal in our currency."""
        floor = read_amount(priced, "bidfloor", oddities)
        if floor is None:
            oddities.append(Oddity.IMPRESSION_FLOOR)
            return Reason.BAD_IMPRESSION
        if floor == 0:
            return 0.0
        currency = priced.get("bidfloorcur", DEFAULT_CURRENCY)
        if currency == self._exchange.currency:
            return floor
        if is_empty(currency):
            oddities.append(oddity_of(currency))
            currency = DEFAULT_CURRENCY
        if not isinstance(currency, str):
            oddities.append(Oddity.WRONG_TYPE)
            return Reason.CURRENCY
        if currency != currency.upper():
            oddities.append(Oddity.LETTER_CASE)
        ours = self._exchange.in_ours(floor, currency)
        return Reason.CURRENCY if ours is None else ours

    def _find_deal(self, pmp: Object, oddities: Oddities) -> Deal | None:
        """Our deal with the lowest floor."""
        if not self._terms.deals:
            return None
        found = [self._read_deal(it, oddities) for it in read_list(pmp, "deals", oddities)]
        ours = [deal for deal in found if deal is not None]
        return min(ours, key=lambda deal: deal.floor_cpm) if ours else None

    def _read_deal(self, value: Any, oddities: Oddities) -> Deal | None:
        if not isinstance(value, dict):
            oddities.append(Oddity.WRONG_TYPE)
            return None
        deal_id = read_id(value.get("id"), oddities)
        if deal_id is None or not (self._terms.deals & {as_text(deal_id), ANY_DEAL}):
            return None
        if not self.is_open_to_us({"wseat": value["wseat"]} if "wseat" in value else {}, oddities):
            return None
        floor = self._read_floor(value, oddities)
        return None if isinstance(floor, Reason) else Deal(deal_id, floor)
