"""Money and terms: currencies, deals, seats, time, tests, and what an answer says."""

import json
import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from bidder.openrtb.requests import MAPPING, OPENRTB, ask, bid_request, impression, read, reasons

from optimizer.bidder.openrtb import OpenRtb
from optimizer.bidder.openrtb.answers import INVALID_REQUEST, NO_TIME, TECHNICAL_ERROR, UNKNOWN_ERROR
from optimizer.bidder.openrtb.auctions import ANY_DEAL, Terms
from optimizer.bidder.openrtb.money import RateFile, read_rates
from optimizer.bidder.pricing import Price
from optimizer.bidder.reasons import Reason
from optimizer.errors import ConfigError

WRONG_RATES = (
    "[]",
    '{"EUR": 0}',
    '{"EUR": -1}',
    '{"EUR": "x"}',
    '{"EUR": NaN}',
    '{"EUR": 1e999}',
    '{"EUR": null}',
    '{"EUR": 1e-300}',
    '{"EUR": 1e300}',
)
NOON = datetime(2026, 2, 3, 12, tzinfo=UTC)
RATES = 'date = 2026-02-02\nbase = "USD"\n[rates]\nEUR = 0.8\ngbp = 0.75\nJPY = 150\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rates.toml"
    path.write_text(RATES, encoding="utf-8")
    return path


@pytest.fixture
def exchanging(file: Path) -> OpenRtb:
    """Return a reader with exchange rates of yesterday."""
    return OpenRtb(MAPPING, rates=RateFile(file, clock=lambda: NOON))


def answer(openrtb: OpenRtb, request: dict[str, Any], bid_cpm: float | None = 12.0) -> dict[str, Any] | None:
    """Return the response where every impression that is asked for is worth this price."""
    found = read(request, openrtb)
    return openrtb.write(found, [_price(question.asked, bid_cpm) for question in found.questions])


def bid_of(openrtb: OpenRtb, request: dict[str, Any], bid_cpm: float = 12.0) -> dict[str, Any]:
    response = answer(openrtb, request, bid_cpm)
    assert response is not None
    return response["seatbid"][0]["bid"][0]


def _price(asked: Any, bid_cpm: float | None) -> Price:
    if isinstance(asked, Reason):
        return Price("e", asked)
    if bid_cpm is None or bid_cpm < (asked.floor_cpm or 0.0):
        return Price("e", Reason.BELOW_FLOOR, None, "r", "k", bid_cpm, 1.0, 1.0, asked.floor_cpm)
    return Price("e", Reason.SEGMENT, bid_cpm, "r", "k", bid_cpm, 1.0, 1.0, asked.floor_cpm)


@pytest.mark.parametrize(
    ("cur", "currency", "factor"),
    [
        (["USD"], "USD", 1.0),
        (["EUR", "USD"], "USD", 1.0),
        (["eur", "usd"], "USD", 1.0),
        (["EUR"], "EUR", 0.8),
        (["XAF", "GBP", "EUR"], "GBP", 0.75),
        ("jpy", "JPY", 150.0),
        ([" eur "], "EUR", 0.8),
        ([], "USD", 1.0),
        (None, "USD", 1.0),
    ],
)
def test_an_auction_is_answered_in_our_currency_or_in_one_with_a_rate(exchanging, cur, currency, factor):
    response = answer(exchanging, bid_request(cur=cur), 12.0)
    assert response is not None and response["cur"] == currency
    (bid,) = response["seatbid"][0]["bid"]
    assert bid["price"] == pytest.approx(12.0 * factor, rel=1e-12) and bid["ext"]["bid_cpm"] == 12.0


@pytest.mark.parametrize("cur", [["XAF"], ["XAF", "CHF"], ["", 5, "XAF"], "XAF", 978, ["US"], {"a": 1}, True])
def test_a_currency_without_a_rate_gets_no_bid(exchanging, cur):
    assert reasons(bid_request(cur=cur), exchanging) == {"1": "currency"}


@pytest.mark.parametrize(
    ("currency", "floor_cpm"), [("USD", 2.5), ("usd", 2.5), ("EUR", 3.125), (" eur", 3.125), (None, 2.5)]
)
def test_a_floor_in_another_currency_is_compared_in_ours(exchanging, currency, floor_cpm):
    request = bid_request(imp=[impression(bidfloorcur=currency)], cur=["EUR", "USD"])
    assert ask(request, exchanging).floor_cpm == pytest.approx(floor_cpm, rel=1e-12)


@pytest.mark.parametrize("bid_cpm", [0.57, 2.88, 3.09, 12.0, 29.99])
@pytest.mark.parametrize("rate", [0.51, 0.79, 0.92, 1.37, 151.3])
def test_a_bid_at_a_floor_in_another_currency_is_answered_at_that_floor(file: Path, rate: float, bid_cpm: float):
    _rewrite(file, RATES.replace("0.8", str(rate)))
    floor = round(bid_cpm * rate, 6)
    request = bid_request(imp=[impression(bidfloor=floor, bidfloorcur="EUR")], cur=["EUR"])
    openrtb = OpenRtb(MAPPING, rates=RateFile(file, clock=lambda: NOON))
    floor_cpm = ask(request, openrtb).floor_cpm
    assert floor_cpm == pytest.approx(bid_cpm, rel=1e-12)
    assert bid_of(openrtb, request, max(bid_cpm, floor_cpm))["price"] == floor


def test_the_default_currency_of_a_floor_is_openrtbs_and_not_ours(file: Path):
    rates = RateFile(file, clock=lambda: NOON)
    request = bid_request(imp=[{"id": "1", "bidfloor": 2.5}], cur=["EUR"])
    assert ask(request, OpenRtb(MAPPING, currency="EUR", rates=rates)).floor_cpm == pytest.approx(2.0)
    assert reasons(request, OpenRtb(MAPPING, currency="EUR")) == {"1": "currency"}


def test_without_rates_only_our_currency_is_bid_in():
    assert reasons(bid_request(cur=["EUR"])) == {"1": "currency"}
    assert reasons(bid_request(imp=[impression(bidfloorcur="EUR")])) == {"1": "currency"}
    assert reasons(bid_request(imp=[impression(bidfloorcur="EUR", bidfloor=0)])) == {"1": "asked"}


def test_rates_are_read_again_when_the_file_changes_and_a_damaged_one_leaves_those_before(file: Path):
    rates = RateFile(file, clock=lambda: NOON)
    assert rates.factor("USD", into="EUR") == 0.8 and rates.status() == {"date": "2026-02-02", "problem": None}
    renewed = RATES.replace("0.8", "0.5")
    _rewrite(file, renewed)
    assert rates.factor("USD", into="EUR") == 0.5
    for damaged in ("date = ", renewed.replace("0.5", "-1"), renewed.replace("2026-02-02", "soon")):
        _rewrite(file, damaged)
        assert rates.factor("USD", into="EUR") == 0.5
        assert str(file) in rates.status()["problem"]
    file.unlink()
    assert rates.factor("EUR", into="USD") == 2.0 and "cannot be read" in rates.status()["problem"]
    _rewrite(file, RATES)
    assert rates.factor("USD", into="EUR") == 0.8 and rates.status()["problem"] is None


@pytest.mark.parametrize(
    ("day", "is_used"),
    [("2026-02-03", True), ("2026-01-31", True), ("2026-01-30", False), ("2026-02-04", True), ("2026-02-05", False)],
)
def test_rates_that_are_too_old_or_of_the_future_are_refused(file: Path, day: str, is_used: bool):
    _rewrite(file, RATES.replace("2026-02-02", day))
    rates = RateFile(file, max_age_days=3, clock=lambda: NOON)
    assert (rates.factor("USD", into="EUR") is not None) is is_used
    assert (rates.status()["problem"] is None) is is_used


def test_rates_may_be_json_and_based_on_any_currency(tmp_path: Path):
    path = tmp_path / "rates.json"
    path.write_text(json.dumps({"date": "2026-02-02", "base": "eur", "rates": {"usd": 1.25, "GBP": 1}}))
    rates = read_rates(path)
    assert (rates.date, rates.factor("USD", into="GBP"), rates.factor("EUR", into="USD")) == (
        date(2026, 2, 2),
        0.8,
        1.25,
    )
    assert rates.factor("USD", into="JPY") is None


@pytest.mark.parametrize("text", ["", "[]", "{}", *(f'{{"date": "2026-02-02", "rates": {it}}}' for it in WRONG_RATES)])
def test_a_file_of_rates_that_cannot_be_read_is_refused_at_the_start(tmp_path: Path, text: str):
    path = tmp_path / "rates.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="OPTIMIZER_BIDDER_RATES"):
        RateFile(path)


DEALING = OpenRtb(MAPPING, terms=Terms(seat="s-1", deals=frozenset({"ours", "also"})))


def pmp(*deals: Any, private: Any = 1, **fields: Any) -> dict[str, Any]:
    return bid_request(imp=[impression(pmp={"private_auction": private, "deals": list(deals)}, **fields)])


def test_a_private_auction_is_bid_on_with_a_deal_of_ours_at_the_deals_floor():
    request = pmp({"id": "theirs", "bidfloor": 1}, {"id": "ours", "bidfloor": 9, "bidfloorcur": "USD"}, bidfloor=50)
    bid = bid_of(DEALING, request)
    assert (bid["dealid"], bid["price"], bid["ext"]["floor_cpm"]) == ("ours", 12.0, 9.0)
    assert answer(DEALING, request, 8.9) is None


@pytest.mark.parametrize(
    "deals",
    [
        [],
        [{"id": "theirs"}],
        [None, "ours", 7, {}, {"id": None}, {"id": ["ours"]}],
        [{"id": "ours", "bidfloor": -1}],
        [{"id": "ours", "bidfloor": "x"}],
        [{"id": "ours", "bidfloor": 1, "bidfloorcur": "EUR"}],
        [{"id": "ours", "wseat": ["s-2"]}],
    ],
)
def test_a_private_auction_without_a_deal_that_we_can_bid_on_gets_no_bid(deals):
    assert reasons(pmp(*deals), DEALING) == {"1": "private"}


@pytest.mark.parametrize("private", [1, "1", 1.0, True, "true"])
def test_a_private_auction_without_deals_of_ours_gets_no_bid(private):
    assert reasons(pmp({"id": "ours", "bidfloor": 1}, private=private), OPENRTB) == {"1": "private"}


@pytest.mark.parametrize(
    ("bid_cpm", "dealid", "floor_cpm"), [(12.0, "ours", 9.0), (9.0, "ours", 9.0), (8.0, None, 2.5), (2.0, None, None)]
)
def test_in_an_open_auction_the_deal_is_bid_on_where_its_floor_is_met_and_else_the_auction(bid_cpm, dealid, floor_cpm):
    response = answer(DEALING, pmp({"id": "ours", "bidfloor": "9"}, private=0), bid_cpm)
    if floor_cpm is None:
        assert response is None
    else:
        (bid,) = response["seatbid"][0]["bid"]
        assert (bid.get("dealid"), bid["ext"]["floor_cpm"]) == (dealid, floor_cpm)


def test_a_deal_with_a_lower_floor_than_the_auction_is_bid_on_below_the_auctions():
    request = pmp({"id": "ours", "bidfloor": 5}, {"id": "also", "bidfloor": 3}, private=0, bidfloor=50)
    bid = bid_of(DEALING, request, 4.0)
    assert (bid["dealid"], bid["ext"]["floor_cpm"]) == ("also", 3.0)


def test_a_deal_without_a_floor_and_one_in_another_currency(exchanging, file):
    assert bid_of(DEALING, pmp({"id": "ours"}), 0.1)["dealid"] == "ours"
    openrtb = OpenRtb(MAPPING, rates=RateFile(file, clock=lambda: NOON), terms=Terms(deals=frozenset({ANY_DEAL})))
    bid = bid_of(openrtb, pmp({"id": "any", "bidfloor": 4, "bidfloorcur": "eur"}))
    assert (bid["dealid"], bid["ext"]["floor_cpm"]) == ("any", 5.0)


@pytest.mark.parametrize(
    ("seats", "reason"),
    [
        ({"wseat": ["s-1"]}, "asked"),
        ({"wseat": ["s-2", "s-1"]}, "asked"),
        ({"wseat": "s-1"}, "asked"),
        ({"wseat": []}, "asked"),
        ({"wseat": None}, "asked"),
        ({"wseat": [None]}, "asked"),
        ({"wseat": {"a": 1}}, "asked"),
        ({"wseat": ["s-2"]}, "seat"),
        ({"wseat": "s-2"}, "seat"),
        ({"wseat": [7]}, "seat"),
        ({"bseat": ["s-1"]}, "seat"),
        ({"bseat": ["s-2"]}, "asked"),
        ({"bseat": {}}, "asked"),
    ],
)
def test_an_auction_for_other_seats_gets_no_bid(seats, reason):
    assert reasons(bid_request(**seats), DEALING) == {"1": reason}


def test_without_a_seat_of_ours_an_auction_that_names_seats_gets_no_bid():
    assert reasons(bid_request(wseat=["s-1"])) == {"1": "seat"}
    assert reasons(bid_request(bseat=["s-1"])) == {"1": "asked"}


def test_an_answer_names_our_seat():
    assert answer(DEALING, bid_request())["seatbid"][0]["seat"] == "s-1"
    assert "seat" not in answer(OPENRTB, bid_request())["seatbid"][0]


@pytest.mark.parametrize(
    ("tmax", "spent_ms", "is_late"),
    [
        *((200, 0, False), (200, 196, True), ("200", 196, True), (4, 0, True), (5, 0, False)),
        *((tmax, 9e9, False) for tmax in (0, -5, None, "", "soon", [], {}, True, 10**400)),
    ],
)
def test_no_answer_is_started_that_cannot_be_in_time(tmax, spent_ms, is_late):
    assert OPENRTB.is_late(read(bid_request(tmax=tmax)), spent_ms=spent_ms) is is_late


@pytest.mark.parametrize(
    ("at", "is_first_price"),
    [
        (1, True),
        ("1", True),
        (1.0, True),
        (2, False),
        ("2", False),
        (3, False),
        (None, False),
        ("", False),
        ({}, False),
    ],
)
def test_each_request_says_whether_the_winner_pays_its_own_bid(at, is_first_price):
    assert ask(bid_request(at=at)).is_first_price is is_first_price


@pytest.mark.parametrize("test", [1, "1", 1.0, True])
def test_a_test_is_marked_in_the_answer_and_in_the_row_of_bids(test):
    response = answer(OPENRTB, bid_request(test=test))
    assert response["ext"] == {"test": 1} and response["seatbid"][0]["bid"][0]["ext"]["is_test"] is True


@pytest.mark.parametrize("test", [0, None, "", "0", False, {}, "x", 5])
def test_what_is_not_a_test_is_not_marked(test):
    response = answer(OPENRTB, bid_request(test=test))
    assert "ext" not in response and response["seatbid"][0]["bid"][0]["ext"]["is_test"] is False


def test_the_row_of_bids_says_what_restricts_the_price():
    assert bid_of(OPENRTB, bid_request(device={"lmt": 1}))["ext"]["privacy"] == "lmt"
    assert bid_of(OPENRTB, bid_request())["ext"]["privacy"] is None


@pytest.mark.parametrize("ext", [{"nbr": 1}, {"nbr": "1"}, {"nbr": True}, {"prebid": {"returnallbidstatus": True}}])
def test_a_request_that_asks_gets_the_reason_without_a_bid(ext):
    assert answer(OPENRTB, bid_request(ext=ext), None) == {"id": "auction-1", "nbr": UNKNOWN_ERROR}
    assert "seatbid" in answer(OPENRTB, bid_request(ext=ext))


@pytest.mark.parametrize("ext", [None, {}, {"nbr": 0}, {"nbr": None}, {"nbr": {}}, {"prebid": "x"}, "x", []])
def test_a_request_that_does_not_ask_gets_no_reason(ext):
    assert answer(OPENRTB, bid_request(ext=ext), None) is None


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Reason.NO_TIME, NO_TIME),
        (Reason.BAD_IMPRESSION, INVALID_REQUEST),
        (Reason.TABLE_SILENT, TECHNICAL_ERROR),
        (Reason.TABLE_LOST, TECHNICAL_ERROR),
        (Reason.NOT_SERVED, TECHNICAL_ERROR),
        (Reason.BELOW_FLOOR, UNKNOWN_ERROR),
        (Reason.SEAT, UNKNOWN_ERROR),
    ],
)
def test_a_setting_has_every_answer_say_why_with_the_code_of_openrtb(reason, code):
    openrtb = OpenRtb(MAPPING, terms=Terms(states_reasons=True))
    found = read(bid_request(test=1), openrtb)
    assert openrtb.write(found, [Price("e", reason)]) == {"id": "auction-1", "nbr": code, "ext": {"test": 1}}


def _rewrite(path: Path, text: str) -> None:
    """Write the file so that its time differs, however coarse the file system's clock is."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text(text, encoding="utf-8")
    os.utime(path, ns=(before + 10**9, before + 10**9))
