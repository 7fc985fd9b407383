"""Odd requests are read anyway, impression by impression; what cannot be answered is refused."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from bidder.openrtb.corpus import CORPUS, REFUSED, Odd
from bidder.openrtb.requests import NPI, OPENRTB, ask, bid_request, impression, oddities, read, reasons
from hypothesis import given
from hypothesis import strategies as st

from optimizer.bidder.openrtb.oddities import Oddity
from optimizer.bidder.openrtb.reading import MAX_IMPRESSIONS
from optimizer.errors import RequestError

SECRETS = (NPI, "user-1")


@pytest.mark.parametrize("odd", CORPUS.values(), ids=CORPUS.keys())
def test_an_odd_request_is_read_and_what_is_odd_is_counted(odd: Odd):
    assert reasons(odd.body) == odd.outcomes
    found = oddities(odd.body)
    assert set(odd.kinds) <= set(found), found
    assert set(found) <= set(Oddity)


def test_a_valid_request_has_nothing_odd():
    found = read(bid_request())
    assert (found.oddities, found.unmapped, found.signals, found.is_test) == ([], [], (), False)
    assert (found.request_id, found.time_ms, found.answered.currency) == ("auction-1", 200.0, "USD")


def test_every_kind_of_oddity_is_met_by_a_test_or_the_corpus():
    met = {kind for odd in CORPUS.values() for kind in odd.kinds}
    elsewhere = {Oddity.IMPRESSION_COUNT, Oddity.SHARED_ID, Oddity.WRONG_NPI}
    assert met | elsewhere == set(Oddity)


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_answered_is_refused_without_repeating_it(body: bytes):
    with pytest.raises(RequestError, match=r"not JSON|not an OpenRTB bid request: (the body|id|imp) is") as refused:
        OPENRTB.read(body)
    assert len(str(refused.value)) < 200


def test_a_refusal_repeats_no_value():
    with pytest.raises(RequestError) as refused:
        read({"id": None, "user": {"id": "user-1", "ext": {"npi": NPI}}, "imp": [{"id": "1"}]})
    assert not any(secret in str(refused.value) for secret in SECRETS)


def test_impressions_beyond_the_bound_get_no_bid_and_the_others_do():
    found = read(bid_request(imp=[impression(id=str(number)) for number in range(MAX_IMPRESSIONS + 5)]))
    asked = [question for question in found.questions if question.impression_id]
    assert len(found.questions) == MAX_IMPRESSIONS + 5 and len(asked) == MAX_IMPRESSIONS
    assert Oddity.IMPRESSION_COUNT in found.oddities


@pytest.mark.parametrize("floor", [2.5, "2.5", " 2.50 ", "25e-1"])
def test_a_floor_is_the_same_amount_however_it_is_written(floor: Any):
    assert ask(bid_request(imp=[impression(bidfloor=floor)])).floor_cpm == 2.5


@pytest.mark.parametrize("floor", [0, 0.0, "", None, "0", "0.0", -0.0])
def test_no_floor_is_none(floor: Any):
    assert ask(bid_request(imp=[impression(bidfloor=floor)])).floor_cpm is None


@pytest.mark.parametrize("floor", [-3, "-1", "x", [], {}, True, False, [1], {"a": 1}, "1e999", "Infinity", "1,5"])
def test_a_floor_that_is_not_an_amount_is_not_bid_on(floor: Any):
    assert reasons(bid_request(imp=[impression(bidfloor=floor)])) == {"1": "bad_impression"}


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)

UNNEEDED: dict[str, Callable[[dict[str, Any], Any], Any]] = {
    "a field of the request": lambda request, value: request.update(bcat=value),
    "ext": lambda request, value: request.update(ext=value),
    "source": lambda request, value: request.update(source=value),
    "app": lambda request, value: request.update(app=value),
    "site.page": lambda request, value: request["site"].update(page=value),
    "site.publisher": lambda request, value: request["site"].update(publisher=value),
    "device.ua": lambda request, value: request["device"].update(ua=value),
    "device.ip": lambda request, value: request["device"].update(ip=value),
    "device.ext": lambda request, value: request["device"].update(ext=value),
    "device.geo.city": lambda request, value: request["device"]["geo"].update(city=value),
    "user.yob": lambda request, value: request["user"].update(yob=value),
    "user.buyeruid": lambda request, value: request["user"].update(buyeruid=value),
    "user.geo": lambda request, value: request["user"].update(geo=value),
    "imp.banner": lambda request, value: request["imp"][0].update(banner=value),
    "imp.secure": lambda request, value: request["imp"][0].update(secure=value),
    "imp.ext": lambda request, value: request["imp"][0].update(ext=value),
    "imp.pmp.deals": lambda request, value: request["imp"][0].update(pmp={"deals": value}),
    "imp.pmp.ext": lambda request, value: request["imp"][0].update(pmp={"ext": value}),
}


@given(st.sampled_from(sorted(UNNEEDED)), ANYTHING)
def test_what_a_field_that_is_not_needed_says_never_changes_what_is_asked(name: str, value: Any):
    usual, changed = bid_request(), bid_request()
    UNNEEDED[name](changed, value)
    assert ask(changed) == ask(usual)


NEEDED = ("id", "imp", "site", "device", "user", "cur", "tmax", "regs", "test", "wseat", "bseat", "ext", "at")


@given(st.sampled_from(NEEDED), ANYTHING)
def test_any_value_of_any_field_is_read_or_refused(name: str, value: Any):
    try:
        found = read(bid_request(**{name: value}))
    except RequestError:
        assert name in ("id", "imp")
    else:
        assert json.dumps(OPENRTB.write(found, [])) if not found.questions else True


@given(st.sampled_from(("id", "tagid", "bidfloor", "bidfloorcur", "pmp")), ANYTHING)
def test_a_bad_impression_never_costs_the_others(name: str, value: Any):
    found = read(bid_request(imp=[impression(), impression(id="2") | {name: value}, impression(id="3")]))
    words = {question.impression_id: question.asked for question in found.questions}
    alone = {it.impression_id: it.asked for it in read(bid_request(imp=[impression(), impression(id="3")])).questions}
    others = {"1", "3"} - ({str(value)} if name == "id" else set())
    assert {it: words[it] for it in others} == {it: alone[it] for it in others}


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes):
    with pytest.raises(RequestError):
        OPENRTB.read(body)


NESTED = {
    "device": ("os", "devicetype", "geo", "sua", "ext", "lmt", "dnt", "ifa"),
    "user": ("id", "buyeruid", "eids", "data", "ext", "geo", "consent"),
    "regs": ("coppa", "gdpr", "us_privacy", "gpp", "gpp_sid", "ext"),
    "site": ("domain",),
}


@given(st.sampled_from([(parent, name) for parent, names in NESTED.items() for name in names]), ANYTHING)
def test_any_value_of_a_nested_field_is_read_and_never_raises_the_price(place: tuple[str, str], value: Any):
    parent, name = place
    usual = bid_request()
    asked = ask(usual | {parent: usual.get(parent, {}) | {name: value}})
    assert (asked.floor_cpm, asked.auction_id) == (2.5, "auction-1")
    assert asked.npi in (NPI, None) and (asked.npi is None or not asked.withholds_npi)
