"""The thread that empties a run's queue, then those of processes that ended before theirs were empty."""

import logging
import sqlite3
import threading
import time

from tenacity import RetryCallState, Retrying, retry_if_exception_type

from optimization_tracking.client import calls
from optimization_tracking.client.abandoned import adopt_abandoned
from optimization_tracking.client.blocking import TrackingClient
from optimization_tracking.client.delivery import Delivery
from optimization_tracking.client.disk_queue import DiskQueue
from optimization_tracking.client.queue_folder import touch_queue
from optimization_tracking.client.retrying import wait_s
from optimizer.errors import TrackingRefused, UnavailableError

FAULT_PAUSE_S = 1.0

LEASE_S = 60
"""The process that logs a run may be silent for that long before others take it for dead."""

BEAT_S = LEASE_S / 3

JOIN_S = 1.0
"""The longest wait for a thread that still waits for an answer; it ends soon after."""

_log = logging.getLogger(__name__)


class Sender:
    """Sends in the background for as long as it is open. It never raises: `reason` says why something waits."""

    def __init__(self, queue: DiskQueue, client: TrackingClient, *, holds_run: bool = True) -> None:
        """Args: holds_run: until the run has ended."""
        self.delivery = Delivery(queue, client)
        self.reason: str | None = None
        self.holds_run = holds_run
        self._beat_at = 0.0
        self._client = client
        self._nudged, self._hurried, self._stopping = threading.Event(), threading.Event(), threading.Event()
        self._looks_asked, self._looks_done = 1, 0  # for what other processes left
        self._is_leaving = False
        self._progress = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="optimization tracking", daemon=True)
        self._start()

    @property
    def has_thread(self) -> bool:
        """Whether the thread was started; the system may have none for it."""
        return self._thread.ident is not None

    def nudge(self) -> None:
        """Let the thread look at once, unless it waits for a service that is away."""
        if not self._nudged.is_set():
            self._nudged.set()

    def flush(self, timeout_s: float, *, with_abandoned: bool = False, is_leaving: bool = False) -> bool:
        """Wait until nothing waits to be sent, at most so long, and return whether.

        A process that can start no thread leaves all of it to others, at once.

        Args:
            with_abandoned: send what other processes left, too, as those that were forked and killed since.
            is_leaving: give up the run before that; its end may be among what others left.
        """
        deadline = time.monotonic() + timeout_s
        self._is_leaving = is_leaving
        looks = 0
        if with_abandoned:
            looks = self._looks_asked = self._looks_asked + 1
        self._hurried.set()
        self.nudge()
        self._start()
        with self._progress:
            while self.delivery.queue.waiting() or self._looks_done < looks:
                left_s = deadline - time.monotonic()
                if left_s <= 0 or not self._thread.is_alive():
                    return False
                self._progress.wait(min(left_s, 0.2))
        return True

    def close(self) -> None:
        """End the thread; what was not sent stays in the queue's file."""
        self._stopping.set()
        self._hurried.set()
        self._nudged.set()
        if self.has_thread:
            self._thread.join(JOIN_S)
            return
        try:
            self._close_all()
        except (OSError, sqlite3.Error) as error:
            self._tell(f"the queue cannot be closed: {error}")

    def _start(self) -> None:
        """Start the thread unless it was; where the system has none for it, what is logged waits for others."""
        if self.has_thread:
            return
        try:
            self._thread.start()
        except RuntimeError as error:
            is_on_disk = self.delivery.queue.path is not None
            fate = "stays on disk until another process sends it" if is_on_disk else "is lost with this process"
            self._tell(f"{error}; what is logged {fate}")

    def _close_all(self) -> None:
        self.delivery.queue.close()
        self._client.close()

    def _work(self) -> None:
        try:
            self._send_until_closed()
        finally:
            self._close_all()

    def _send_until_closed(self) -> None:
        while not self._stopping.is_set():
            self._nudged.clear()
            self._touch()
            try:
                self._empty()
                if self._looks_done < (asked := self._looks_asked):
                    if self._is_leaving:
                        self._release()
                    self._send_abandoned()
                    self._looks_done = asked
                    with self._progress:
                        self._progress.notify_all()
            except UnavailableError:  # logged already, and tried again until the sender was closed
                return
            except sqlite3.Error as error:
                self._tell(f"a queue cannot be used: {error}")
                self._pause(FAULT_PAUSE_S)
            except OSError as error:
                self._tell(f"the system does not let it send: {error}")
                self._pause(FAULT_PAUSE_S)
            except Exception as error:  # a fault of ours: the thread lives on, and with it the queue that is logged to
                self._tell(f"sending failed ({type(error).__name__}: {error}) and is tried again", with_trace=True)
                self._pause(FAULT_PAUSE_S)
            else:
                if not self._stopping.is_set():
                    self._nudged.wait(BEAT_S if self.holds_run else None)
        self._release()

    def _touch(self) -> None:
        if self.delivery.queue.path is not None:
            touch_queue(self.delivery.queue.path)

    def _hold(self) -> None:
        """Renew the lease of the run where it is time; it is not worth waiting for."""
        run_id = self.delivery.queue.run().run_id
        if run_id is None or not self.holds_run or time.monotonic() < self._beat_at:
            return
        self._beat_at = time.monotonic() + BEAT_S
        try:
            self._client.send(calls.hold_run(run_id, self.delivery.queue.owner, seconds=LEASE_S))
        except (TrackingRefused, UnavailableError) as error:  # an older service has no leases
            _log.debug("tracking: no lease of run %s: %s", run_id, error)

    def _release(self) -> None:
        """Let another process end the run, where this one goes without ending it."""
        if self.holds_run and self._beat_at:
            self.holds_run = False
            self.delivery.release()

    def _empty(self) -> None:
        self._hold()
        while self._send_patiently(self.delivery):
            self.reason = None
            self._hold()
            with self._progress:
                self._progress.notify_all()

    def _send_abandoned(self) -> None:
        for delivery in adopt_abandoned(self._client):
            try:
                while self._send_patiently(delivery):
                    self._empty()  # the own run comes first
                if not self._stopping.is_set():
                    delivery.release()
            except sqlite3.Error as error:
                _log.warning("tracking leaves the rest of %s alone: %s", delivery.queue.path, error)
            finally:
                delivery.queue.close()

    def _send_patiently(self, delivery: Delivery) -> bool:
        """Send a batch, however long the service is away; False where nothing waits or the sender is closed."""
        patiently = Retrying(
            retry=retry_if_exception_type(UnavailableError),
            wait=wait_s,
            stop=lambda _: self._stopping.is_set(),
            sleep=self._pause,
            before_sleep=self._note_silence,
            reraise=True,
        )
        return patiently(lambda: not self._stopping.is_set() and delivery.send_next())

    def _pause(self, seconds: float) -> None:
        """Wait, but not where a user flushes or closes meanwhile; entries that come do not hurry it."""
        self._touch()
        self._hurried.clear()
        if not self._stopping.is_set():
            self._hurried.wait(seconds)

    def _note_silence(self, state: RetryCallState) -> None:
        if state.outcome is not None:
            self._tell(str(state.outcome.exception()))

    def _tell(self, reason: str, *, with_trace: bool = False) -> None:
        if reason != self.reason:
            _log.warning("tracking has to wait, the run goes on: %s", reason, exc_info=with_trace)
        self.reason = reason
