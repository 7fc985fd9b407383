"""Servers of memcached of the benchmark's own on free ports of the loopback."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pymemcache.client.base import Client

from lab.stack.ports import PortClaims
from optimizer.bidder.memcached import Memcached
from optimizer.errors import ConfigError

START_TIMEOUT_S = 10


@contextmanager
def running_memcached(*, memory_mb: int) -> Iterator[Memcached]:
    """Give a new server as the bidder uses it, with a patience of 2 s; it ends with the block.

    Raises:
        ConfigError, OSError: as `memcached_process`.
    """
    with memcached_process(memory_mb=memory_mb) as (port, _):
        yield Memcached([("127.0.0.1", port)], timeout_s=2.0)


@contextmanager
def memcached_process(*, memory_mb: int, port: int | None = None) -> Iterator[tuple[int, subprocess.Popen]]:
    """Give the port and the process of a new server; it ends with the block.

    It has one thread: of several, each connection has its own, and one on our core answers in a third of the time.

    Args:
        port: a free one by default.

    Raises:
        ConfigError: the program is missing.
        OSError: it does not start.
    """
    program = shutil.which("memcached")
    if program is None:
        raise ConfigError("memcached is missing; `make servers` installs it")
    with PortClaims() as claims:
        port = claims.claim() if port is None else port
        options = ["-l", "127.0.0.1", "-p", str(port), "-U", "0", "-u", "nobody", "-m", str(memory_mb), "-t", "1"]
        process = subprocess.Popen([program, *options])  # noqa: S603
        try:
            _wait(port, process)
            yield port, process
        finally:
            process.terminate()
            process.wait(10)


def _wait(port: int, process: subprocess.Popen) -> None:
    client = Client(("127.0.0.1", port), connect_timeout=START_TIMEOUT_S, timeout=START_TIMEOUT_S)
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            client.version()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            client.close()
            return
