"""A run's sign of life while a step works on it, and the ear for what ends the step's work on it meanwhile."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import FrameType

from sqlalchemy import Engine

from optimizer.control_plane import transitions
from optimizer.errors import RunCompleted, RunStateError

log = logging.getLogger(__name__)

BEAT_S = 30.0
JOIN_S = 5.0
"""A beat may hang in a silent database: the step's end does not wait for it longer than this."""


def utc_now() -> datetime:
    """Return the present moment."""
    return datetime.now(UTC)


@contextmanager
def beating(
    engine: Engine,
    run_id: str,
    *,
    holder: str | None = None,
    every_s: float = BEAT_S,
    clock: Callable[[], datetime] = utc_now,
) -> Iterator[None]:
    """Move the running run's heartbeat_at while the block works, over a connection of the beat's own.

    A beat that fails is logged and tried again: it never ends the block. A run that is finished is never revived.
    Where the run is cancelled or failed, or another copy of the task has taken it over from the `holder`, the block
    ends with RunStateError within a beat if it runs in the main thread; elsewhere it goes on to its end.
    """
    stopped, interrupt = threading.Event(), _Interrupt()
    beat = threading.Thread(
        target=_beat,
        args=(engine, run_id, holder, every_s, clock, stopped, interrupt),
        name=f"heartbeat {run_id}",
        daemon=True,
    )
    with interrupt.armed():
        beat.start()
        try:
            yield
        finally:
            stopped.set()
            beat.join(JOIN_S)


def _beat(
    engine: Engine,
    run_id: str,
    holder: str | None,
    every_s: float,
    clock: Callable[[], datetime],
    stopped: threading.Event,
    interrupt: "_Interrupt",
) -> None:
    while not stopped.wait(every_s):
        try:
            transitions.require_running(engine, run_id, now=clock(), holder=holder)
        except RunCompleted as completed:  # by this step itself, or by another copy of it with the same results
            log.info("no more heartbeats: %s", completed)
            return
        except RunStateError as ended:
            log.info("no more heartbeats: %s", ended)
            if not stopped.is_set():
                interrupt.send(ended)
            return
        except Exception as error:  # whatever a driver or a hook raises
            log.warning("the heartbeat of run %s failed: %s: %s", run_id, type(error).__name__, error)


class _Interrupt:
    """Raises an error in the main thread while the block is armed.

    A step spends most of its time in a wait that is a system call: for a database, for S3, for the training process.
    Python offers no way to raise an error there from another thread: an event is seen only when the wait is over, and
    so is `_thread.interrupt_main()`. A signal interrupts the system call itself, and Python then runs the signal's
    handler in the main thread, where the error is raised. SIGUSR1 is the signal because SIGTERM and SIGINT end the
    process, and Airflow handles them itself.
    """

    def __init__(self) -> None:
        self._error: RunStateError | None = None
        self._is_armed = False

    @contextmanager
    def armed(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGUSR1, self._raise)
        self._is_armed = True
        try:
            yield
        finally:
            self._is_armed = False
            signal.signal(signal.SIGUSR1, before)

    def send(self, error: RunStateError) -> None:
        self._error = error
        if self._is_armed:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        if self._is_armed and self._error is not None:
            raise self._error
