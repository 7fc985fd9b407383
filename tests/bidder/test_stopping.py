"""SIGTERM and half-sent requests: answered where they can be, and over within a bound."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx
import pytest
from bidder.market import ENTITY, OS, STATE, Market
from bidder.processes import environment_of, wait_until_ready
from servers.http import open_client
from servers.silent import silent_port
from servers.waiting import PATIENCE_S, wait_until

from lab.stack import LocalStack
from lab.stack.ports import PortClaims
from optimizer.bidder.listening import GRACE_S, REQUEST_TIMEOUT_S
from optimizer.bidder.service import LAST_COUNTS_S, LAST_REFRESH_S

DRAIN_S = 1.0
BOUND_S = DRAIN_S + GRACE_S + LAST_REFRESH_S + LAST_COUNTS_S
SPARE_S = 8.0
"""For the interpreter's own end on a busy machine."""

BODY = {"entity_code": ENTITY, "macros": {STATE: "Ohio", OS: "android"}, "user_id": "user-1"}
HALF = b"POST /price HTTP/1.1\r\nhost: bidder\r\ncontent-length: 500\r\n\r\n{"


class Bidder:
    """A bidder process with its port."""

    def __init__(self, process: subprocess.Popen, port: int) -> None:
        self.process, self.port = process, port
        # The bidder closes a connection that is idle for 5 seconds: one that it may be closing is not used again.
        kept = httpx.Limits(keepalive_expiry=3)
        self.client = open_client(f"http://127.0.0.1:{port}", limits=kept)

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def stop(self) -> None:
        """Send SIGTERM, and wait until the process ends: sooner than the systems that it may wait for give up."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(BOUND_S + SPARE_S)


@contextmanager
def serving(environment: dict[str, str], *, is_ready: bool = True, log: IO[str] | None = None) -> Iterator[Bidder]:
    with PortClaims() as claims:
        port = claims.claim()
        command = [sys.executable, "-m", "optimizer.bidder", "serve", "--port", str(port)]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        bidder = Bidder(process, port)
        try:
            wait_until_ready(bidder.client, process, path="/ready" if is_ready else "/health")
            yield bidder
        finally:
            bidder.client.close()
            process.kill()
            process.wait(10)


def environment_for(market: Market, systems: LocalStack) -> dict[str, str]:
    market.deploy({market.publish(): 100})
    return {**os.environ, **environment_of(market, systems), "OPTIMIZER_BIDDER_DRAIN_S": str(DRAIN_S)}


@pytest.fixture
def environment(market, systems) -> dict[str, str]:
    return environment_for(market, systems)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("lasting")


@pytest.fixture(scope="module")
def lasting(new_market, systems, folder) -> Iterator[Bidder]:
    """A bidder that no test stops, with all that it prints in `folder / "log"`."""
    environment = environment_for(new_market(folder), systems)
    with (folder / "log").open("w") as log, serving(environment, log=log) as bidder:
        yield bidder


def test_a_stopping_bidder_is_not_ready_answers_and_closes_the_connections_it_kept(environment):
    with serving(environment) as bidder:
        assert "connection" not in bidder.client.post("/price", json=BODY).headers
        bidder.process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        time.sleep(0.2)
        ready = bidder.client.get("/ready")
        assert (ready.status_code, ready.headers["connection"]) == (503, "close")
        assert bidder.client.get("/health").json()["status"] == "stopping"
        answer = bidder.client.post("/price", json=BODY)
        assert (answer.json()["bid_cpm"], answer.headers["connection"]) == (12.0, "close")
        bidder.process.wait(PATIENCE_S)
        assert time.monotonic() - started >= DRAIN_S


def test_a_request_in_flight_is_answered_after_the_signal(environment):
    with serving(environment) as bidder, bidder.connect() as connection:
        body = json.dumps(BODY).encode()
        connection.sendall(b"POST /price HTTP/1.1\r\nhost: b\r\ncontent-length: %d\r\n\r\n" % len(body) + body[:-1])
        time.sleep(0.1)
        bidder.process.send_signal(signal.SIGTERM)
        time.sleep(DRAIN_S + 0.5)
        connection.sendall(body[-1:])
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        assert answer.startswith(b"HTTP/1.1 200 OK") and b'"bid_cpm":12.0' in answer
        bidder.process.wait(10)


def test_an_unfinished_body_does_not_keep_the_process(environment):
    with serving(environment) as bidder, bidder.connect() as connection:
        connection.sendall(HALF)
        time.sleep(0.1)
        bidder.stop()


def test_a_silent_object_store_does_not_keep_the_process(environment):
    with silent_port() as port:
        silent = {**environment, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        with serving(silent, is_ready=False) as bidder:
            assert bidder.client.get("/ready").status_code == 503

            def waits_for_the_store() -> bool:
                waiting_for = bidder.client.get("/health").json()["waiting_for"]
                return waiting_for is not None and waiting_for["what"].startswith("object store, s3://")

            wait_until(waits_for_the_store, "the object store is not waited for")
            bidder.stop()


def test_a_silent_control_plane_does_not_keep_the_process(environment):
    with silent_port() as port:
        silent = {**environment, "OPTIMIZER_CONTROL_PLANE_URL": f"mysql+pymysql://a@127.0.0.1:{port}/optimizer"}
        with serving(silent, is_ready=False) as bidder:
            bidder.stop()


@pytest.mark.parametrize(
    "sent", [b"POST /pri", b"POST /price HTTP/1.1\r\nhost: bid", HALF], ids=["line", "headers", "body"]
)
def test_a_request_that_does_not_arrive_is_given_up_in_time_however_it_trickles(lasting, sent):
    refused = _count_refused(lasting)
    with lasting.connect() as connection:
        _trickle(connection, sent)
        assert _count_refused(lasting) == refused + 1
        assert lasting.client.post("/price", json=BODY).json()["bid_cpm"] == 12.0


def _count_refused(bidder: Bidder) -> float:
    """Return how many requests were given up so far."""
    lines = bidder.client.get("/metrics").text.splitlines()
    return sum(float(line.split()[1]) for line in lines if 'refused_requests_total{status="408"}' in line)


def test_the_second_request_of_a_kept_connection_has_to_arrive_too(lasting):
    with lasting.connect() as connection:
        connection.sendall(b"GET /ready HTTP/1.1\r\nhost: b\r\n\r\n")
        answer = b""
        while not answer.endswith(b"}"):
            part = connection.recv(65_536)
            assert part, f"the bidder closed the connection after {answer!r}"
            answer += part
        assert answer.startswith(b"HTTP/1.1 200")
        _trickle(connection, b"GET /rea")


def _trickle(connection: socket.socket, sent: bytes) -> None:
    """Send bytes one by one until 408 comes, and check that it comes in time."""
    started = time.monotonic()
    connection.sendall(sent)
    connection.settimeout(0.5)
    while True:
        try:
            answer = connection.recv(65_536)
            break
        except TimeoutError:
            connection.sendall(b"x")
            assert time.monotonic() - started < REQUEST_TIMEOUT_S + PATIENCE_S
    assert answer.startswith(b"HTTP/1.1 408") and time.monotonic() - started >= REQUEST_TIMEOUT_S - 0.1


def test_a_connection_that_never_says_a_word_is_closed(lasting):
    with lasting.connect() as connection:
        connection.settimeout(REQUEST_TIMEOUT_S + PATIENCE_S)
        assert connection.recv(1) == b""


def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_no_traceback(lasting, folder):
    with lasting.connect() as connection:
        connection.sendall(HALF)
        time.sleep(0.1)
    assert lasting.client.post("/price", json=BODY).status_code == 200
    assert "Traceback" not in (folder / "log").read_text()
