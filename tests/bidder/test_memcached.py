"""Several servers of memcached: the hash, one question a server, and what a dead or slow one costs."""

import asyncio
import os
import signal
import socket
import socketserver
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from hashlib import md5

import pytest
from bidder.market import ENTITY, ask
from pymemcache.client.base import Client
from servers.embedded import closed_port
from servers.silent import silent_port

from lab.benchmarks.bidder.memcached import memcached_process
from optimizer.bidder.fetching import ServerConnection, take_values
from optimizer.bidder.memcached import Memcached
from optimizer.bidder.reasons import Reason
from optimizer.bidder.ring import Ring
from optimizer.bidder.service import BidderService
from optimizer.errors import ServerAway

TIMEOUT_S = 0.1
LONG_TIMEOUT_S = 2.0
"""Longer than what a busy machine adds to a question that waits for nobody."""
"""For a busy machine."""

STATES = [f"State{number}" for number in range(300)]
BIDS = {f"{state}|ios": 1.0 + number / 100 for number, state in enumerate(STATES)}

NAMES = ("10.0.0.1:11211", "10.0.0.2:11211", "10.0.0.3:11211")
PLACES = {"a": 3, "Ohio|android": 3, "0123456789abcdef:New%20York|ios": 1, "%EMPTY|%EMPTY": 3}
"""The number of the server by uhashring 2.5, an implementation of ketama by others."""


@pytest.fixture
def ports() -> Iterator[list[tuple[int, subprocess.Popen]]]:
    """Return three servers of memcached, empty, with their processes."""
    with ExitStack() as stack:
        yield [stack.enter_context(memcached_process(memory_mb=64)) for _ in range(3)]


@pytest.fixture
def servers(ports) -> Memcached:
    return Memcached([("127.0.0.1", port) for port, _ in ports], timeout_s=TIMEOUT_S)


@pytest.fixture
def service(market, servers) -> BidderService:
    """Return a bidder whose bids are spread over three servers."""
    market.deploy({market.publish(bids=BIDS): 100})
    service = BidderService(market.refresher(memcached=servers))
    assert service.refresh().outcome == "switched"
    return service


def requests(states=STATES):
    return [ask(state, "ios") for state in states]


def run(servers: Memcached, coroutine):
    """Return what the coroutine returns, in an event loop that ends with it."""

    async def run_and_close():
        async with servers.reading():
            return await coroutine

    return asyncio.run(run_and_close())


def price(service: BidderService, asked=None):
    wanted = service.fetch_and_price(requests() if asked is None else asked, entity_code=ENTITY)
    return run(service.refresher.memcached, wanted)


def server_of(service: BidderService, key: str) -> str:
    (run,) = service.refresher.generations[ENTITY].runs.values()
    return run.bids.servers.ring.name_of(run.bids.place_of(key))


@contextmanager
def stopped(process: subprocess.Popen) -> Iterator[None]:
    """The process neither answers nor refuses during the block."""
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


def test_keys_lie_where_other_clients_of_ketama_look_for_them():
    assert {key: Ring(NAMES).name_of(key) for key in PLACES} == {key: NAMES[it - 1] for key, it in PLACES.items()}


def test_the_ring_is_the_one_of_ketamas_description():
    names = [f"10.0.0.{number}:11211" for number in range(5)]
    points = {}
    for name in names:
        for number in range(40):
            digest = md5(f"{name}-{number}".encode(), usedforsecurity=False).digest()
            for at in range(4):
                piece = digest[4 * at : 4 * at + 4]
                points[piece[3] << 24 | piece[2] << 16 | piece[1] << 8 | piece[0]] = name
    ring = Ring(names[::-1])
    for key in map(str, range(200)):
        digest = md5(key.encode(), usedforsecurity=False).digest()
        point = digest[3] << 24 | digest[2] << 16 | digest[1] << 8 | digest[0]
        nearest = min((it for it in points if it >= point), default=min(points))
        assert ring.name_of(key) == points[nearest]


def test_a_server_that_is_added_moves_its_share_of_the_keys_only():
    names = [f"10.0.0.{number}:11211" for number in range(4)]
    before, after = Ring(names[:3]), Ring(names)
    keys = [f"key {number}" for number in range(10_000)]
    moved = [key for key in keys if before.name_of(key) != after.name_of(key)]
    assert {after.name_of(key) for key in moved} == {names[3]}
    assert 0.15 < len(moved) / len(keys) < 0.35
    assert min(Counter(map(after.name_of, keys)).values()) > 1_500


def test_every_server_holds_its_share_and_every_bid_is_found(service, ports):
    assert [priced.bid_cpm for priced in price(service)] == list(BIDS.values())
    sizes = [int(_stats(port)[b"curr_items"]) for port, _ in ports]
    assert sum(sizes) == len(BIDS) + 3 and min(sizes) > 30


def test_a_bid_request_is_one_question_to_each_server_however_many_impressions_it_has(service, monkeypatch):
    asked = []
    get = ServerConnection.get
    monkeypatch.setattr(ServerConnection, "get", lambda link, places: asked.append(len(places)) or get(link, places))
    price(service)
    assert len(asked) == 3 and sum(asked) == len(BIDS)


def test_no_thread_waits_for_memcached(service):
    threads = []

    async def ask_often() -> None:
        for _ in range(20):
            await asyncio.gather(*(service.fetch_and_price(requests(), entity_code=ENTITY) for _ in range(20)))
            threads.append(threading.active_count())

    before = threading.active_count()
    run(service.refresher.memcached, ask_often())
    assert max(threads) <= before


@pytest.mark.parametrize("fault", ["killed", "stopped"])
def test_a_dead_server_costs_its_share_only_and_one_time_out(service, ports, fault):
    port, process = ports[0]
    lost = {state for state in STATES if server_of(service, f"{state}|ios") == f"127.0.0.1:{port}"}

    async def ask_before_and_after() -> list:
        await service.fetch_and_price(requests(), entity_code=ENTITY)
        with ExitStack() as stack:
            if fault == "killed":
                process.kill()
                process.wait()
            else:
                stack.enter_context(stopped(process))
            started = time.monotonic()
            first = await asyncio.gather(*(service.fetch_and_price(requests(), entity_code=ENTITY) for _ in range(50)))
            took = time.monotonic() - started
            second = await service.fetch_and_price(requests(), entity_code=ENTITY)
            assert service.health()["memcached"][f"127.0.0.1:{port}"]["away_since"]  # the second did not ask it
            return [took, [*first, second]]

    took, answers = run(service.refresher.memcached, ask_before_and_after())
    assert took < 50 * TIMEOUT_S / 2  # one after the other would wait 50 times
    for prices in answers:
        for state, priced in zip(STATES, prices, strict=True):
            expected = Reason.TABLE_SILENT if state in lost else Reason.SEGMENT
            assert priced.reason is expected, state
    assert 30 < len(lost) < 200


def test_a_server_that_answers_again_is_used_again(service, ports):
    async def ask_until_all_is_back() -> int:
        with stopped(ports[1][1]):
            prices = await service.fetch_and_price(requests(), entity_code=ENTITY)
            assert Reason.TABLE_SILENT in {it.reason for it in prices}
            assert (
                service.registry.get_sample_value(
                    "optimizer_bidder_memcached_up", {"server": f"127.0.0.1:{ports[1][0]}"}
                )
                == 0
            )
            assert service.health()["memcached"][f"127.0.0.1:{ports[1][0]}"]["away_since"]
        deadline = time.monotonic() + 10
        while True:
            prices = await service.fetch_and_price(requests(), entity_code=ENTITY)
            if {it.reason for it in prices} == {Reason.SEGMENT}:
                return len(prices)
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)

    assert run(service.refresher.memcached, ask_until_all_is_back()) == len(STATES)


def test_a_refresh_goes_on_without_a_dead_server_and_fills_it_when_it_is_back(market, service, ports, monkeypatch):
    port, process = ports[2]
    monkeypatch.setattr("optimizer.bidder.memcached.LEFT_ALONE_S", 0.0)
    process.kill()
    process.wait()
    newer = {key: bid + 1 for key, bid in BIDS.items()}
    market.deploy({market.publish(bids=newer): 100})
    assert service.refresh().outcome == "switched"
    reasons = Counter(it.reason for it in price(service))
    assert set(reasons) == {Reason.SEGMENT, Reason.TABLE_SILENT}
    with memcached_process(memory_mb=64, port=port):
        assert service.refresh().outcome == "unchanged"
        assert [it.bid_cpm for it in price(service)] == list(newer.values())


def test_a_server_that_was_emptied_is_filled_alone(service, ports):
    port = ports[0][0]
    with closing(Client(("127.0.0.1", port))) as client:
        client.flush_all()
    before = [_sets(port) for port, _ in ports]
    assert service.refresh().outcome == "unchanged"
    assert [it.bid_cpm for it in price(service)] == list(BIDS.values())
    written = [_sets(port) - was for (port, _), was in zip(ports, before, strict=True)]
    assert written[0] > 30 and written[1:] == [0, 0]


def _stats(port: int) -> dict[bytes, bytes]:
    with closing(Client(("127.0.0.1", port))) as client:
        return client.stats()


def _sets(port: int) -> int:
    return int(_stats(port)[b"cmd_set"])


def test_without_any_server_nothing_is_served_and_the_refresh_says_so(market):
    servers = Memcached([("127.0.0.1", closed_port()), ("127.0.0.1", closed_port())])
    market.deploy({market.publish(bids=BIDS): 100})
    assert "does not answer" in market.refresher(memcached=servers).refresh().errors[ENTITY]


def test_a_server_that_takes_connections_and_says_nothing_costs_one_time_out():
    with silent_port() as port:
        servers = Memcached([("127.0.0.1", port)], timeout_s=LONG_TIMEOUT_S)

        async def ask_twice() -> list[float]:
            took = []
            for _ in range(2):
                started = time.monotonic()
                fetched = await asyncio.gather(*(servers.fetch({f"key{number}"}) for number in range(20)))
                assert all(isinstance(value, ServerAway) for found in fetched for value in found.values())
                took.append(time.monotonic() - started)
            return took

        first, second = run(servers, ask_twice())
        assert 0.9 * LONG_TIMEOUT_S < first < 10 * LONG_TIMEOUT_S  # one after the other would wait 20 times
        assert second < LONG_TIMEOUT_S  # nobody waits again


ANSWERS = {
    "an error": b"ERROR\r\n",
    "a server error": b"SERVER_ERROR out of memory\r\n",
    "another key": b"VALUE other 0 1\r\n5\r\nEND\r\n",
    "a length that is none": b"VALUE key 0 x\r\n5\r\nEND\r\n",
    "a length that is too short": b"VALUE key 0 1\r\n55\r\nEND\r\n",
    "two answers": b"END\r\nEND\r\n",
    "http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_what_is_no_answer_is_never_a_bid(answer):
    with _saying(b"VERSION 1\r\n", ANSWERS[answer]) as port:
        servers = Memcached([("127.0.0.1", port)], timeout_s=TIMEOUT_S)

        async def fetch() -> tuple:
            first = await servers.fetch({"key"})
            return first, await servers.fetch({"key"})

        for found in run(servers, fetch()):
            assert not isinstance(found.get("key"), bytes)


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_server_that_writes_what_is_no_answer_costs_its_share_only(market, ports, answer):
    with _always_saying(ANSWERS[answer]) as port:
        servers = Memcached([("127.0.0.1", port), ("127.0.0.1", ports[0][0])], timeout_s=TIMEOUT_S)
        market.deploy({market.publish(bids=BIDS): 100})
        service = BidderService(market.refresher(memcached=servers))
        assert service.refresh().outcome == "switched"
        assert {it.reason for it in price(service)} == {Reason.SEGMENT, Reason.TABLE_SILENT}


@pytest.mark.parametrize("moment", [b"x", b"nan", b"1_0"])
def test_a_table_whose_marker_is_damaged_is_written_again(market, service, ports, moment):
    (table,) = (run.bids for run in service.refresher.generations[ENTITY].runs.values())
    with closing(Client(("127.0.0.1", ports[0][0]))) as client:
        client.flush_all()
        client.set(f"{table.prefix},written", moment)
    again = BidderService(market.refresher(memcached=service.refresher.memcached))
    assert (service.refresh().outcome, again.refresh().outcome) == ("unchanged", "switched")
    assert [it.bid_cpm for it in price(again)] == list(BIDS.values())


@contextmanager
def _always_saying(answer: bytes) -> Iterator[int]:
    """Give the port of a server that says the same to every question on every connection."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                while self.request.recv(65_536):
                    self.request.sendall(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@contextmanager
def _saying(greeting: bytes, answer: bytes) -> Iterator[int]:
    """Give the port of a server that greets one connection, and then says the same to every question."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            server.settimeout(5)
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(greeting)
                while connection.recv(65_536):
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join(10)


def test_an_answer_in_any_pieces_is_read_whole():
    answer = b"VALUE a 0 4\r\n12.5\r\nVALUE b 0 7\r\nEND\r\n\r\n\r\nEND\r\n"
    for size in range(1, len(answer) + 1):
        buffer, found = bytearray(), None
        for at in range(0, len(answer), size):
            assert found is None
            buffer += answer[at : at + size]
            found = take_values(buffer, {b"a", b"b", b"c"})
        assert found == {b"a": b"12.5", b"b": b"END\r\n\r\n"} and not buffer
