"""A private memcached server on a free port, ended by its own process id."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pymemcache.client.base import Client

from optimizer.local.ports import PortClaims

START_TIMEOUT_S = 10


@pytest.fixture(scope="session")
def memcached() -> Iterator[Client]:
    """Yield a client of the server that reports every failure."""
    program = shutil.which("memcached") or pytest.fail("memcached is missing; `make servers` installs it")
    with PortClaims() as claims, _running(program, port=claims.claim()) as client:
        yield client


@contextmanager
def _running(program: str, *, port: int) -> Iterator[Client]:
    process = subprocess.Popen([program, "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-m", "64", "-u", "nobody"])
    client = Client(("127.0.0.1", port), default_noreply=False, connect_timeout=5, timeout=5)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _answers(client):
            assert process.poll() is None and time.monotonic() < deadline, "memcached does not start"
            time.sleep(0.05)
        yield client
    finally:
        client.close()
        process.terminate()
        process.wait(10)


def _answers(client: Client) -> bool:
    try:
        return bool(client.version())
    except OSError:
        return False
