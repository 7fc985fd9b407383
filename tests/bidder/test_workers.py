"""Several workers on one port: real processes that share the work, are replaced when they are killed, and stop."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import psutil
import pytest
from bidder.market import ENTITY, OS, STATE, Market
from bidder.processes import environment_of, wait_until_ready
from servers.http import open_client
from servers.waiting import PATIENCE_S, wait_until

from lab.stack.ports import PortClaims
from optimizer.bidder.local_copy import LocalCopy
from optimizer.control_plane.bidder_counts import read_counts

WORKERS = 3
DRAIN_S = 1.0
BODY = {"entity_code": ENTITY, "macros": {STATE: "Ohio", OS: "android"}, "user_id": "user-1"}
MOST_CONNECTIONS = 200
"""Enough connections to reach every worker: the kernel spreads them by a hash of their ports."""


class Bidder:
    """A bidder with its workers."""

    def __init__(self, process: subprocess.Popen, port: int) -> None:
        self.process, self.url = process, f"http://127.0.0.1:{port}"

    @contextmanager
    def connect(self) -> Iterator[httpx.Client]:
        """Give a client whose requests all reach one worker."""
        with open_client(self.url) as client:
            yield client

    def get(self, path: str) -> httpx.Response:
        with self.connect() as client:
            return client.get(path)

    def workers(self) -> dict[int, dict[str, Any]]:
        """Return what /health says of each worker, by its number."""
        return {it["worker"]: it for it in self.get("/health").json()["workers"]}

    def pids(self) -> set[int]:
        return {it["pid"] for it in self.workers().values()}

    def price_on_every_worker(self) -> dict[int, tuple[int, float | None]]:
        """Return how many prices each worker gave, and the last, by its number."""
        given: dict[int, tuple[int, float | None]] = {}
        for _ in range(MOST_CONNECTIONS):
            with self.connect() as client:
                worker = client.get("/health").json()["worker"]
                bid_cpm = client.post("/price", json=BODY).json()["bid_cpm"]
                given[worker] = (given.get(worker, (0, None))[0] + 1, bid_cpm)
            if len(given) == WORKERS:
                return given
        raise AssertionError(f"{MOST_CONNECTIONS} connections reached only {sorted(given)}")


@contextmanager
def serving(environment: dict[str, str], *, workers: int = WORKERS) -> Iterator[Bidder]:
    with PortClaims() as claims:
        port = claims.claim()
        command = [sys.executable, "-m", "optimizer.bidder", "serve", "--port", str(port), "--workers", str(workers)]
        process = subprocess.Popen(command, env=environment)
        bidder = Bidder(process, port)
        try:
            with bidder.connect() as client:
                wait_until_ready(client, process)
            wait_until(
                lambda: [it["status"] for it in bidder.workers().values()] == ["ok"] * workers, "a worker is not ready"
            )
            yield bidder
        finally:
            family = (
                [psutil.Process(process.pid), *psutil.Process(process.pid).children()] if process.poll() is None else []
            )
            for one in family:
                one.kill()
            process.wait(10)


@pytest.fixture
def environment(market: Market, systems, tmp_path) -> dict[str, str]:
    market.deploy({market.publish(): 100})
    return {
        **os.environ,
        **environment_of(market, systems),
        "OPTIMIZER_BIDDER_DRAIN_S": str(DRAIN_S),
        "OPTIMIZER_BIDDER_INTERVAL_S": "1",
        "OPTIMIZER_BIDDER_COPY_FOLDER": str(tmp_path / "copies"),
        "TMPDIR": str(tmp_path),  # where the workers' reports lie
    }


def prices_counted(bidder: Bidder) -> float:
    lines = bidder.get("/metrics").text.splitlines()
    return sum(float(it.rsplit(" ", 1)[1]) for it in lines if it.startswith("optimizer_bidder_prices_total{"))


def test_every_worker_answers_and_any_of_them_exports_the_numbers_of_all(environment):
    with serving(environment) as bidder:
        given = bidder.price_on_every_worker()
        assert {bid_cpm for _, bid_cpm in given.values()} == {12.0}
        total = sum(number for number, _ in given.values())
        time.sleep(1.5)  # each worker reports once a second
        assert {prices_counted(bidder) for _ in range(20)} == {total}
        metrics = bidder.get("/metrics").text
        assert f"optimizer_bidder_workers {WORKERS}.0" in metrics
        assert f'optimizer_bidder_generations{{entity="{ENTITY}"}} 1.0' in metrics
        assert f"optimizer_bidder_price_seconds_count {total}.0" in metrics


def test_a_new_deployment_reaches_every_worker(environment, market):
    with serving(environment) as bidder:
        before = {it["generations"][ENTITY] for it in bidder.workers().values()}
        market.deploy({market.publish(bids={"Ohio|android": 17.0}): 100})
        wait_until(
            lambda: not before & {it["generations"][ENTITY] for it in bidder.workers().values()}, "an old run is served"
        )
        assert not bidder.get("/health").json()["is_mixed"]
        assert {bid_cpm for _, bid_cpm in bidder.price_on_every_worker().values()} == {17.0}


def test_the_hourly_counts_of_all_workers_sum_to_what_was_asked(environment, market):
    with serving(environment) as bidder:
        total = sum(number for number, _ in bidder.price_on_every_worker().values())
        bidder.process.send_signal(signal.SIGTERM)
        bidder.process.wait(PATIENCE_S)
    all_hours = {"since": datetime(2026, 1, 1, tzinfo=UTC), "until": datetime(2100, 1, 1, tzinfo=UTC)}
    assert sum(it.impressions for it in read_counts(market.engine, ENTITY, **all_hours)) == total


def test_a_killed_worker_is_replaced_while_the_others_answer_and_no_counter_falls(environment):
    with serving(environment) as bidder:
        total = sum(number for number, _ in bidder.price_on_every_worker().values())
        wait_until(lambda: prices_counted(bidder) == total, "a price is not counted")
        before = bidder.workers()
        killed = psutil.Process(before[1]["pid"])
        killed.kill()
        killed.wait(PATIENCE_S)  # until then it may still take a connection, which its end resets
        deadline, answers = time.monotonic() + PATIENCE_S, []
        while bidder.workers()[1]["pid"] == before[1]["pid"] or len(answers) < 50:
            assert time.monotonic() < deadline
            with bidder.connect() as client:
                answers.append(client.post("/price", json=BODY).json()["bid_cpm"])
        assert set(answers) == {12.0}
        after = bidder.workers()
        assert {it: after[it]["pid"] for it in (2, 3)} == {it: before[it]["pid"] for it in (2, 3)}
        time.sleep(1.5)
        assert prices_counted(bidder) == total + len(answers)


def test_after_sigterm_every_worker_is_unready_answers_and_all_end_within_the_bound(environment):
    with serving(environment) as bidder, ExitStack() as kept:
        clients = [kept.enter_context(bidder.connect()) for _ in range(20)]
        reached = {client.get("/health").json()["worker"] for client in clients}
        assert len(reached) > 1
        pids, started = bidder.pids(), time.monotonic()
        bidder.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        for client in clients:
            ready = client.get("/ready")
            assert (ready.status_code, ready.headers["connection"]) == (503, "close")
        assert bidder.process.wait(PATIENCE_S) == 0
        assert time.monotonic() - started >= DRAIN_S
        assert not any(psutil.pid_exists(pid) for pid in pids)


def test_a_worker_that_hangs_does_not_keep_the_bidder(environment):
    with serving(environment) as bidder:
        pid = min(bidder.pids())
        os.kill(pid, signal.SIGSTOP)
        bidder.process.send_signal(signal.SIGTERM)
        bidder.process.wait(PATIENCE_S)
        assert not psutil.pid_exists(pid)


def test_workers_end_where_the_process_that_holds_them_is_killed(environment):
    with serving(environment) as bidder:
        pids = bidder.pids()
        bidder.process.kill()
        wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids), "a worker is left")


def test_workers_write_one_local_copy_that_can_be_served(environment, tmp_path):
    with serving(environment):
        copy, confirmed_at = LocalCopy(tmp_path / "copies").read(ENTITY)
        wait_until(lambda: LocalCopy(tmp_path / "copies").read(ENTITY)[1] > confirmed_at, "no copy is confirmed")
    assert copy.entity.entity_code == ENTITY and confirmed_at <= datetime.now(UTC)


def test_a_port_that_is_taken_is_refused(environment):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "optimizer.bidder", "serve", "--port", str(port), "--workers", "2"]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1 and f"127.0.0.1:{port} cannot be listened on" in ended.stderr
