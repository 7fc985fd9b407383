"""Values of a request in the spelling of BIDS: spellings, client hints, and where the impression is."""

from typing import Any

import pytest
from bidder.openrtb.requests import (
    BROWSER,
    DEVICE,
    DOMAIN,
    MAPPING,
    OS,
    PLACEMENT,
    STATE,
    ask,
    bid_request,
    impression,
    read,
)

from optimizer.bidder.openrtb import OpenRtb
from optimizer.bidder.openrtb.mapping import Mapped
from optimizer.bidder.openrtb.spelling import Spelling
from optimizer.bidder.unmapped_values import OTHERS, SHOWN_VALUES, WITHHELD, UnmappedValues

OS_SPELLINGS = {
    "ios": [
        "iphone",
        "iPhone",
        "IPHONE",
        "ipad",
        "iPad",
        "iPadOS",
        "iPhone OS",
        "iPod touch",
        "ios",
        "iOS",
        " iOS ",
        "iOS 17.2",
        "iPhone OS 16.1.2",
        "iPadOS 17",
    ],
    "macos": [
        "macos",
        "MacOS",
        "MACOSX",
        "OSX",
        "OS X",
        "Mac OS X",
        "Mac  OS  X",
        "macOS 14.2",
        "Mac OS X 10.15.7",
        "Macintosh",
    ],
    "windows": [
        "windows",
        "Windows 7",
        "Windows 10",
        "windows 11",
        "Windows NT 10.0",
        "Windows XP",
        "WINDOWS",
        "Win10",
    ],
    "android": ["android", "Android", "ANDROID ", "Android 14", "android os"],
    "chromeos": ["Chrome OS", "ChromeOS", "CrOS", "Chromium OS"],
    "linux": ["Linux", "Ubuntu", "linux x86_64"],
}


@pytest.mark.parametrize(("os", "spelled"), [(os, it) for os, several in OS_SPELLINGS.items() for it in several])
def test_an_operating_system_is_spelled_as_in_the_log(os: str, spelled: str):
    request = bid_request(device={"os": spelled})
    assert ask(request).macros[OS] == os and read(request).unmapped == []


@pytest.mark.parametrize(
    "region", ["NY", "ny", " NY ", "US-NY", "us-ny", "USA-NY", "New York", "new york", "NEW  YORK"]
)
@pytest.mark.parametrize("country", ["USA", "usa", "US", "us", "840", 840, 840.0, "United States", None, "", {}])
def test_a_state_of_the_usa_is_spelled_as_in_the_log(region: str, country: Any):
    request = bid_request(device={"geo": {"region": region, "country": country}})
    assert ask(request).macros[STATE] == "New York" and read(request).unmapped == []


@pytest.mark.parametrize(
    ("geo", "state"),
    [
        ({"region": "wa"}, "Washington"),
        ({"region": "WA", "country": "USA"}, "Washington"),
        ({"region": "WA", "country": "AUS"}, "WA"),
        ({"region": "US-WA", "country": "AUS"}, "US-WA"),
        ({"region": "ON"}, "ON"),
        ({"region": "CA-ON", "country": "CAN"}, "CA-ON"),
        ({"region": "Washington, D.C."}, "District of Columbia"),
        ({"region": ""}, None),
        ({"region": 4.5}, None),
        ({"region": ["NY"]}, None),
        ({"region": {"code": "NY"}}, None),
        ({"region": True}, None),
        ({}, None),
    ],
)
def test_a_state_is_spelled_as_in_the_log_where_it_is_one_of_the_usa(geo: dict[str, Any], state: str | None):
    request = bid_request(device={"geo": geo}, imp=[impression(), impression(id="2")])
    assert [question.asked.macros[STATE] for question in read(request).questions] == [state, state]


@pytest.mark.parametrize(
    ("here", "home", "state"),
    [
        ({"region": "NY", "country": "USA"}, {"region": "OH", "country": "USA"}, "New York"),
        ({}, {"region": "OH", "country": "USA"}, "Ohio"),
        (None, {"region": "OH"}, "Ohio"),
        ("USA", {"region": "OH", "country": "USA"}, "Ohio"),
        ({"country": "USA"}, {"region": "OH", "country": "USA"}, "Ohio"),
        ({"country": "US"}, {"region": "OH", "country": 840}, "Ohio"),
        ({"country": "USA", "region": ""}, {"region": "OH", "country": "USA"}, "Ohio"),
        ({"country": "USA", "region": None}, {"region": "US-OH", "country": "usa"}, "Ohio"),
        ({"country": "CAN"}, {"region": "OH", "country": "USA"}, None),
        ({"country": "AUS"}, {"region": "WA", "country": "USA"}, None),
        ({"country": "USA"}, {"region": "OH"}, None),
        ({"country": "GB"}, {"region": "ENG", "country": "United Kingdom"}, "ENG"),
        ({}, None, None),
        ({"country": "USA"}, "OH", None),
    ],
)
def test_home_is_where_the_impression_is_only_where_the_device_does_not_say_and_the_countries_agree(here, home, state):
    assert ask(bid_request(device={"geo": here}, user={"id": "u-1", "geo": home})).macros[STATE] == state


GREASE = ["Not/A)Brand", "Not;A=Brand", "Not_A Brand", " Not A;Brand", "(Not(A:Brand", "Not.A/Brand", "Not A(Brand"]


def brands(*names: str) -> list[dict[str, Any]]:
    return [{"brand": name, "version": ["120"]} for name in names]


@pytest.mark.parametrize(
    ("named", "browser"),
    [
        (["Chromium", "Google Chrome"], "chrome"),
        (["Microsoft Edge", "Chromium"], "edge"),
        (["Chromium", "Samsung Internet"], "samsung"),
        (["Chromium"], "chrome"),
        (["Android WebView", "Chromium"], "chrome"),
        (["Opera", "Chromium"], "Opera"),
        (["Chromium", "Brave"], "Brave"),
    ],
)
@pytest.mark.parametrize("grease", GREASE)
def test_the_browser_is_found_among_its_brands_in_any_order(named: list[str], browser: str, grease: str):
    for order in ([grease, *named], [*named, grease], [named[0], grease, *named[1:]], [*reversed(named), grease]):
        device = {"sua": {"browsers": brands(*order)}, "ext": {"browser": "Firefox"}}
        wanted = browser if browser in ("chrome", "edge", "samsung") else "firefox"
        assert ask(bid_request(device=device)).macros[BROWSER] == wanted
        assert ask(bid_request(device={"sua": {"browsers": brands(*order)}})).macros[BROWSER] == browser


@pytest.mark.parametrize(
    ("device", "os"),
    [
        ({"sua": {"platform": {"brand": "macOS", "version": ["14"]}}, "os": "Windows"}, "macos"),
        ({"sua": {"platform": {"brand": "Chrome OS"}}}, "chromeos"),
        ({"sua": {"platform": {"brand": "Unknown"}}, "os": "iphone"}, "ios"),
        ({"sua": {"platform": {"brand": ""}}, "os": "iphone"}, "ios"),
        ({"sua": {"platform": "Android"}}, "android"),
        ({"sua": {"platform": {}}, "os": "Android"}, "android"),
        ({"sua": {"platform": [1, None]}, "os": "Android"}, "android"),
        ({"sua": "x", "os": "Android"}, "android"),
        ({"sua": None, "os": "Android"}, "android"),
    ],
)
def test_the_platform_of_client_hints_goes_before_the_operating_system(device: dict[str, Any], os: str):
    assert ask(bid_request(device=device)).macros[OS] == os


@pytest.mark.parametrize(
    "browsers", [None, "Chrome", 7, [], {}, [None], ["x"], [{"brand": 7}], [{"brand": None}, {}], [[]]]
)
def test_brands_that_cannot_be_read_do_not_count(browsers: Any):
    found = ask(bid_request(device={"sua": {"browsers": browsers}, "ext": {"browser": "Safari"}})).macros[BROWSER]
    assert found == ("chrome" if browsers == "Chrome" else "safari")


@pytest.mark.parametrize("value", [4, "4", " 4 ", 4.0, "Mobile", "smartphone", "phone", "PHONE"])
def test_a_device_type_is_spelled_as_in_the_log(value: Any):
    assert ask(bid_request(device={"devicetype": value})).macros[DEVICE] == "phone"


@pytest.mark.parametrize(
    ("tagid", "macro"),
    [
        (49979, "49979"),
        (" 49979 ", "49979"),
        (49979.0, "49979"),
        (1.5, None),
        (True, None),
        ("", None),
        (None, None),
        ([1], None),
        ("ü|%", "ü|%"),
    ],
)
def test_a_value_without_a_table_is_its_text_without_outer_spaces(tagid: Any, macro: str | None):
    assert ask(bid_request(imp=[impression(tagid=tagid)])).macros[PLACEMENT] == macro


def test_the_first_field_that_is_given_counts():
    assert ask(bid_request(site={}, app={"bundle": "com.a"})).macros[DOMAIN] == "com.a"
    assert ask(bid_request(site={"domain": None}, app={"bundle": ""}, dooh={"domain": "d"})).macros[DOMAIN] == "d"


def test_paths_lead_into_lists_and_never_out_of_them():
    mapped = Mapped(macros={"a": ("site.cat.0",), "b": ("imp.metric.1.type",), "c": ("a.0.1", "id")})
    openrtb = OpenRtb(mapped)
    found = ask(
        bid_request(site={"cat": ["IAB7"]}, imp=[impression(metric=[{}, {"type": "x"}])], a=[["y", "z"]]), openrtb
    )
    assert dict(found.macros) == {"a": "IAB7", "b": "x", "c": "z"}
    odd = ask(bid_request(site={"cat": []}, imp=[impression(metric={"1": {"type": "t"}})], a=[5]), openrtb)
    assert dict(odd.macros) == {"a": None, "b": "t", "c": "auction-1"}


def test_values_that_the_mapping_does_not_know_stay_and_are_noted_by_macro():
    request = bid_request(device={"os": "Tizen", "geo": {"region": "XX", "country": "US"}, "devicetype": 3})
    found = read(request)
    assert ask(request).macros[OS] == "Tizen"
    assert sorted(found.unmapped) == [(DEVICE, "3"), (STATE, "XX"), (OS, "Tizen")]
    abroad = bid_request(device={"os": "Android", "geo": {"region": "BY", "country": "DEU"}})
    assert read(abroad).unmapped == []


def test_the_list_of_unknown_values_is_bounded_printable_and_has_no_ids():
    values = UnmappedValues()
    ids = ("1234567893", "123-456-7893", "6d92078a-8246-4ba4-ae5b-76104861e7dc", "x@example.com", "deadbeef00")
    for value in (*ids, "Tizen", "Tizen", "a\nb\x1b[0m" + "é" * 100):
        values.add(read(bid_request(device={"os": value})).unmapped)
    listed = values.most_common()[OS]
    assert listed[:2] == [{"value": WITHHELD, "requests": 5}, {"value": "Tizen", "requests": 2}]
    assert listed[2]["value"].startswith("a\\nb\\x1b[0m\\xe9") and len(listed[2]["value"]) == 40
    assert not any(it in str(listed) for it in ids)
    for number in range(3_000):
        values.add(read(bid_request(device={"os": f"os {'abcdefghij'[number % 10]}{number}x"})).unmapped)
    listed = values.most_common()[OS]
    assert len(listed) == SHOWN_VALUES and listed[0]["value"] == OTHERS


@pytest.mark.parametrize("macro", MAPPING.values)
def test_the_spelling_of_bids_is_always_known(macro: str):
    spelling = Spelling(MAPPING.values[macro])
    assert macro in MAPPING.macros
    for spelled, value in MAPPING.values[macro].items():
        assert spelling.find(spelled) == spelling.find(f" {value.upper()} ") == spelling.find(value) == value
