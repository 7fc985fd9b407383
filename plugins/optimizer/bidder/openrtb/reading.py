"""Bid requests of OpenRTB 2.6 as questions for a price, and prices as its bid response.

A field that is not needed never costs a bid, and a bad impression never costs the others. What is refused lacks what an
answer needs: JSON, the request's id, or impressions.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from optimizer.bidder.openrtb.answers import make_answer
from optimizer.bidder.openrtb.auctions import AuctionReader, Terms
from optimizer.bidder.openrtb.geo import find_place
from optimizer.bidder.openrtb.identity import Identified, IdentityReader
from optimizer.bidder.openrtb.macros import MacroReader
from optimizer.bidder.openrtb.mapping import Mapped
from optimizer.bidder.openrtb.money import DEFAULT_CURRENCY, Answered, Exchange, RateFile
from optimizer.bidder.openrtb.oddities import Notes, Oddities, Oddity
from optimizer.bidder.openrtb.parsing import parse_leniently
from optimizer.bidder.openrtb.paths import Roots, split_paths
from optimizer.bidder.openrtb.privacy.policy import PrivacyPolicy, Withheld
from optimizer.bidder.openrtb.privacy.signals import PrivacyReader, Restrictions
from optimizer.bidder.openrtb.questions import BidRequest, Question
from optimizer.bidder.openrtb.scalars import NOTHING, Object, as_flag, oddity_of, read_flag, read_id, read_texts
from optimizer.bidder.openrtb.spelling import Countries
from optimizer.bidder.pricing import Price
from optimizer.bidder.reasons import Reason
from optimizer.bidder.requests import PriceRequest
from optimizer.errors import RequestError

MAX_IMPRESSIONS = 1_000
"""The impressions of one request that are priced; there is no bid on the rest."""

_OBJECTS = ("device", "user", "site", "app", "dooh")
"""Objects that the macros' paths lead into: what has another type is noted once."""


class OpenRtb:
    """Reads requests and writes responses by one mapping, one privacy policy and our terms."""

    def __init__(
        self,
        mapped: Mapped,
        *,
        currency: str = DEFAULT_CURRENCY,
        rates: RateFile | None = None,
        policy: PrivacyPolicy | None = None,
        terms: Terms | None = None,
    ) -> None:
        """Take a mapping, our currency, and what differs from no rates, the careful policy and no terms."""
        self.terms, self.exchange = terms or Terms(), Exchange(currency, rates)
        self._usual_currencies = [currency]
        self._countries = Countries(mapped.countries)
        self._macros = MacroReader(mapped, countries=self._countries)
        self._identity = IdentityReader(mapped.identity)
        self._privacy = PrivacyReader(policy or PrivacyPolicy())
        self._auctions = AuctionReader(self.terms, self.exchange)
        self._reasons_asked = split_paths(mapped.answer.reasons_asked)

    def read(self, body: bytes) -> BidRequest:
        """Return the request with a question for each of its impressions.

        Raises:
            RequestError: it is not a bid request that can be answered; says why, never with a value.
        """
        notes = Notes([], [])
        oddities = notes.oddities
        request = parse_leniently(body, oddities)
        request_id, impressions = _check(request, oddities)
        device, user = _read_objects(request, oddities)
        limits = self._privacy.read(request, device, user, oddities)
        answered, refusal = self._judge(request, limits, oddities)
        roots = (request, find_place(device, user, self._countries, oddities), NOTHING)
        macros = self._macros.read_request(roots, notes)
        who = self._identity.read(roots, user, limits.withheld, oddities)
        given = _Given(roots, macros, who, refusal, self._auctions.is_first_price(request, oddities))
        ids = _read_ids(impressions, oddities)
        questions = [self._ask(given, it, its_id, notes) for it, its_id in zip(impressions, ids, strict=True)]
        is_test = "test" in request and bool(read_flag(request, "test", oddities))
        asks_reasons = self._asks_reasons(roots, oddities)
        time_ms = self._auctions.read_time(request, oddities)
        privacy, signals = limits.privacy, limits.signals
        # By position: names would take three times as long.
        return BidRequest(
            request_id, questions, answered, privacy, is_test, asks_reasons, time_ms, oddities, signals, notes.unmapped
        )

    def is_late(self, request: BidRequest, *, spent_ms: float) -> bool:
        """Return whether the exchange does not wait as long as an answer takes.

        Args:
            spent_ms: what the request has taken until now.
        """
        return request.time_ms is not None and request.time_ms - spent_ms < self.terms.least_answer_ms

    def write(self, request: BidRequest, prices: Iterable[Price]) -> dict[str, Any] | None:
        """Return the bid response, or None where there is nothing to say: no bid, and nobody asks why."""
        terms = self.terms
        return make_answer(request, prices, seat=terms.seat, states_reasons=terms.states_reasons)

    def _judge(self, request: Object, limits: Restrictions, oddities: Oddities) -> tuple[Answered, Reason | None]:
        """The currency of the answer, and why no bid is taken or made on any impression."""
        answered: Answered | None = self.exchange.ours
        if "cur" in request and request["cur"] != self._usual_currencies:
            answered = self.exchange.choose(read_texts(request, "cur", oddities), oddities)
        if answered is None:
            return self.exchange.ours, Reason.CURRENCY
        if not self._auctions.is_open_to_us(request, oddities):
            return answered, Reason.SEAT
        return answered, Reason.PRIVACY if limits.withheld and Withheld.BID in limits.withheld else None

    def _ask(
        self,
        given: "_Given",
        impression: Object,
        impression_id: str | None,
        notes: Notes,
    ) -> Question:
        if impression_id is None:
            return Question("", Reason.BAD_IMPRESSION)
        if given.refusal is not None:
            return Question(impression_id, given.refusal)
        offer = self._auctions.read_offer(impression, notes.oddities)
        if isinstance(offer, Reason):
            return Question(impression_id, offer)
        request, place, _ = given.roots
        roots = (request, place, impression)
        macros = self._macros.read_impression(roots, notes, shared=given.macros)
        user_id, auction_id, npi, withholds_npi = given.who
        floor_cpm, deal = offer
        asked = PriceRequest(
            macros, user_id, auction_id, None, npi, floor_cpm or None, withholds_npi, given.is_first_price
        )
        return Question(impression_id, asked, deal)

    def _asks_reasons(self, roots: Roots, oddities: Oddities) -> bool:
        for root, follow in self._reasons_asked:
            value = follow(roots[root])
            if value is not None and as_flag(value, oddities):
                return True
        return False


class _Given(NamedTuple):
    """What the impressions of a request share."""

    roots: Roots
    macros: Mapping[str, str | None]
    who: Identified
    refusal: Reason | None
    is_first_price: bool


def _check(request: Any, oddities: Oddities) -> tuple[str, list[Any]]:
    """The id and the impressions of the request."""
    if type(request) is not dict:
        raise RequestError("not an OpenRTB bid request: the body is not an object")
    request_id = read_id(request.get("id"), oddities)
    if request_id is None:
        raise RequestError("not an OpenRTB bid request: id is missing, or not text")
    impressions = request.get("imp")
    if type(impressions) is not list or not impressions:
        raise RequestError("not an OpenRTB bid request: imp is missing, or not a list of impressions")
    return request_id, impressions


def _read_objects(request: Object, oddities: Oddities) -> tuple[Object, Object]:
    """The device and the user; what is not an object is noted, and as if it were not there."""
    for name in _OBJECTS:
        value = request.get(name, NOTHING)
        if type(value) is not dict and value is not NOTHING:
            oddities.append(oddity_of(value))
    device, user = request.get("device", NOTHING), request.get("user", NOTHING)
    return device if type(device) is dict else NOTHING, user if type(user) is dict else NOTHING


def _read_ids(impressions: list[Any], oddities: Oddities) -> list[str | None]:
    """The id of each impression; None for those that an answer cannot name, or that are too many."""
    ids = [_read_impression_id(impression, oddities) for impression in impressions]
    if len(ids) > 1 and len(set(ids)) < len(ids):
        times = Counter(ids)
        twins = {impression_id for impression_id, number in times.items() if number > 1 and impression_id is not None}
        oddities += [Oddity.IMPRESSION_TWIN] * sum(times[impression_id] for impression_id in twins)
        ids = [None if impression_id in twins else impression_id for impression_id in ids]
    if len(ids) > MAX_IMPRESSIONS:
        oddities.append(Oddity.IMPRESSION_COUNT)
        ids[MAX_IMPRESSIONS:] = [None] * (len(ids) - MAX_IMPRESSIONS)
    return ids


def _read_impression_id(impression: Any, oddities: Oddities) -> str | None:
    if type(impression) is not dict:
        oddities.append(Oddity.IMPRESSION_TYPE)
        return None
    impression_id = read_id(impression.get("id"), oddities)
    if impression_id is None:
        oddities.append(Oddity.IMPRESSION_ID)
    return impression_id
