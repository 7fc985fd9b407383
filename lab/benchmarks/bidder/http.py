"""A bid over HTTP against a bare server in the same run: processor time of one request, and the tail of the waits."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from time import monotonic, perf_counter, sleep

import numpy as np
import psutil
from pydantic_core import to_json

from lab.benchmarks.bidder.market import DOMAIN, ENTITY, BenchMarket, make_bids, make_values
from lab.benchmarks.figures import Figure
from lab.stack import LocalStack
from lab.stack.environment import objects_variables
from lab.stack.ports import PortClaims
from optimizer.bidder.memcached import Memcached
from optimizer.errors import DataError, UnavailableError

ROUTE, PLAIN = "a bare route", "a bare ASGI function"
BOUNDS = {"in process": 1.4, "memcached": 2.5}
"""The largest processor time of a bid, in multiples of a bare route's."""

SERVE = ("serve", "--port")
FEW, MANY = 8, 64
"""Connections: where processor time is measured, and where waits are."""

LEAST_BIDS = 0.99
"""Of a benchmark's requests: a memcached that is late under load costs a bid, and that is not an error."""

BODY_BYTES = 1_500
START_TIMEOUT_S = 60
PERCENTILES = {"p99": 99, "p99.9": 99.9}

LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


def measure_http(
    market: BenchMarket, stack: LocalStack, server: Memcached, *, keys: int, requests: int, rounds: int
) -> list[Figure]:
    """Return what a bid request costs; every server gets `requests` requests in each round, in turns.

    Raises:
        DataError: a bidder did not bid on a request, so that the times say nothing.
        UnavailableError: a server did not start.
    """
    values = make_values(keys)
    run_id = market.publish(make_bids(values, seed=1), domain_multiplier=1.2)
    market.deploy({run_id: 100})
    bodies = [make_body(*values[number % keys][:2], number=number) for number in range(2_000)]
    environment = {**os.environ, **bidder_environment(market, stack)}
    bare = "lab.benchmarks.bidder.bare_server"
    memcached = {
        "OPTIMIZER_BIDDER_MEMCACHED": ",".join(server.names),
        "OPTIMIZER_BIDDER_MEMCACHED_TIMEOUT_MS": "2000",
    }
    with ExitStack() as running:
        started = {
            ROUTE: running.enter_context(running_server(bare, environment, "route")),
            PLAIN: running.enter_context(running_server(bare, environment, "plain")),
            "in process": running.enter_context(running_server("optimizer.bidder", environment, *SERVE)),
            "memcached": running.enter_context(
                running_server("optimizer.bidder", {**environment, **memcached}, *SERVE)
            ),
        }
        cpu, _ = _in_turns(started, bodies, connections=FEW, requests=requests, rounds=rounds)
        _, waits = _in_turns(started, bodies, connections=MANY, requests=requests, rounds=rounds)
    return [*_cpu_figures(cpu), *_wait_figures(waits)]


def _cpu_figures(cpu: Mapping[str, np.ndarray]) -> list[Figure]:
    return [
        *(_figure(f"a bid over HTTP, {name}", cpu, name, ROUTE, bound) for name, bound in BOUNDS.items()),
        *(_figure(f"a bid over HTTP, {name}", cpu, name, PLAIN, None) for name in BOUNDS),
    ]


def _wait_figures(waits: Mapping[str, np.ndarray]) -> list[Figure]:
    return [
        _figure(f"{what} of {MANY} connections, {name}", ends, name, ROUTE, None)
        for what, percentile in PERCENTILES.items()
        for ends in [{server: np.percentile(taken, percentile, axis=1) for server, taken in waits.items()}]
        for name in BOUNDS
    ]


def make_body(place: str, state: str, *, number: int) -> bytes:
    """Return a bid request of about BODY_BYTES for a segment of the benchmark's run."""
    request = {
        "id": f"auction-{number}",
        "at": 1,
        "tmax": 10_000,  # a late answer is to be measured, and not to be left out
        "cur": ["USD"],
        "imp": [
            {
                "id": "1",
                "tagid": place,
                "secure": 1,
                "bidfloor": 0.01,
                "bidfloorcur": "USD",
                "banner": {"w": 300, "h": 250, "pos": 1, "format": [{"w": 300, "h": 250}, {"w": 336, "h": 280}]},
            }
        ],
        "site": {
            "id": "site-1",
            "domain": DOMAIN,
            "page": "https://a.example/articles/2026/how-to-read-a-label?utm_source=newsletter",
            "cat": ["IAB7", "IAB7-38"],
            "publisher": {"id": "publisher-1", "name": "A Publisher", "domain": DOMAIN},
        },
        "device": {
            "ua": "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0",
            "ip": "203.0.113.7",
            "os": "Android",
            "osv": "14",
            "devicetype": 4,
            "language": "en",
            "geo": {"country": "USA", "region": state, "city": "Albany", "type": 2},
            "ext": {"browser": "Chrome"},
        },
        "user": {"id": f"user-{number}", "buyeruid": f"buyer-{number}"},
        "regs": {"coppa": 0, "us_privacy": "1YNN"},
        "source": {"tid": f"transaction-{number}", "schain": {"ver": "1.0", "complete": 1, "nodes": []}},
    }
    padding = BODY_BYTES - len(to_json(request)) - len(',"ext":{"note":""}')
    return to_json({**request, "ext": {"note": "x" * max(padding, 0)}})


def bidder_environment(market: BenchMarket, stack: LocalStack) -> dict[str, str]:
    """Return the variables of a bidder that serves the market."""
    return {
        "OPTIMIZER_CONTROL_PLANE_URL": str(market.engine.url),
        "OPTIMIZER_BIDDER_ENTITIES": ENTITY,
        **objects_variables(stack.settings),
        "NO_PROXY": "127.0.0.1",
    }


@contextmanager
def running_server(module: str, environment: Mapping[str, str], *options: str) -> Iterator["HttpServer"]:
    """Give a server that was started as `python -m module [options] PORT`; it ends with the block."""
    with PortClaims() as claims:
        port = claims.claim()
        command = [sys.executable, "-m", module, *options, str(port)]
        process = subprocess.Popen(command, env=dict(environment), stderr=subprocess.DEVNULL)  # noqa: S603
        try:
            server = HttpServer(port, psutil.Process(process.pid))
            server.wait(process)
            yield server
        finally:
            process.terminate()
            process.wait(30)


@dataclass(frozen=True, slots=True)
class HttpServer:
    """A server on a port of this machine."""

    port: int
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """Return the processor time that it has taken, all its threads together."""
        times = self.process.cpu_times()
        return times.user + times.system

    def wait(self, process: subprocess.Popen) -> None:
        """Wait until it answers a bid request with a bid."""
        deadline = monotonic() + START_TIMEOUT_S
        while True:
            try:
                asyncio.run(ask(self.port, [make_body("20000", "New York 0", number=0)], connections=1))
                return
            except (OSError, EOFError, DataError) as error:
                if process.poll() is not None or monotonic() > deadline:
                    raise UnavailableError(f"the server on port {self.port} does not bid: {error}") from error
                sleep(0.1)


async def ask(port: int, bodies: Sequence[bytes], *, connections: int) -> np.ndarray:
    """Return the seconds that each request waits for its answer; every connection sends its share one by one.

    Raises:
        DataError: fewer than LEAST_BIDS of them were bid on.
    """
    head = f"POST /bid/{ENTITY} HTTP/1.1\r\nHost: bidder\r\nContent-Type: application/json\r\nContent-Length: "
    waits, bids = np.empty(len(bodies)), 0

    async def send(own: range) -> None:
        nonlocal bids
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for number in own:
                body = bodies[number]
                started = perf_counter()
                writer.write(f"{head}{len(body)}\r\n\r\n".encode() + body)
                answered = await reader.readuntil(b"\r\n\r\n")
                bids += b" 200 " in answered[:16]
                if (length := LENGTH.search(answered)) is not None:
                    await reader.readexactly(int(length[1]))
                waits[number] = perf_counter() - started
        finally:
            writer.close()
            await writer.wait_closed()

    await asyncio.gather(*(send(range(first, len(bodies), connections)) for first in range(connections)))
    if bids < LEAST_BIDS * len(bodies):
        raise DataError(f"{len(bodies) - bids:,} of {len(bodies):,} requests of the benchmark were not bid on")
    return waits


def _in_turns(
    servers: Mapping[str, HttpServer], bodies: Sequence[bytes], *, connections: int, requests: int, rounds: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Processor seconds of a request, shape (rounds,), and waits, shape (rounds, requests), by server."""
    cpu = {name: np.empty(rounds) for name in servers}
    waits = {name: np.empty((rounds, requests)) for name in servers}
    asked = [bodies[number % len(bodies)] for number in range(requests)]
    names = list(servers)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            before = servers[name].cpu_seconds()
            waits[name][number] = asyncio.run(ask(servers[name].port, asked, connections=connections))
            cpu[name][number] = (servers[name].cpu_seconds() - before) / requests
    return cpu, waits


def _figure(what: str, found: Mapping[str, np.ndarray], name: str, bare: str, bound: float | None) -> Figure:
    """The round whose ratio is the median of all rounds."""
    ours, theirs = found[name], found[bare]
    middle = np.argsort(ours / theirs)[len(ours) // 2]
    return Figure(what, float(ours[middle]), float(theirs[middle]), bare, "call", bound)
