"""The endpoint, asked as an SSP asks it."""

import gzip
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from bidder.market import ENTITY, OS, STATE, ask
from servers.http import open_client

from lab.stack.ports import PortClaims
from optimizer.bidder.bodies import MAX_BODY_BYTES
from optimizer.bidder.openrtb import OpenRtb, read_mapping
from optimizer.bidder.service import BidderService
from optimizer.bidder.web import create_app
from optimizer.control_plane.bidder_counts import HourCount
from optimizer.errors import ConfigError

NPI = "1234567893"
WAIT_S = 60
OPENRTB = OpenRtb(read_mapping(), currency="USD")
BID_REQUEST = {
    "id": "auction-1",
    "imp": [{"id": "1", "tagid": "49979", "bidfloor": 2.5}, {"id": "2", "bidfloor": 99.0}],
    "site": {"domain": "a.example"},
    "device": {"os": "Android", "geo": {"region": "OH"}, "devicetype": 4},
    "user": {"id": "user-1", "ext": {"npi": NPI}},
    "cur": ["USD"],
}


@contextmanager
def serving(service: BidderService) -> Iterator[httpx.Client]:
    """Give a client of the bidder, which has refreshed once, on a free port."""
    app = create_app(service, openrtb=OPENRTB)
    with PortClaims() as claims:
        port = claims.claim()
        server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, access_log=False))
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            deadline = time.monotonic() + WAIT_S
            while not (server.started and service.refresher.last_report):
                assert thread.is_alive() and time.monotonic() < deadline, "the bidder does not start"
                time.sleep(0.01)
            with open_client(f"http://127.0.0.1:{port}") as client:
                yield client
        finally:
            server.should_exit = True
            thread.join(WAIT_S)
            assert not thread.is_alive()


@pytest.fixture
def service(market, served_from) -> BidderService:
    """Return a bidder with one run to load."""
    market.execute(
        "INSERT INTO opt_feature_macros (opt_id, feature_name, macro_template) VALUES (1, 'domain', '[ADX_DOMAIN]')"
    )
    market.run_id = market.publish(domains={"a.example": 1.5}, npis={NPI: 1.2})
    market.deploy({market.run_id: 100})
    return BidderService(market.refresher(memcached=served_from))


@pytest.fixture
def client(service) -> Iterator[httpx.Client]:
    with serving(service) as client:
        yield client


def test_a_bid_request_gets_a_bid_for_each_impression_that_is_worth_one(market, client):
    answer = client.post(f"/bid/{ENTITY}", json=BID_REQUEST)
    assert answer.status_code == 200
    (bid,) = answer.json()["seatbid"][0]["bid"]
    assert (answer.json()["id"], answer.json()["cur"], bid["impid"]) == ("auction-1", "USD", "1")
    assert bid["price"] == 12.0 * 1.5 * 1.2
    assert bid["ext"] == {
        "run_id": market.run_id,
        "bid_cpm": bid["price"],
        "base_bid_cpm": 12.0,
        "domain_multiplier": 1.5,
        "npi_multiplier": 1.2,
        "floor_cpm": 2.5,
        "privacy": None,
        "is_test": False,
        "segment_key": "Ohio|android",
        "reason": "segment",
    }


def test_no_bid_is_an_empty_answer(client):
    for change in (
        {"cur": ["EUR"]},
        {"imp": [{"id": "1", "bidfloor": 1.0, "bidfloorcur": "EUR"}]},
        {"imp": [{"id": "1", "bidfloor": 99.0}]},
        {"imp": [{"id": "1", "pmp": {"private_auction": 1, "deals": [{"id": "d", "bidfloor": 1.0}]}}]},
        {"device": {"os": "Windows", "geo": {"region": "TX"}}},
    ):
        answer = client.post(f"/bid/{ENTITY}", json={**BID_REQUEST, **change})
        assert (answer.status_code, answer.content) == (204, b""), change
    assert client.post("/bid/nobody", json=BID_REQUEST).status_code == 204


def test_a_refused_request_is_a_bad_one_and_is_counted(client):
    answer = client.post(f"/bid/{ENTITY}", content=b'{"id": "a", "imp": []}')
    assert answer.status_code == 400 and "imp" in answer.json()["error"]
    assert 'optimizer_bidder_refused_requests_total{status="400"} 1.0' in client.get("/metrics").text


def test_all_impressions_of_a_request_are_priced_by_one_generation_even_during_a_refresh(market, service):
    def asked():
        yield ask()
        market.deploy({market.publish(bids={"Ohio|android": 13.0}): 100})
        assert service.refresh().outcome == "switched"
        yield ask()

    service.refresh()
    assert [priced.bid_cpm for priced in service.price_all(asked(), entity_code=ENTITY)] == [12.0, 12.0]
    assert service.price(ask(), entity_code=ENTITY).bid_cpm == 13.0


def test_a_body_that_is_too_long_is_refused(client):
    assert client.post("/price", content=b" " * (MAX_BODY_BYTES + 1)).status_code == 413


def test_a_compressed_request_gets_the_same_answer_compressed_where_it_is_long_and_allowed(client):
    wanted = client.post(f"/bid/{ENTITY}", json=BID_REQUEST).json()
    body = gzip.compress(json.dumps(BID_REQUEST).encode())
    for path, headers in ((f"/bid/{ENTITY}", {"Content-Encoding": "gzip"}), (f"/bid/{ENTITY}?gzip=1", {})):
        answer = client.post(path, content=body, headers=headers)
        assert answer.json() == wanted and "content-encoding" not in answer.headers  # it is short
    impressions = [{**BID_REQUEST["imp"][0], "id": str(number)} for number in range(20)]
    long = client.post(f"/bid/{ENTITY}", json={**BID_REQUEST, "imp": impressions}, headers={"Accept-Encoding": "gzip"})
    assert (long.headers["content-encoding"], long.headers["vary"]) == ("gzip", "accept-encoding")
    assert len(long.json()["seatbid"][0]["bid"]) == 20
    plain = client.post(f"/bid/{ENTITY}", json={**BID_REQUEST, "imp": impressions}, headers={"Accept-Encoding": "br"})
    assert "content-encoding" not in plain.headers and plain.json() == long.json()


def test_an_encoding_that_is_not_known_and_a_bomb_are_refused_and_counted(client):
    unknown = client.post(f"/bid/{ENTITY}", content=b"x", headers={"Content-Encoding": "br"})
    assert unknown.status_code == 415 and "send gzip, deflate or plain JSON" in unknown.json()["error"]
    bomb = client.post(f"/bid/{ENTITY}", content=gzip.compress(bytes(10**7)), headers={"Content-Encoding": "gzip"})
    assert bomb.status_code == 413
    metrics = client.get("/metrics").text
    for status in ("415", "413"):
        assert f'optimizer_bidder_refused_requests_total{{status="{status}"}} 1.0' in metrics


def test_other_methods_and_paths_are_refused(client):
    assert client.get(f"/bid/{ENTITY}").status_code == 405
    assert client.post("/bid/", json=BID_REQUEST).status_code == 404
    assert client.post(f"/bid/{ENTITY}/x", json=BID_REQUEST).status_code == 404


def test_plain_macros_are_priced(market, client):
    body = {"entity_code": ENTITY, "macros": {STATE: "New York", OS: "ios"}, "auction_id": "a"}
    priced = client.post("/price", json=body).json()
    assert (priced["bid_cpm"], priced["run_id"], priced["reason"]) == (20.0, market.run_id, "segment")


def test_a_price_without_an_id_is_refused_and_the_npi_is_not_repeated(client):
    body = {"entity_code": ENTITY, "macros": {STATE: "Ohio"}, "npi": NPI}
    answer = client.post("/price", json=body)
    assert answer.status_code == 400 and "user_id or auction_id" in answer.json()["error"] and NPI not in answer.text


def test_health_and_metrics_show_what_is_served_and_name_no_user(market, client):
    client.post(f"/bid/{ENTITY}", json=BID_REQUEST)
    client.post("/bid/made-up", json=BID_REQUEST)
    health, metrics = client.get("/health").json(), client.get("/metrics").text
    assert health["status"] == "ok" and client.get("/ready").status_code == 200
    run = {"traffic_pct": 100, "keys": 3, "is_manifest_checked": True}
    assert health["entities"][ENTITY]["runs"] == {market.run_id: run}
    assert 'optimizer_bidder_prices_total{entity="drugs_hcp",reason="segment"} 1.0' in metrics
    assert 'optimizer_bidder_prices_total{entity="unknown",reason="not_served"} 2.0' in metrics
    assert "made-up" not in metrics and NPI not in metrics + json.dumps(health)


def test_an_odd_request_is_bid_the_same_and_what_is_odd_is_counted(client):
    usual = client.post(f"/bid/{ENTITY}", json=BID_REQUEST).json()
    odd = BID_REQUEST | {
        "imp": [{"id": 1, "tagid": "49979", "bidfloor": "2.5", "pmp": []}, {"id": None}, {"id": "3", "bidfloor": -3}],
        "cur": "usd",
        "ext": {"score": None, "name": "\ud800"},
    }
    answer = client.post(f"/bid/{ENTITY}", content=b"\xef\xbb\xbf" + json.dumps(odd).encode()).json()
    assert answer == usual
    metrics = client.get("/metrics").text
    for kind in ("byte_order_mark", "loose_json", "id_as_number", "number_as_text", "empty", "text_as_list",
                 "letter_case", "impression_id", "impression_floor"):  # fmt: skip
        assert f'optimizer_bidder_request_oddities_total{{kind="{kind}"}} 1.0' in metrics
    assert f'optimizer_bidder_prices_total{{entity="{ENTITY}",reason="bad_impression"}} 2.0' in metrics


def test_the_most_common_unknown_values_are_in_health_and_their_number_in_the_metrics(client):
    for os in ("Tizen", "Tizen", "webOS", NPI):
        client.post(f"/bid/{ENTITY}", json=BID_REQUEST | {"device": {"os": os, "geo": {"region": "OH"}}})
    listed = client.get("/health").json()["unmapped_values"]
    assert listed[OS] == [
        {"value": "Tizen", "requests": 2},
        {"value": "webOS", "requests": 1},
        {"value": "(withheld: it may be an id)", "requests": 1},
    ]
    metrics = client.get("/metrics").text
    assert f'optimizer_bidder_unmapped_values_total{{macro="{OS}"}} 4.0' in metrics
    assert "Tizen" not in metrics and NPI not in metrics + str(listed)


def test_a_privacy_signal_takes_the_npi_multiplier_from_the_price_and_is_counted(client):
    request = BID_REQUEST | {"device": BID_REQUEST["device"] | {"lmt": 1}, "regs": {"us_privacy": "1YYN"}}
    (bid,) = client.post(f"/bid/{ENTITY}", json=request).json()["seatbid"][0]["bid"]
    assert (bid["price"], bid["ext"]["npi_multiplier"]) == (12.0 * 1.5, 1.0)
    assert bid["ext"]["privacy"] == "us_privacy,lmt"
    metrics = client.get("/metrics").text
    assert 'optimizer_bidder_privacy_signals_total{signal="lmt"} 1.0' in metrics
    assert 'optimizer_bidder_privacy_signals_total{signal="us_privacy"} 1.0' in metrics


def test_a_request_that_cannot_be_answered_in_time_gets_no_bid_and_a_test_is_marked(client):
    late = client.post(f"/bid/{ENTITY}", json=BID_REQUEST | {"tmax": 1, "ext": {"nbr": 1}})
    assert late.json() == {"id": "auction-1", "nbr": 15}
    assert client.post(f"/bid/{ENTITY}", json=BID_REQUEST | {"test": 1}).json()["ext"] == {"test": 1}
    assert f'optimizer_bidder_prices_total{{entity="{ENTITY}",reason="no_time"}} 2.0' in client.get("/metrics").text


def test_a_failed_refresh_shows_in_health_and_the_bidder_stays_ready(market, service, client):
    market.execute("UPDATE opt_deployments SET traffic_pct = 50")
    service.refresh()
    health = client.get("/health").json()
    assert health["status"] == "failing" and "sum to 50" in health["errors"][ENTITY]
    assert client.get("/ready").status_code == 200


def test_without_anything_deployed_the_bidder_lives_and_is_not_ready(market):
    with serving(BidderService(market.refresher())) as client:
        assert client.get("/ready").status_code == 503
        assert client.get("/health").json()["not_deployed"] == ["drugs_com", ENTITY]


def test_a_mapping_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "own.toml").write_text("[nonsense]\n")
    with pytest.raises(ConfigError, match="macros: Field required"):
        read_mapping(tmp_path / "own.toml")


def test_what_became_of_the_impressions_of_an_hour_is_written_to_the_control_plane(market):
    written: list[HourCount] = []
    market.run_id = market.publish()
    market.deploy({market.run_id: 100})
    service = BidderService(market.refresher(), write_counts=written.extend)
    with serving(service) as client:
        client.post(f"/bid/{ENTITY}", json=BID_REQUEST)
        client.post(f"/bid/{ENTITY}", content=b"{")
        client.post("/bid/nobody", json=BID_REQUEST)
        client.post("/bid/nobody", content=b"{")
        service.write_counts()
    found = {count.outcome: count.impressions for count in written}
    assert {count.entity_code for count in written} == {ENTITY}
    assert {count.outcome: count.run_id for count in written} == {
        **dict.fromkeys(found, market.run_id),
        "unreadable": "",
    }
    assert found["unreadable"] == 1 and found["below_floor"] == 1 and sum(found.values()) == 3


def test_a_control_plane_that_takes_no_counts_costs_no_bid(market):
    def refuse(counts: list[HourCount]) -> None:
        raise ConfigError("the account may not write opt_bidder_counts")

    market.run_id = market.publish()
    market.deploy({market.run_id: 100})
    service = BidderService(market.refresher(), write_counts=refuse)
    with serving(service) as client:
        assert client.post(f"/bid/{ENTITY}", json=BID_REQUEST).status_code == 200
        service.write_counts()
        assert client.post(f"/bid/{ENTITY}", json=BID_REQUEST).status_code == 200
        # The service tries it after its own refreshes, too.
        failures = re.search(r"^optimizer_bidder_count_write_failures_total (\S+)$", client.get("/metrics").text, re.M)
        assert failures is not None and float(failures[1]) >= 1
