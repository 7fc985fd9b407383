"""Systems that neither answer nor refuse: what a refresh waits for is bounded, and said."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from bidder.market import BIDS, ENTITY, ask
from servers.silent import dripping_port, silent_port
from servers.waiting import PATIENCE_S, wait_until

from optimizer.bidder.refreshing import CONTROL_PLANE
from optimizer.bidder.run_objects import StoredObjects
from optimizer.bidder.service import BidderService
from optimizer.bidder.settings import (
    ANSWER_TIMEOUT_S,
    CONNECT_TIMEOUT_S,
    OBJECTS_ATTEMPTS,
    OBJECTS_TIMEOUT_S,
    BidderSettings,
    connect,
)
from optimizer.bidder.waiting import Waits
from optimizer.errors import UnavailableError

CONTROL_PLANE_S = CONNECT_TIMEOUT_S + ANSWER_TIMEOUT_S
OBJECTS_S = (OBJECTS_TIMEOUT_S + 1) * OBJECTS_ATTEMPTS
"""With the pauses between two attempts."""


@pytest.fixture
def login(monkeypatch) -> None:
    for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@contextmanager
def refreshing(service: BidderService) -> Iterator[None]:
    """Refresh in a thread until it ends after the block."""
    thread = threading.Thread(target=service.refresh)
    thread.start()
    yield
    thread.join(max(CONTROL_PLANE_S, OBJECTS_S) + PATIENCE_S)
    assert not thread.is_alive()


def wait_of(service: BidderService) -> dict:
    seen: list[dict] = []
    wait_until(lambda: seen.append(service.health()["waiting_for"]) or seen[-1], "nothing is waited for", every_s=0.01)
    return seen[-1]


def test_a_silent_control_plane_costs_seconds_and_is_named_meanwhile(login):
    with silent_port() as port:
        settings = BidderSettings(control_plane_url=f"mysql+pymysql://user:hidden@127.0.0.1:{port}/optimizer")
        service = BidderService(connect(settings))
        with refreshing(service):
            time.sleep(0.5)
            waiting = wait_of(service)
            assert waiting["what"] == f"control plane optimizer on 127.0.0.1:{port}" and waiting["waited_s"] >= 0.4
    assert "does not answer" in service.refresher.last_report.errors[CONTROL_PLANE]
    assert service.health()["waiting_for"] is None and service.health()["status"] == "stale"


def test_a_control_plane_that_falls_silent_costs_seconds_and_no_bid(market, login, monkeypatch):
    market.deploy({market.publish(): 100})
    refresher = market.refresher()
    refresher.refresh()
    with silent_port() as port:
        url = f"mysql+pymysql://user@127.0.0.1:{port}/optimizer"
        refresher.engine = connect(BidderSettings(control_plane_url=url)).engine
        service = BidderService(refresher)
        with refreshing(service):
            assert service.price(ask(), entity_code=ENTITY).bid_cpm == BIDS["Ohio|android"]
    assert service.price(ask(), entity_code=ENTITY).bid_cpm == BIDS["Ohio|android"]


def test_a_silent_object_store_is_waited_for_once_however_many_entities_need_it(market, login, monkeypatch):
    market.deploy({market.publish(): 60, market.publish(bids={"Utah|ios": 3.0}): 40})
    with silent_port() as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        service = BidderService(connect(BidderSettings(control_plane_url=str(market.engine.url))))
        with refreshing(service):
            time.sleep(0.5)
            assert wait_of(service)["what"].startswith("object store, s3://")
    assert "did not answer" in service.refresher.last_report.errors[ENTITY]


def test_the_object_store_is_not_asked_again_after_one_silence(login, monkeypatch):
    with silent_port() as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        store = connect(BidderSettings(control_plane_url="sqlite:////nowhere")).store
        objects = StoredObjects(store, Waits())
        with pytest.raises(UnavailableError, match="did not answer"):
            objects.get_bytes("s3://bucket/first")
        with pytest.raises(UnavailableError, match="s3://bucket/second was not read: reading s3://bucket/first"):
            objects.get_bytes("s3://bucket/second")


def test_an_object_that_comes_too_slowly_ends_with_the_budget(login, monkeypatch):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\nContent-Type: text/csv\r\n\r\n"
    with dripping_port(head, b"x" * 20_000, every_s=0.1) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        store = connect(BidderSettings(control_plane_url="sqlite:////nowhere")).store
        started = time.monotonic()
        with pytest.raises(UnavailableError, match="too slow for one refresh"):
            StoredObjects(store, Waits(), budget_s=1.0).get_bytes("s3://bucket/large")
        assert 0.9 < time.monotonic() - started < PATIENCE_S  # the whole of it would take 500 s
