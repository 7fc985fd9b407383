"""The endpoint, asked as an SSP asks it."""

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

from lab.stack.ports import PortClaims
from optimizer.bidder.openrtb import OpenRtb, read_mapping
from optimizer.bidder.service import BidderService
from optimizer.bidder.web import MAX_BODY_BYTES, create_app
from optimizer.errors import ConfigError, RequestError

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
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:
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
    return BidderService(market.refresher(memcached=served_from), is_remote=served_from is not None)


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


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "not JSON"),
        (b'{"id": NaN}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"id": "a", "device": {"devicetype": ' + b"9" * 5000 + b"}}", "not JSON"),
        (b'{"id": "\\ud800", "imp": [{"id": "1"}]}', "not JSON"),
        (b"[]", "not an OpenRTB bid request"),
        (b'{"id": "a"}', "imp: Field required"),
        (b'{"id": "a", "imp": []}', "imp"),
        (b'{"id": "a", "imp": [{"id": "1", "bidfloor": -1}]}', "imp.0.bidfloor"),
        (b'{"id": "a", "imp": [{"id": "1", "bidfloor": 1e400}]}', "imp.0.bidfloor"),
        (b'{"id": "a", "imp": [{"id": "1", "bidfloor": "1.5"}]}', "imp.0.bidfloor"),
        (b'{"id": "a", "imp": [{"id": "1"}, {"id": "1"}]}', "share an id"),
    ],
)
def test_an_invalid_bid_request_is_refused_with_the_place(body, message):
    with pytest.raises(RequestError, match=re.escape(message)):
        OPENRTB.read(body)


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


@pytest.mark.parametrize(
    ("geo", "state"),
    [
        ({"region": "wa"}, "Washington"),
        ({"region": "WA", "country": "USA"}, "Washington"),
        ({"region": "WA", "country": "AUS"}, "WA"),
        ({"region": "ON"}, "ON"),
        ({"region": ""}, None),
        ({"region": 4.5}, None),
        ({}, None),
    ],
)
def test_a_state_is_spelled_as_in_the_log_where_it_is_one_of_the_usa(geo, state):
    body = json.dumps({**BID_REQUEST, "device": {"geo": geo}}).encode()
    _, questions = OPENRTB.read(body)
    assert [question.asked.macros[STATE] for question in questions] == [state, state]


def test_an_id_that_many_users_share_is_ignored_and_the_auction_id_is_used():
    zeros = "00000000-0000-0000-0000-000000000000"
    for ifa, user_id in ((zeros, None), ("a" + zeros[1:], "a" + zeros[1:])):
        body = json.dumps({"id": "auction-1", "imp": [{"id": "1"}], "device": {"ifa": ifa}}).encode()
        (question,) = OPENRTB.read(body)[1]
        assert (question.asked.user_id, question.asked.identity) == (user_id, user_id or "auction-1")


def test_a_body_that_is_too_long_is_refused(client):
    assert client.post("/price", content=b" " * (MAX_BODY_BYTES + 1)).status_code == 413


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
    assert health["entities"][ENTITY]["runs"] == {market.run_id: {"traffic_pct": 100, "keys": 3}}
    assert 'optimizer_bidder_prices_total{entity="drugs_hcp",reason="segment"} 1.0' in metrics
    assert 'optimizer_bidder_prices_total{entity="unknown",reason="not_served"} 2.0' in metrics
    assert "made-up" not in metrics and NPI not in metrics + json.dumps(health)


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
