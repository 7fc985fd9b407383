"""Several processes that answer on one port.

Each worker is a bidder of its own, with its own socket on the port (SO_REUSEPORT: the kernel spreads connections over
those that listen). A worker that ends is replaced, and takes connections once its tables are loaded; until then the
others take all. SIGTERM goes to every worker, and none outlives `stop_s`.
"""

import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from types import FrameType

log = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

PAUSE_S = 1.0
"""Between two starts of the same worker: one that cannot run must not take the whole processor."""

TICK_S = 0.5

Work = Callable[[int, bool], None]
"""What a worker does: its number from 1, and whether it takes the place of another while others answer."""


@dataclass(frozen=True, slots=True)
class Started:
    """A worker's process, and when it was started, in seconds of `time.monotonic`."""

    process: ForkProcess
    at: float


class Workers:
    """The processes of one bidder, held by a process that does nothing else."""

    def __init__(self, work: Work, *, number: int, stop_s: float) -> None:
        """Run `work` in that many processes.

        Args:
            stop_s: seconds after the signal to stop at which a worker that still runs is killed.
        """
        self._work, self._number, self._stop_s = work, number, stop_s
        self._started: dict[int, Started] = {}
        self._kill_at: float | None = None

    def run(self) -> None:
        """Start the workers, replace those that end, and return once all have ended after SIGTERM or SIGINT."""
        before = {number: signal.signal(number, self._stop) for number in STOP_SIGNALS}
        try:
            for worker in range(1, self._number + 1):
                self._start(worker, is_replacement=False)
            while self._kill_at is None:
                wait([it.process.sentinel for it in self._started.values() if it.process.is_alive()], TICK_S)
                self._replace_ended()
            self._wait_for_end(self._kill_at)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _start(self, worker: int, *, is_replacement: bool) -> None:
        # Blocked, so that a signal meets either no process or one that is known here.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            if self._kill_at is None:
                process = multiprocessing.get_context("fork").Process(target=self._begin, args=(worker, is_replacement))
                process.start()
                self._started[worker] = Started(process, time.monotonic())
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    def _begin(self, worker: int, is_replacement: bool) -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        threading.Thread(target=_stop_without_parent, args=(os.getppid(),), name="bidder-parent", daemon=True).start()
        self._work(worker, is_replacement)

    def _replace_ended(self) -> None:
        for worker, started in list(self._started.items()):
            process = started.process
            if self._kill_at is None and not process.is_alive() and time.monotonic() - started.at > PAUSE_S:
                log.warning("worker %d (process %s) ended with %s", worker, process.pid, process.exitcode)
                self._start(worker, is_replacement=any(it.process.is_alive() for it in self._started.values()))

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._kill_at = self._kill_at or time.monotonic() + self._stop_s
        for started in self._started.values():
            started.process.terminate()

    def _wait_for_end(self, kill_at: float) -> None:
        for worker, started in self._started.items():
            started.process.join(max(0.0, kill_at - time.monotonic()))
            if started.process.is_alive():
                log.error("worker %d (process %s) does not end, and is killed", worker, started.process.pid)
                started.process.kill()
                started.process.join()


def _stop_without_parent(parent: int) -> None:
    """A worker whose parent was killed would hold the port, and nobody would stop it."""
    while os.getppid() == parent:
        time.sleep(TICK_S)
    os.kill(os.getpid(), signal.SIGTERM)


def open_sockets(host: str, port: int, *, is_shared: bool) -> list[socket.socket]:
    """Return sockets bound to each address of the host; nobody listens on them yet.

    Args:
        is_shared: other sockets that are shared, too, may listen on the same port.

    Raises:
        OSError: the port is taken, or the host is not one of this machine.
    """
    opened = []
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        bound = socket.socket(family, kind, protocol)
        opened.append(bound)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
    return opened
