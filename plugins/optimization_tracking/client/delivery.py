"""From a queue to the service: one request at a time, repeated unchanged until it is answered."""

import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from optimization_tracking.client import calls
from optimization_tracking.client.blocking import TrackingClient
from optimization_tracking.client.calls import Call
from optimization_tracking.client.disk_queue import DiskQueue, QueuedBatch
from optimization_tracking.models.base import CLIENT_ID
from optimization_tracking.models.runs import CreateRun, Run
from optimizer.errors import TrackingRefused, UnavailableError

MAX_REASONS = 10
MAX_NAMES = 10
_DENIED = (401, 403)
DROPPED, BY_PROCESS = "dropped", "droppedByProcess"
"""The keys in a run's metadata that count by kind what its processes dropped: together, and each of them. An update of
a queue with the first one is what its process dropped so far."""
_OF_AN_END = frozenset({"status", "endTime", "errorMessage", "errorStack"})

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class DeliveryOutcome:
    """What became of a run's entries, by kind.

    sent: accepted by the service; repeated: there already; refused: the service will not have them, for `reasons`.
    warnings: what differs between this program's run and the one that it joined.
    """

    sent: Counter[str] = field(default_factory=Counter)
    repeated: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    reasons: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def refuse(self, kind: str, number: int, reason: str) -> None:
        """Count what will never be delivered."""
        self.refused[kind] += number
        if len(self.reasons) < MAX_REASONS:
            self.reasons.append(reason)
            _log.warning("not tracked, %d %s: %s", number, kind, reason)


class Delivery:
    """Sends what a queue holds. What the service refuses is counted with its reason and not sent again."""

    def __init__(self, queue: DiskQueue, client: TrackingClient) -> None:
        self.queue, self._client = queue, client
        self.outcome = DeliveryOutcome()
        self._counting: tuple[str, dict[str, Any]] | None = (
            None  # a batch's key, and what the run should count after it
        )

    def send_next(self) -> bool:
        """Send the next batch, and return whether that was done: there was one, and its time has come.

        The end for a process that died waits while another one holds the run.

        Raises:
            UnavailableError: the service is silent or does not let the key in; the same batch is next again.
        """
        batch = self.queue.next_batch()
        if batch is None:
            return False
        run_id = self.queue.run().run_id
        if batch.kind == "create":
            self._create(batch)
        elif run_id is None:
            self.outcome.refuse(batch.kind, len(batch.bodies), "the service has no such run")
        elif batch.kind == "update":
            if not self._update(run_id, batch):
                return False
        else:
            self._add(run_id, batch, batch.bodies, key=batch.key)
        self.queue.remove(batch)
        return True

    def release(self) -> None:
        """Give up the lease of the queue's process, which has ended; where that fails, it expires."""
        run_id = self.queue.run().run_id
        if run_id is not None:
            with suppress(TrackingRefused, UnavailableError):
                self._client.send(calls.release_run(run_id, self.queue.owner))

    def _create(self, batch: QueuedBatch) -> None:
        run, body = self.queue.run(), batch.bodies[0]
        if run.run_id is not None:  # known to the process that this one was forked from
            return
        try:
            if run.client_id is None:
                created = self._client.send(calls.post_run(body, key=run.token)).data
            else:
                created = self._join(run.client_id, body, key=run.token, own_key=batch.key)
        except TrackingRefused as refused:
            self._judge(refused, "create")
            return
        self.outcome.sent["create"] += 1
        self.queue.name_run(str(created.id))

    def _join(self, client_id: str, body: str, *, key: str, own_key: str) -> Run:
        """Return the run of that id; a new one where there is none.

        All processes that open the run use one key, so that they make one run. Where their words differ, the later ones
        are refused for it and find the run of the first.
        """
        found = self._find(client_id)
        if found is None:
            try:
                created = self._client.send(calls.post_run(body, key=key)).data
            except TrackingRefused as refused:
                self._pass_if_let_in(refused)
                found = self._find(client_id)
                if found is None:  # the key's run no longer has the id, or the request is invalid and is refused again
                    return self._client.send(calls.post_run(body, key=own_key)).data
            else:
                return created
        self._compare(found, body)
        return found

    def _compare(self, found: Run, body: str) -> None:
        try:
            given = CreateRun.model_validate_json(body)
        except ValidationError:  # of another release
            return
        names = [name for name in ("optimizer_type", "direction") if getattr(found, name) != getattr(given, name)]
        keys = sorted(given.config.keys() | found.config.keys())
        names += [f"config.{key}" for key in keys if given.config.get(key) != found.config.get(key)]
        if names:
            more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
            warning = f"the run was opened before with another {', '.join(names[:MAX_NAMES])}{more}, which it keeps"
            self.outcome.warnings.append(warning)
            _log.warning("tracking joins run %s: %s", found.id, warning)

    def _find(self, client_id: str) -> Run | None:
        filters = {"metadata": json.dumps({CLIENT_ID: client_id}), "limit": 1, "include_total": False}
        found = self._client.send(calls.list_runs(filters)).data
        return found[0] if found else None

    def _update(self, run_id: str, batch: QueuedBatch) -> bool:
        change = json.loads(batch.bodies[0])
        try:
            if DROPPED in change:
                self._count_dropped(run_id, change[DROPPED])
                return True
            if not self._change(run_id, batch.bodies[0], change):
                return False
            self.outcome.sent["update"] += 1
        except TrackingRefused as refused:
            self._judge(refused, "update")
        return True

    def _count_dropped(self, run_id: str, dropped: Mapping[str, int]) -> None:
        """Let the run's metadata have what this queue's process dropped, and the sum over all its processes.

        Who writes a sum that others have changed meanwhile sees it in the answer, and writes the new one: nobody waits.
        """
        change: dict[str, Any] = {BY_PROCESS: {self.queue.owner: dropped}}
        while True:
            metadata = self._client.send(calls.update_run(run_id, json.dumps({"metadata": change}))).data.metadata
            total: Counter[str] = Counter()
            for numbers in metadata[BY_PROCESS].values():
                if isinstance(numbers, dict):  # a caller may write there, too
                    total.update({kind: number for kind, number in numbers.items() if isinstance(number, int)})
            counted = metadata.get(DROPPED)
            if isinstance(counted, dict) and total.items() <= counted.items():
                return
            change = {DROPPED: total}

    def _change(self, run_id: str, body: str, change: dict[str, Any]) -> bool:
        """Change the run, with what the service takes of it if that is not all; False where that is to wait.

        Where the run has ended otherwise already, the rest of the change is made all the same, and the end is refused;
        where a value of the change is refused, the end is made all the same.
        An end for a process that died gives up its lease first; it waits while another process works on the run.
        """
        is_for_dead = change.get("ifUnowned", False)
        if is_for_dead:
            self._client.send(calls.release_run(run_id, self.queue.owner))
        try:
            changed = self._client.send(calls.update_run(run_id, body)).data
        except TrackingRefused as refused:
            if refused.status == 422 and not change.keys() <= _OF_AN_END:
                if end := {name: value for name, value in change.items() if name in _OF_AN_END}:
                    self._client.send(calls.update_run(run_id, json.dumps(end)))
                raise
            if refused.status != 409 or "status" not in change:
                raise
            if is_for_dead:
                _log.info("tracking leaves run %s as it is: %s", run_id, refused)
                return self._has_ended(run_id)
            if rest := {name: value for name, value in change.items() if name not in _OF_AN_END}:
                self._client.send(calls.update_run(run_id, json.dumps(rest)))
            raise
        if changed.stated_end_time is not None and "endTime" in change:
            warning = "the run's end is before its start, by the clock of this machine; the service set the end"
            self.outcome.warnings.append(warning)
            _log.warning("tracking of run %s: %s", run_id, warning)
        return True

    def _has_ended(self, run_id: str) -> bool:
        return self._read(run_id).status not in ("pending", "running")

    def _read(self, run_id: str) -> Run:
        return self._client.send(calls.read_run(run_id, {"include_iterations": False})).data

    def _add(self, run_id: str, batch: QueuedBatch, bodies: tuple[str, ...], *, key: str) -> None:
        """Send rows; where they are refused together, each half alone, so that a bad row blocks no other."""
        add: Callable[..., Call[Any]] = calls.add_iterations if batch.kind == "iteration" else calls.add_samples
        try:
            self._client.send(add(run_id, bodies, key=key))
            self.outcome.sent[batch.kind] += len(bodies)
        except TrackingRefused as refused:
            if len(bodies) == 1 or refused.status == 404:
                self._judge(refused, batch.kind, len(bodies))
                return
            self._pass_if_let_in(refused)
            middle = len(bodies) // 2
            self._add(run_id, batch, bodies[:middle], key=f"{key}.0")
            self._add(run_id, batch, bodies[middle:], key=f"{key}.1")

    def _judge(self, refused: TrackingRefused, kind: str, number: int = 1) -> None:
        self._pass_if_let_in(refused)
        if refused.status == 409 and kind in ("iteration", "sample"):
            self.outcome.repeated[kind] += number
        else:
            self.outcome.refuse(kind, number, str(refused))

    def _pass_if_let_in(self, refused: TrackingRefused) -> None:
        """A key can be fixed, and what waits is then sent: until that it is as if the service were away."""
        if refused.status in _DENIED:
            raise UnavailableError(str(refused)) from refused
