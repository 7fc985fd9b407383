"""A run that is logged while it works: every entry goes to a queue on disk, and a thread sends what is there.

with track_run("nightly", optimizer_type="custom", config={"depth": 6}) as run:
    for number, params in enumerate(candidates):
        run.log_iteration(number, score=evaluate(params), params=params)
    run.update(final_score=…)

The run is completed at the end of the block, failed with the reason where an exception ends it, and cancelled where
a user interrupts it. `async with` does the same. Logging never raises and never waits for the service.

A process that is forked inside the block may log to the run: it has a queue and a sender of its own from its first
entry on. It is a worker, which leaves the run's end to the process that opened it, as do those that open the run with
`ends_run=False`.
"""

import asyncio
import json
import logging
import sqlite3
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from multiprocessing.util import Finalize
from types import TracebackType
from typing import Any, Self
from uuid import NAMESPACE_URL, uuid4, uuid5

from pydantic import BaseModel

from optimization_tracking.client import calls
from optimization_tracking.client.blocking import TrackingClient
from optimization_tracking.client.delivery import DROPPED, DeliveryOutcome
from optimization_tracking.client.disk_queue import DiskQueue, Kind, QueuedRun
from optimization_tracking.client.forking import ForkAware
from optimization_tracking.client.plain_values import as_text, plain, without_odd_numbers
from optimization_tracking.client.sender import Sender
from optimization_tracking.client.settings import ClientSettings
from optimization_tracking.models.base import CLIENT_ID
from optimization_tracking.models.iterations import CreateIteration
from optimization_tracking.models.runs import CreateRun, UpdateRun
from optimization_tracking.models.samples import CreateSample
from optimizer.errors import ConfigError, TrackingRefused

FLUSH_S = 5.0
MAX_STACK_CHARACTERS = 20_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LogReport:
    """What became of what was logged, by kind (create, iteration, sample, update).

    run_id: the service's, None until it has the run, and where the queue cannot be read.

    sent: the service has it; waiting: on disk, to be sent; repeated: the service had it already; dropped: the queue
    was full; refused: the service or the client will not have it. `reasons`: of the first refusals, and why it waits.
    `warnings`: what differs from the run that was joined.
    """

    run_id: str | None
    sent: Mapping[str, int]
    waiting: Mapping[str, int]
    repeated: Mapping[str, int]
    dropped: Mapping[str, int]
    refused: Mapping[str, int]
    reasons: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether the service has all of it."""
        return not (self.waiting or self.dropped or self.refused)

    def __str__(self) -> str:
        names = ("sent", "waiting", "repeated", "dropped", "refused")
        parts = [f"{name} {_numbers(getattr(self, name))}" for name in names if getattr(self, name)]
        return "; ".join([*parts, *self.reasons, *self.warnings]) or "nothing was logged"


def track_run(
    run_name: str,
    *,
    optimizer_type: str,
    settings: ClientSettings | None = None,
    client_id: str | None = None,
    ends_run: bool = True,
    flush_s: float = FLUSH_S,
    **fields: Any,
) -> "RunLog":
    """Return a run to log into; it is in the service, running, as soon as that answers.

    Args:
        settings: of the environment if left out.
        client_id: the program's own id of the run. If the service has a run of that id, it is joined; several processes
            may log to it at once. It keeps its first config, and the report warns of what differs.
        ends_run: whether the end of the block is that of the run; False for workers, which leave that to another
            process with the same `client_id`.
        flush_s: how long the end of the block waits for the service at most; what is not sent then waits on disk for
            the next process that logs to the same service, or for `python -m optimization_tracking resume`.
        fields: others of POST /runs, in snake_case.
    Raises:
        ConfigError: the environment lacks address or key, or a worker a client_id.
        TrackingRefused: a field is wrong; nothing was sent.
    """
    if not (ends_run or client_id):
        raise ConfigError("ends_run=False needs the client_id of the run that another process ends")
    settings = settings or ClientSettings.from_environment()
    metadata = _merged(fields.pop("metadata", {}), {CLIENT_ID: client_id} if client_id else {})
    given = {"status": "running", **fields, "run_name": run_name, "optimizer_type": optimizer_type}
    if client_id is None:
        given.setdefault("start_time", datetime.now(UTC))  # a named run is created by the same words each time
    body = _body_of(CreateRun, {**given, "metadata": metadata})
    token = uuid5(NAMESPACE_URL, f"{settings.base_url}#{client_id}").hex if client_id else uuid4().hex
    # A run that no other process can join ends with this one, whatever happens from here on.
    is_guarded = client_id is None
    run = QueuedRun(settings.base_url, settings.destination, token, client_id, None, is_guarded, is_worker=not ends_run)
    start = CreateRun.model_validate_json(body).start_time
    return RunLog(settings, run, body=body, start=start, flush_s=flush_s)


def _open_queue(settings: ClientSettings, run: QueuedRun, body: str) -> DiskQueue:
    try:
        return DiskQueue.create(settings.queue_folder, run, body=body, max_bytes=settings.max_queue_bytes)
    except (OSError, sqlite3.Error) as error:
        _log.warning("no tracking queue in %s (%s): what waits is lost with this process", settings.queue_folder, error)
        return DiskQueue.create(None, run, body=body, max_bytes=settings.max_queue_bytes)


class RunLog(ForkAware):
    """A run that is being logged; threads may share it, and processes that are forked from this one."""

    def __init__(
        self,
        settings: ClientSettings,
        run: QueuedRun,
        *,
        body: str,
        start: datetime | None,
        flush_s: float,
    ) -> None:
        """Args: body: the request that creates the run; start: the run's, None where the service sets it."""
        self._start, self._opened, self._opened_s = start, datetime.now(UTC), time.monotonic()
        self._settings, self._body, self._client_id = settings, body, run.client_id
        self._flush_s = flush_s
        self._has_ended = self._is_closed = self._is_block = False
        self._ends_run = not run.is_worker
        self._has_others = run.client_id is not None  # other processes may log to it
        self._is_inherited = False
        self._entering = threading.Lock()
        self._begin(run)
        self.watch_forks()

    def _begin(self, run: QueuedRun) -> None:
        """Open this process's own queue of the run, and count from zero what is logged by it."""
        self._mutex = threading.Lock()
        self._dropped: Counter[str] = Counter()
        self._noted = ""  # what the run will count of it
        self._invalid = DeliveryOutcome()
        self._final: LogReport | None = None
        self._queue = _open_queue(self._settings, run, self._body)
        self._sender = Sender(self._queue, TrackingClient(self._settings, attempts=1), holds_run=not self._has_ended)

    def after_fork(self, *, is_child: bool) -> None:
        """Note the fork; the child opens a queue of its own before its first entry."""
        self._has_others = True
        if is_child:
            self._mutex, self._entering = threading.Lock(), threading.Lock()
            self._ends_run = False
            self._is_inherited = not self._is_closed  # queue and sender are those of the other process

    def _enter(self) -> None:
        """Open the queue of a forked process."""
        if not self._is_inherited:
            return
        with self._entering:
            if self._is_inherited:
                self._begin(replace(self._queue.run(), is_guarded=False, is_worker=True))
                self._is_inherited = False
                Finalize(None, self.close, exitpriority=1)  # as the process ends, unless it is killed

    def __reduce__(self) -> str:
        own = f"client_id={self._client_id!r}, ends_run=False" if self._client_id else "a client_id, here and there"
        raise TypeError(f"a tracked run cannot be sent to another process; call track_run there with {own}")

    def log_iteration(self, iteration: int, **fields: Any) -> None:
        """Log an iteration of the run; see `plain` and `without_odd_numbers` for odd values."""
        self._log("iteration", CreateIteration, {"iteration": iteration, **fields})

    def log_sample(self, iteration: int, sample_index: int, **fields: Any) -> None:
        """Log one sample of a step."""
        self._log("sample", CreateSample, {"iteration": iteration, "sample_index": sample_index, **fields})

    def log_samples(self, iteration: int, samples: Iterable[Mapping[str, Any]]) -> None:
        """Log samples of a step; their index is their place in the list."""
        try:
            for index, sample in enumerate(samples):
                if isinstance(sample, Mapping) and not sample.keys() & {"iteration", "sample_index"}:
                    place = {"iteration": iteration, "sample_index": index}
                    self._log("sample", CreateSample, {**place, **sample})
                else:
                    must = "must be a mapping without iteration and sample_index, which its place gives"
                    self._refuse("sample", f"item {index} of the samples {must}")
        except Exception as error:  # a caller's own list may raise anything
            self._refuse("sample", f"the samples cannot be read ({type(error).__name__})")

    def update(self, **changes: Any) -> None:
        """Change the run, as PATCH does. A status that ends it is taken for its end; metadata keep the client_id."""
        if "metadata" in changes:
            changes["metadata"] = _merged(changes["metadata"], {CLIENT_ID: self._client_id} if self._client_id else {})
        if not self._log("update", UpdateRun, changes):
            return
        if changes.get("status") in ("completed", "failed", "cancelled"):
            self._has_ended = True
            self._sender.holds_run = False
            self._guard(False)

    def end(self, status: str, **changes: Any) -> None:
        """End the run as completed, failed or cancelled; once it has ended, this does nothing."""
        self._enter()
        if self._has_ended:
            return
        self._note_dropped()
        if self._start is not None:  # else the service sets both times: it may learn of the run after this moment
            passed = timedelta(seconds=time.monotonic() - self._opened_s)
            changes["end_time"] = max(self._start, self._opened + passed)  # however the clock was set meanwhile
        self.update(status=status, **changes)

    def report(self) -> LogReport:
        """Return what became of what this process logged so far."""
        self._enter()
        if self._final is not None:
            return self._final
        outcome = self._sender.delivery.outcome
        waits = (self._sender.reason,) if self._sender.reason else ()
        return LogReport(
            run_id=self._run_id(),
            sent=dict(outcome.sent),
            waiting=self._queue.waiting(),
            repeated=dict(outcome.repeated),
            dropped=dict(self._dropped),
            refused=dict(outcome.refused + self._invalid.refused),
            reasons=(*outcome.reasons, *self._invalid.reasons, *waits),
            warnings=tuple(outcome.warnings),
        )

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until the service has all that this process logged, at most so long, and return whether it has."""
        self._enter()
        return self._sender.flush(self._flush_s if timeout_s is None else timeout_s)

    def close(self) -> LogReport:
        """Wait as `flush` does, stop logging, and return what became of it all."""
        self._enter()
        if self._is_closed:
            return self.report()
        self._is_closed = True
        self._note_dropped()
        if not (self._has_ended or self._is_block):  # another process may go on with the run
            self._guard(False)
        self._sender.flush(self._flush_s, with_abandoned=self._has_others, is_leaving=not self._ends_run)
        self._final = report = self.report()
        self._sender.close()
        if not report.is_complete:
            _log.warning("tracking of %s is not complete: %s", report.run_id or "a run", report)
        return report

    def __enter__(self) -> Self:
        self._is_block = True
        if self._ends_run:
            self._guard(True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_inherited:
            return  # a forked process that logged nothing
        if not self._ends_run:
            pass  # the run goes on in the process that opened it
        elif error is None:
            self.end("completed")
        else:
            stack = "".join(traceback.format_exception(kind, error, trace))[-MAX_STACK_CHARACTERS:]
            status = "failed" if isinstance(error, Exception) else "cancelled"
            message = f"{type(error).__name__}: {as_text(error, longest=MAX_STACK_CHARACTERS)}"
            self.end(status, error_message=message, error_stack=stack)
        self.close()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *ending: Any) -> None:
        if self._sender.has_thread:
            await asyncio.to_thread(self.__exit__, *ending)
        else:  # the system has none, for this either; nobody is waited for
            self.__exit__(*ending)

    def _log(self, kind: Kind, model: type[BaseModel], fields: dict[str, Any]) -> bool:
        """Return whether the entry is in the queue; where it is not, it is counted."""
        self._enter()
        try:
            body = _body_of(model, fields)
        except TrackingRefused as refused:
            self._refuse(kind, str(refused))
            return False
        except Exception as error:  # a caller's own value may raise anything
            self._refuse(kind, f"{model.__name__} cannot be read ({type(error).__name__})")
            return False
        try:
            is_kept = not self._is_closed and self._queue.put(kind, body)
        except (OSError, sqlite3.Error) as error:
            is_kept = False
            _log.warning("tracking: the queue cannot be written: %s", error)
        if is_kept:
            self._sender.nudge()
        else:
            self._drop(kind)
        return is_kept

    def _run_id(self) -> str | None:
        try:
            return self._queue.run().run_id
        except sqlite3.Error:  # the disk fails, or the sender ended and closed its queue
            return None

    def _refuse(self, kind: Kind, reason: str) -> None:
        with self._mutex:
            self._invalid.refuse(kind, 1, reason)

    def _drop(self, kind: str) -> None:
        with self._mutex:
            self._dropped[kind] += 1
            if self._dropped.total() == 1:
                why = "the run's log is closed" if self._is_closed else "the queue is full"
                _log.warning("tracking drops entries from now on, the run goes on: %s", why)

    def _note_dropped(self) -> None:
        """Let the run's metadata count what was dropped so far."""
        with self._mutex:
            dropped = {DROPPED: dict(self._dropped)}
            note = json.dumps(dropped if self._has_others else {"metadata": dropped})  # alone, its numbers are the sum
            is_new, self._noted = bool(self._dropped) and note != self._noted, note
        if is_new:
            with suppress(OSError, sqlite3.Error):  # said already: what was dropped, was for that
                self._queue.put("update", note)
                self._sender.nudge()

    def _guard(self, is_guarded: bool) -> None:
        try:
            self._queue.guard(is_guarded)
        except (OSError, sqlite3.Error) as error:
            _log.warning("tracking: the queue cannot be written: %s", error)


def _merged(*parts: Any) -> Any:
    """Return the mappings as one; where a part is none, that part, which the model then refuses by its name."""
    odd = [part for part in parts if not isinstance(part, Mapping)]
    return odd[0] if odd else {name: value for part in parts for name, value in part.items()}


def _body_of(model: type[BaseModel], fields: dict[str, Any]) -> str:
    """Return the JSON of an entry; what JSON does not have is written as text."""
    try:
        given = calls.given(model, without_odd_numbers(plain(fields)))
    except ValueError as error:
        raise TrackingRefused(f"{model.__name__}: {error}") from None
    return calls.write(given, fallback=as_text)


def _numbers(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {kind}{'' if number == 1 else 's'}" for kind, number in counts.items())
