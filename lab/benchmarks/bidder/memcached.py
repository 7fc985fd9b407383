"""A memcached server of the benchmark's own on a free port of the loopback."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lab.stack.ports import PortClaims
from optimizer.bidder.tables import Memcached
from optimizer.errors import ConfigError, UnavailableError

START_TIMEOUT_S = 10


@contextmanager
def running_memcached(*, memory_mb: int) -> Iterator[Memcached]:
    """Give a new server as the bidder uses it, with a patience of 2 s; it ends with the block.

    It has one thread: of several, each connection has its own, and one on our core answers in a third of the time.

    Raises:
        ConfigError: the program is missing.
        UnavailableError: it does not start.
    """
    program = shutil.which("memcached")
    if program is None:
        raise ConfigError("memcached is missing; `make servers` installs it")
    with PortClaims() as claims:
        port = claims.claim()
        options = ["-l", "127.0.0.1", "-p", str(port), "-U", "0", "-u", "nobody", "-m", str(memory_mb), "-t", "1"]
        process = subprocess.Popen([program, *options])  # noqa: S603
        server = Memcached("127.0.0.1", port, timeout_s=2.0)
        try:
            _wait(server, process)
            yield server
        finally:
            server.close()
            process.terminate()
            process.wait(10)


def _wait(server: Memcached, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            server.get("is_there")
            return
        except UnavailableError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
