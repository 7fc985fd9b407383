"""Odd requests of our own making: the body, what becomes of its impressions, and the kinds of oddities in it.

What an impression's outcome says: `asked`, or the reason without a bid.
"""

import json
from typing import Any, NamedTuple

from bidder.openrtb.requests import bid_request, impression

ASKED = {"1": "asked"}
SKIPPED = "bad_impression"


class Odd(NamedTuple):
    """An odd request: its body, its impressions' outcomes, and the oddities that are counted (others may be, too)."""

    body: bytes
    outcomes: dict[str, str] = ASKED
    kinds: tuple[str, ...] = ()


def of(request: dict[str, Any], outcomes: dict[str, str] | None = None, *kinds: str) -> Odd:
    return Odd(json.dumps(request).encode(), ASKED if outcomes is None else outcomes, kinds)


def one(*kinds: str, outcome: str = "asked", **fields: Any) -> Odd:
    """A request whose one impression has these fields."""
    return of(bid_request(imp=[impression(**fields)]), {"1": outcome}, *kinds)


def several(*impressions: Any, outcomes: dict[str, str], kinds: tuple[str, ...] = ()) -> Odd:
    return of(bid_request(imp=list(impressions)), outcomes, *kinds)


def body(before: str, after: str, *kinds: str) -> Odd:
    """The valid request with a piece of its text replaced."""
    text = json.dumps(bid_request())
    assert before in text
    return Odd(text.replace(before, after, 1).encode("utf-8", "surrogatepass"), ASKED, kinds)


NULLS = {
    "null floor": one("null", bidfloor=None),
    "null currency of the floor": one("null", bidfloorcur=None),
    "null pmp": one("null", pmp=None),
    "null private_auction": one("null", pmp={"private_auction": None}),
    "null deals": one(pmp={"deals": None}),
    "null tagid": one(tagid=None),
    "null cur": of(bid_request(cur=None), None, "null"),
    "null in cur": of(bid_request(cur=[None, "USD"]), None, "wrong_type"),
    "null device": of(bid_request(device=None), None, "null"),
    "null user": of(bid_request(user=None), None, "null"),
    "null regs": of(bid_request(regs=None)),
    "null geo": of(bid_request(device={"geo": None}), None, "null"),
    "null tmax": of(bid_request(tmax=None)),
    "null test": of(bid_request(test=None), None, "null"),
    "null wseat": of(bid_request(wseat=None), None, "null"),
    "null ext": of(bid_request(ext=None)),
    "null site": of(bid_request(site=None), None, "null"),
}

TYPES = {
    "floor as text": one("number_as_text", bidfloor="2.5"),
    "floor as text with spaces": one("number_as_text", bidfloor=" 2.5 "),
    "floor as exponent": one("number_as_text", bidfloor="25e-1"),
    "floor as empty text": one("empty", bidfloor=""),
    "floor as whole number": one(bidfloor=2),
    "currency in lower case": one("letter_case", bidfloorcur="usd"),
    "currency with spaces": one(bidfloorcur=" USD "),
    "empty currency of the floor": one("empty", bidfloorcur=""),
    "currency of the floor of spaces": one("empty", bidfloorcur="  "),
    "currency of the floor as empty list": one("empty", bidfloorcur=[]),
    "currency of the floor as empty object": one("empty", bidfloorcur={}),
    "currency of another type without a floor": one(bidfloor=0, bidfloorcur=5),
    "pmp as list": one("empty", pmp=[]),
    "pmp as text": one("empty", pmp=""),
    "pmp as number": one("wrong_type", pmp=7),
    "pmp as list of objects": one("wrong_type", pmp=[{"private_auction": 1}]),
    "flag as text": one("number_as_text", pmp={"private_auction": "0"}),
    "flag as float": one("flag_as_number", pmp={"private_auction": 0.0}),
    "flag as boolean": one("flag_as_number", pmp={"private_auction": False}),
    "flag as empty text": one("empty", pmp={"private_auction": ""}),
    "flag as word": one("number_as_text", pmp={"private_auction": "false"}),
    "flag as other number": one("out_of_range", pmp={"private_auction": 7}),
    "flag as object": one("wrong_type", pmp={"private_auction": {"a": 1}}),
    "flag as text that is set": one("number_as_text", outcome="private", pmp={"private_auction": "1"}),
    "flag as float that is set": one("flag_as_number", outcome="private", pmp={"private_auction": 1.0}),
    "flag as true": one("flag_as_number", outcome="private", pmp={"private_auction": True}),
    "cur as text": of(bid_request(cur="USD"), None, "text_as_list"),
    "cur as list in text": of(bid_request(cur="EUR, USD"), None, "text_as_list"),
    "cur in lower case": of(bid_request(cur=["usd"]), None, "letter_case"),
    "cur with spaces": of(bid_request(cur=[" USD"])),
    "cur as empty list": of(bid_request(cur=[])),
    "cur as empty object": of(bid_request(cur={}), None, "empty"),
    "cur as empty text": of(bid_request(cur=""), None, "empty"),
    "cur as object": of(bid_request(cur={"a": "USD"}), {"1": "currency"}, "wrong_type"),
    "cur as list of lists": of(bid_request(cur=[["EUR"]]), {"1": "currency"}, "wrong_type"),
    "cur as list of objects": of(bid_request(cur=[{"code": "EUR"}]), {"1": "currency"}, "wrong_type"),
    "cur as list of true": of(bid_request(cur=[True]), {"1": "currency"}, "wrong_type"),
    "cur as list of nothing": of(bid_request(cur=[None, " ", {}]), None, "wrong_type"),
    "cur of spaces": of(bid_request(cur="  "), None, "empty"),
    "device as text": of(bid_request(device="phone"), None, "wrong_type"),
    "device as list": of(bid_request(device=[]), None, "empty"),
    "user as number": of(bid_request(user=4), None, "wrong_type"),
    "user as true": of(bid_request(user=True), None, "wrong_type"),
    "geo as text": of(bid_request(device={"geo": "OH"}), None, "wrong_type"),
    "site as list": of(bid_request(site=["a.example"]), None, "wrong_type"),
    "site as empty list": of(bid_request(site=[]), None, "empty"),
    "app as text": of(bid_request(app="x"), None, "wrong_type"),
    "os as list": of(bid_request(device={"os": ["ios"]}), None, "wrong_type"),
    "os as object": of(bid_request(device={"os": {"name": "ios"}}), None, "wrong_type"),
    "os of many versions": of(bid_request(device={"os": "1 " * 50_000})),
    "os of a few versions": of(bid_request(device={"os": "Mac OS X 10 15 7"})),
    "os of nothing": of(bid_request(device={"os": " "}), None, "empty"),
    "region as number": of(bid_request(device={"geo": {"region": 4.5}}), None, "wrong_type"),
    "tagid as true": one("wrong_type", tagid=True),
    "user id as list": of(bid_request(user={"id": ["u"]}), None, "wrong_type"),
    "user id of nothing": of(bid_request(user={"id": ""}), None, "empty"),
    "tmax as text": of(bid_request(tmax="200"), None, "number_as_text"),
    "tmax as word": of(bid_request(tmax="soon"), None, "out_of_range"),
    "tmax negative": of(bid_request(tmax=-1), None, "out_of_range"),
    "tmax zero": of(bid_request(tmax=0), None, "out_of_range"),
    "at as text": of(bid_request(at="1")),
    "at as object": of(bid_request(at={})),
    "ext as text": of(bid_request(ext="x")),
    "ext as list": of(bid_request(ext=[1, [2, {"a": None}]])),
    "ext of the user as text": of(bid_request(user={"id": "user-1", "ext": "x"})),
    "test as text": of(bid_request(test="0"), None, "number_as_text"),
    "wseat empty": of(bid_request(wseat=[])),
    "fields of other versions": of(bid_request(imp2=1, bcat=7, app="x", dooh=3, allimps="1", badv={"a": 1})),
}

IDS = {
    "request id as number": of(bid_request(id=17), None, "id_as_number"),
    "request id in other letters": of(bid_request(id="ставка-1")),
    "impression id as number": one("id_as_number", id=1),
    "impression id with spaces": several(impression(id=" 1 "), outcomes={" 1 ": "asked"}),
    "impression id of an emoji": several(impression(id="🛒"), outcomes={"🛒": "asked"}),
    "a long impression id": several(impression(id="x" * 5000), outcomes={"x" * 5000: "asked"}),
}

IMPRESSIONS = {
    "one floor below zero": several(
        impression(),
        impression(id="2", bidfloor=-3),
        impression(id="3"),
        outcomes={"1": "asked", "2": SKIPPED, "3": "asked"},
        kinds=("impression_floor",),
    ),
    "one floor of words": several(
        impression(),
        impression(id="2", bidfloor="cheap"),
        outcomes={"1": "asked", "2": SKIPPED},
        kinds=("impression_floor",),
    ),
    "one floor of true": several(
        impression(),
        impression(id="2", bidfloor=True),
        outcomes={"1": "asked", "2": SKIPPED},
        kinds=("impression_floor",),
    ),
    "one floor as list": several(
        impression(),
        impression(id="2", bidfloor=[2.5]),
        outcomes={"1": "asked", "2": SKIPPED},
        kinds=("impression_floor",),
    ),
    "one floor of the text NaN": several(
        impression(),
        impression(id="2", bidfloor="NaN"),
        outcomes={"1": "asked", "2": SKIPPED},
        kinds=("impression_floor",),
    ),
    "one floor as Python writes it": several(
        impression(),
        impression(id="2", bidfloor="1_000"),
        outcomes={"1": "asked", "2": SKIPPED},
        kinds=("impression_floor",),
    ),
    "one id of null": several(
        impression(), impression(id=None), outcomes={"1": "asked", "": SKIPPED}, kinds=("impression_id",)
    ),
    "one without an id": several(
        {"tagid": "49979"}, impression(), outcomes={"": SKIPPED, "1": "asked"}, kinds=("impression_id",)
    ),
    "one id of nothing": several(
        impression(id=" "), impression(), outcomes={"": SKIPPED, "1": "asked"}, kinds=("impression_id",)
    ),
    "one id as list": several(
        impression(id=["2"]), impression(), outcomes={"": SKIPPED, "1": "asked"}, kinds=("impression_id",)
    ),
    "one that is null": several(None, impression(), outcomes={"": SKIPPED, "1": "asked"}, kinds=("impression_type",)),
    "one that is text": several("2", impression(), outcomes={"": SKIPPED, "1": "asked"}, kinds=("impression_type",)),
    "one in another currency": several(
        impression(), impression(id="2", bidfloorcur="EUR"), outcomes={"1": "asked", "2": "currency"}
    ),
    "one of another currency's type": several(
        impression(),
        impression(id="2", bidfloorcur=5),
        outcomes={"1": "asked", "2": "currency"},
        kinds=("wrong_type",),
    ),
    "one that is private": several(
        impression(), impression(id="2", pmp={"private_auction": 1}), outcomes={"1": "asked", "2": "private"}
    ),
    "twins": several(
        impression(id="2"),
        impression(),
        impression(id="2"),
        outcomes={"": SKIPPED, "1": "asked"},
        kinds=("impression_twin",),
    ),
    "twins of text and number": several(
        impression(id="2"),
        impression(),
        impression(id=2),
        outcomes={"": SKIPPED, "1": "asked"},
        kinds=("impression_twin",),
    ),
    "more than a hundred": several(
        *(impression(id=str(number)) for number in range(250)), outcomes={str(it): "asked" for it in range(250)}
    ),
}

BODIES = {
    "byte order mark": Odd(b"\xef\xbb\xbf" + json.dumps(bid_request()).encode(), ASKED, ("byte_order_mark",)),
    "byte order marks": Odd(b"\xef\xbb\xbf" * 5_000 + json.dumps(bid_request()).encode(), ASKED, ("byte_order_mark",)),
    "white space around": Odd(b" \r\n\t" + json.dumps(bid_request()).encode() + b"\n\n"),
    "UTF-16": Odd(json.dumps(bid_request()).encode("utf-16"), ASKED, ("loose_json",)),
    "NaN in ext": body('"at": 1', '"ext": {"score": NaN}', "loose_json"),
    "infinity in ext": body('"at": 1', '"ext": {"score": -Infinity}', "loose_json"),
    "half a surrogate in ext": body('"at": 1', '"ext": {"name": "\\ud800"}', "loose_json"),
    "a line end in a text of ext": body('"at": 1', '"ext": {"name": "a\nb"}', "loose_json"),
    "a long number in ext": body('"at": 1', f'"ext": {{"n": {"9" * 6000}}}', "loose_json"),
    "a large number in ext": body('"at": 1', f'"ext": {{"n": 1e400, "m": {"9" * 400}}}'),
    "deep nesting in ext": body('"at": 1', '"ext": ' + '{"a": ' * 300 + "1" + "}" * 300, "loose_json"),
    "bytes that are not UTF-8 in ext": Odd(
        json.dumps(bid_request(ext="@")).encode().replace(b"@", b"caf\xe9\xff"), ASKED, ("loose_json",)
    ),
    "the same field twice": body('"at": 1', '"at": 2, "at": 1'),
    "other letters everywhere": of(bid_request(site={"domain": "пример.example", "name": "日本語"}, ext={"ключ": "é"})),
}

CORPUS: dict[str, Odd] = NULLS | TYPES | IDS | IMPRESSIONS | BODIES

REFUSED = {
    "nothing": b"",
    "byte order marks alone": b"\xef\xbb\xbf" * 80_000,
    "half of an object": b"{",
    "not JSON": b"id=1&imp=2",
    "an object and more": b'{"id": "a", "imp": [{"id": "1"}]} x',
    "brackets without end": b"[" * 100_000,
    "endless objects": b'{"a":' * 50_000,
    "a list": b"[]",
    "null": b"null",
    "a text": b'"a"',
    "a number": b"1",
    "no id": b'{"imp": [{"id": "1"}]}',
    "an id of null": b'{"id": null, "imp": [{"id": "1"}]}',
    "an empty id": b'{"id": "", "imp": [{"id": "1"}]}',
    "an id of spaces": b'{"id": "  ", "imp": [{"id": "1"}]}',
    "an id of true": b'{"id": true, "imp": [{"id": "1"}]}',
    "an id as object": b'{"id": {}, "imp": [{"id": "1"}]}',
    "an id of NaN": b'{"id": NaN, "imp": [{"id": "1"}]}',
    "an id of half a surrogate": b'{"id": "\\ud800", "imp": [{"id": "1"}]}',
    "an id that is not UTF-8": b'{"id": "\xff", "imp": [{"id": "1"}]}',
    "no impressions": b'{"id": "a"}',
    "impressions of null": b'{"id": "a", "imp": null}',
    "impressions as object": b'{"id": "a", "imp": {"id": "1"}}',
    "impressions as text": b'{"id": "a", "imp": "1"}',
    "an empty list of impressions": b'{"id": "a", "imp": []}',
}
"""Bodies that cannot be answered: not JSON, no id, or no impressions."""
