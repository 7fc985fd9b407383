"""A valid bid request of our own, readers of it, and what they make of it."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from optimizer.bidder.openrtb import OpenRtb, read_mapping
from optimizer.bidder.openrtb.questions import BidRequest, Question
from optimizer.bidder.requests import PriceRequest

NPI = "1234567893"
MAPPING = read_mapping()
OPENRTB = OpenRtb(MAPPING)
STATE, OS, BROWSER, DEVICE = "[ADX_GEO_STATE]", "[ADX_USER_OS]", "[ADX_USER_BROWSER]", "[ADX_DEVICE_TYPE]"
PLACEMENT, DOMAIN = "[ADX_PLACEMENT_ID]", "[ADX_DOMAIN]"


def bid_request(**fields: Any) -> dict[str, Any]:
    """Return a request of one impression with the fields in the place of its own."""
    return {
        "id": "auction-1",
        "imp": [{"id": "1", "tagid": "49979", "bidfloor": 2.5, "bidfloorcur": "USD"}],
        "site": {"domain": "a.example"},
        "device": {"os": "Android", "geo": {"region": "OH", "country": "USA"}, "devicetype": 4},
        "user": {"id": "user-1", "ext": {"npi": NPI}},
        "cur": ["USD"],
        "at": 1,
        "tmax": 200,
    } | fields


def impression(**fields: Any) -> dict[str, Any]:
    """Return an impression with the fields in the place of its own."""
    return {"id": "1", "tagid": "49979", "bidfloor": 2.5, "bidfloorcur": "USD"} | fields


def read(request: Any, openrtb: OpenRtb = OPENRTB) -> BidRequest:
    """Return what is read of a request, given as JSON's types or as the body itself."""
    return openrtb.read(request if isinstance(request, bytes) else json.dumps(request).encode())


def ask(request: Any, openrtb: OpenRtb = OPENRTB) -> PriceRequest:
    """Return the one impression of a request, as it is priced."""
    (question,) = read(request, openrtb).questions
    assert isinstance(question.asked, PriceRequest), question.asked
    return question.asked


def reasons(request: Any, openrtb: OpenRtb = OPENRTB) -> dict[str, str]:
    """Return what becomes of each impression by its id: `asked`, or why no bid is made."""
    return {it.impression_id: _word(it) for it in read(request, openrtb).questions}


def oddities(request: Any, openrtb: OpenRtb = OPENRTB) -> Mapping[str, int]:
    """Return how often each kind of oddity was met."""
    return Counter(map(str, read(request, openrtb).oddities))


def _word(question: Question) -> str:
    return "asked" if isinstance(question.asked, PriceRequest) else str(question.asked)
