"""Queues of processes that ended before theirs were empty: killed, or tired of waiting for the service."""

import logging
import sqlite3
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from optimization_tracking.client import calls
from optimization_tracking.client.blocking import TrackingClient
from optimization_tracking.client.delivery import Delivery, DeliveryOutcome
from optimization_tracking.client.disk_queue import DiskQueue, UnreadableQueue
from optimization_tracking.client.queue_folder import living_client_ids, queue_files
from optimization_tracking.models.runs import UpdateRun

LEFT_OPEN = "the process that logged this run ended before the run did"

_log = logging.getLogger(__name__)

_END = {"status": "failed", "error_message": LEFT_OPEN, "if_unowned": True}


def adopt_abandoned(client: TrackingClient, *, of_any_key: bool = False) -> Iterator[Delivery]:
    """Yield what sends each abandoned queue of the client's folder and destination; the caller closes its queue.

    A run that its process had in hand when it was killed is ended as failed, unless another process logs to
    it: of this machine, or with a lease. A queue whose end waits for a process that turns out to have ended, too, comes
    once more after that one's.

    Args:
        of_any_key: also what was logged with another key for the same address, as after a rotation.
    """
    paths = deque(queue_files(client.settings.queue_folder))
    waiting: defaultdict[str | None, list[Path]] = defaultdict(list)
    while paths:
        path = paths.popleft()
        queue = _adopt(path, client, of_any_key=of_any_key)
        if queue is None:
            continue
        yield Delivery(queue, client)
        run_id = queue.run().run_id
        if queue.waiting():
            waiting[run_id].append(path)
        else:
            paths.extend(waiting.pop(run_id, ()))


def _adopt(path: Path, client: TrackingClient, *, of_any_key: bool) -> DiskQueue | None:
    """Return the queue, with the end of the run where that falls to whoever finds it; None where it is not ours."""
    settings = client.settings
    try:
        queue = DiskQueue.adopt(path, max_bytes=settings.max_queue_bytes)
    except UnreadableQueue as error:
        advice = "it is sent later" if error.is_whole else "delete it, or use its release"
        _log.warning("tracking leaves a queue alone that it cannot read: %s; %s", error, advice)
        return None
    if queue is None:
        return None
    run = queue.run()
    if run.base_url != settings.base_url or not (of_any_key or run.destination == settings.destination):
        queue.close()
        return None
    if run.is_guarded:
        if run.client_id is None or run.client_id not in living_client_ids(path, run.base_url):
            queue.put("update", calls.write(calls.given(UpdateRun, _END)))
        queue.guard(False)
    return queue


@dataclass(frozen=True, slots=True)
class Resumed:
    """What became of one abandoned queue; run_id: the service's, None where that would not have the run."""

    path: Path | None
    run_id: str | None
    outcome: DeliveryOutcome


def send_abandoned(client: TrackingClient, *, of_any_key: bool = False) -> Iterator[Resumed]:
    """Send every abandoned queue, and yield what became of each.

    Raises:
        UnavailableError: the service is silent; what was not sent still waits.
    """
    for delivery in adopt_abandoned(client, of_any_key=of_any_key):
        try:
            while delivery.send_next():
                pass
            delivery.release()
            yield Resumed(delivery.queue.path, delivery.queue.run().run_id, delivery.outcome)
        except sqlite3.Error as error:
            _log.warning("tracking leaves the rest of %s alone: %s", delivery.queue.path, error)
        finally:
            delivery.queue.close()
