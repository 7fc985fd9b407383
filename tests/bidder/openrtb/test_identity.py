"""Ids of nobody, or of everybody, decide nothing; an NPI counts where its check digit is right."""

from collections import Counter
from typing import Any

import pytest
from bidder.openrtb.requests import NPI, ask, bid_request, oddities, read
from hypothesis import given
from hypothesis import strategies as st

from optimizer.bidder.openrtb.oddities import Oddity
from optimizer.core.serving.npi import npi_check_digit, parse_npi
from optimizer.core.serving.traffic import TrafficSplit

NOBODY: list[Any] = [
    *("00000000-0000-0000-0000-000000000000", "00000000000000000000000000000000", "0", "000", "0x0", "0.0", " 0 "),
    *("{00000000-0000-0000-0000-000000000000}", "00:00:00:00:00:00", "0000-0000", 0, 0.0, -1, "-1", "-0"),
    *("ffffffff-ffff-ffff-ffff-ffffffffffff", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "f" * 32, "F", "0xFFFF"),
    *("null", "NULL", "Null ", "(null)", "<null>", "'null'", "undefined", "Undefined", "none", "nil", "NaN", "N/A"),
    *("optout", "OptOut", "opt-out", "OPT_OUT", "opt out", "opted_out", "unknown", "UNKNOWN", "[unknown]", "anonymous"),
    *(
        "1111-1111",
        "xxxxxxxx",
        "---",
        "?",
        "",
        " ",
        "${USER_ID}",
        "%%ADVERTISING_ID%%",
        "[IDFA]",
        "{{ifa}}",
        "__IDFA__",
    ),
    *(None, True, False, [], {}, ["u"], {"id": "u"}, 1.5),
    *("9774d56d682e549c", "d41d8cd98f00b204e9800998ecf8427e", "DA39A3EE5E6B4B0D3255BFEF95601890AFD80709"),
]
SOMEBODY: list[Any] = [
    *(
        "u-17",
        "user-1",
        "6d92078a-8246-4ba4-ae5b-76104861e7dc",
        "{6d92078a-8246-4ba4-ae5b-76104861e7dc}",
        "7",
        "42",
        42,
    ),
    *("0001", "f0f0", "a0000000-0000-0000-0000-000000000000", "nullable", "unknown-soldier", "ユーザー"),
]


@pytest.mark.parametrize("value", NOBODY, ids=repr)
@pytest.mark.parametrize("field", ["user.id", "user.buyeruid", "device.ifa"])
def test_the_auction_decides_where_an_id_is_nobodys(value: Any, field: str):
    parent, name = field.split(".")
    asked = ask({"id": "auction-1", "imp": [{"id": "1"}], parent: {name: value}})
    assert (asked.user_id, asked.identity) == (None, "auction-1")


@pytest.mark.parametrize("value", SOMEBODY)
def test_an_id_of_one_user_decides(value: Any):
    assert ask(bid_request(user={"id": value})).identity == str(value)


@pytest.mark.parametrize("value", ["0", "null", "00000000-0000-0000-0000-000000000000"])
def test_the_next_id_counts_where_the_first_is_nobodys(value: str):
    request = bid_request(user={"id": value, "buyeruid": "b-1"}, device={"ifa": "ifa-1"})
    assert ask(request).identity == "b-1" and oddities(request)[Oddity.SHARED_ID] == 1


def test_ids_of_nobody_are_split_as_their_percents_say():
    split = TrafficSplit.create({"a": 80, "b": 20}, entity_code="drugs_hcp")
    texts = [value for value in NOBODY if value not in (None, True, False, "", " ")]
    requests = [bid_request(id=f"auction-{number}", user={"id": texts[number % len(texts)]}) for number in range(4_000)]
    runs = Counter(split.run_of(ask(request).identity) for request in requests)
    assert runs["a"] / 4_000 == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize(
    "user",
    [
        {"ext": {"npi": NPI}},
        {"ext": {"npi": int(NPI)}},
        {"ext": {"npi": float(NPI)}},
        {"ext": {"npi": " 1234 567 893 "}},
        {"ext": {"npi": "123-456-7893"}},
        {"eids": [{"source": "npi", "uids": [{"id": NPI, "atype": 3}]}]},
        {
            "eids": [
                {"source": "liveramp.com", "uids": [{"id": "1245319599"}]},
                {"source": "NPI", "uids": [{"id": NPI}]},
            ]
        },
        {"eids": [{"source": "npi", "uids": [{"id": "x"}, {"id": int(NPI)}]}]},
        {"ext": {"eids": [{"source": " npi ", "uids": [{"id": NPI}]}]}},
        {"data": [{"name": "npi", "segment": [{"value": NPI}]}]},
        {"data": [{"name": "NPI", "segment": [{"id": NPI}]}]},
        {"data": [{"name": "dmp", "segment": [{"name": "age", "value": "1245319599"}, {"name": "npi", "value": NPI}]}]},
        {"data": [{"name": "npi", "segment": [{"value": ""}, {"id": int(NPI)}]}]},
        {"ext": {"npi": "1234567890"}, "eids": [{"source": "npi", "uids": [{"id": NPI}]}]},
        {"ext": {"npi": None}, "data": [None, {"name": "npi", "segment": [None, {"value": NPI}]}]},
    ],
)
def test_the_npi_is_read_by_source_and_by_name(user: dict[str, Any]):
    assert ask(bid_request(user=user)).npi == NPI


@pytest.mark.parametrize(
    "value",
    [
        *("1234567890", "123456789", "12345678933", "123456789X", 1234567890, -1234567893, 0, "0000000000"),
        *("\uff11234567893", "\u0661234567893", True, 1.5, [NPI], {"id": NPI}, "npi", "9" * 5000),
    ],
)
def test_a_wrong_npi_is_counted_and_ignored(value: Any):
    request = bid_request(user={"id": "user-1", "ext": {"npi": value}})
    found = read(request)
    assert ask(request).npi is None and found.oddities.count(Oddity.WRONG_NPI) == 1
    assert ask(request).identity == "user-1"


@pytest.mark.parametrize(
    "user",
    [
        {"eids": [{"source": "other", "uids": [{"id": NPI}]}]},
        {"eids": [{"uids": [{"id": NPI}]}]},
        {"eids": [[{"source": "npi", "uids": NPI}]]},
        {"eids": [{"source": "npi", "uids": NPI}]},
        {"eids": [{"source": "npi", "uids": [NPI]}]},
        {"eids": {"source": "npi"}},
        {"eids": "npi", "data": "npi"},
        {"data": [{"name": "other", "segment": [{"value": NPI}]}]},
        {"data": [{"name": "npi", "segment": NPI}]},
        {"data": {"name": "npi"}},
        {"ext": {"npi": ""}},
        {"ext": {"npi": None}},
        {"ext": NPI},
        {},
    ],
)
def test_without_an_npi_nothing_is_counted(user: dict[str, Any]):
    request = bid_request(user={"id": "user-1", **user})
    assert ask(request).npi is None and Oddity.WRONG_NPI not in read(request).oddities


def test_the_check_digit_is_that_of_the_example_of_its_source():
    assert npi_check_digit("123456789") == 3
    assert parse_npi("1234567893") == "1234567893"


@given(st.integers(0, 10**9 - 1), st.integers(0, 9))
def test_one_digit_in_ten_is_right_and_no_single_digit_may_be_wrong(base: int, digit: int):
    text = f"{base:09d}"
    npi = f"{text}{npi_check_digit(text)}"
    assert parse_npi(npi) == npi
    changed = [f"{npi[:at]}{digit}{npi[at + 1 :]}" for at in range(10) if npi[at] != str(digit)]
    assert not any(map(parse_npi, changed))


def test_no_representation_shows_the_ids():
    found = read(bid_request(user={"id": "user-1", "ext": {"npi": NPI}}))
    assert NPI not in repr(found) and "user-1" not in repr(found)
