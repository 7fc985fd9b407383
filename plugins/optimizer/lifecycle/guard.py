"""The guard around every step: it stops a copy whose run has ended or was taken over, and records errors on the run."""

import logging
import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any
from uuid import uuid4

from optimizer.control_plane import runs, transitions
from optimizer.errors import OptimizerError, RunCompleted, RunStateError
from optimizer.lifecycle.heartbeat import BEAT_S, beating
from optimizer.runs.handle import RunHandle
from optimizer.runs.systems import Systems

log = logging.getLogger(__name__)

COMPLETING = frozenset({"register"})
"""Steps that complete the run, and check its state in the same transaction: a retry may find their work done."""


def guarded(
    run: RunHandle,
    step: Callable[[Systems], dict[str, Any]],
    *,
    name: str,
    systems: Systems,
    now: datetime,
    beat_s: float = BEAT_S,
) -> dict[str, Any]:
    """Return what the step returns, if the run is still its own; its error stays on the run until a try succeeds.

    Of several copies of a task the newest holds the run. The others lose it: they stop at their next write or
    heartbeat, whichever comes first, and so do the steps of a run that ended. Meanwhile the run's heartbeat is renewed
    every `beat_s` seconds.

    Args:
        step: gets the systems, through which it writes only while the run is its own.

    Raises:
        RunCancelled: a user cancelled the run before the step or while it worked; its result counts for nothing.
        RunTaken: another copy of the task took the run over; its result counts for nothing.
        RunStateError: the run was finished before, or failed while the step worked.
    """
    engine, holder = systems.engine, f"{name} {uuid4().hex[:8]} on {socket.gethostname()}"
    try:
        transitions.take_run(engine, run.run_id, holder=holder, now=now)
    except RunCompleted:
        if name not in COMPLETING:
            raise
        log.info("run %s is completed: another copy of %s was first, and its results stand", run.run_id, name)
    own = replace(systems, still_wanted=partial(transitions.require_held, engine, run.run_id, holder=holder))
    try:
        with beating(engine, run.run_id, holder=holder, every_s=beat_s):
            result = step(own)
    except BaseException as error:  # a time-out of Airflow's is not an Exception
        _note(run, error, name=name, holder=holder, systems=systems)
        raise
    transitions.clear_error(engine, run.run_id, holder=holder)
    _pass_while_held(run, name=name, holder=holder, systems=systems)
    return result


def _note(run: RunHandle, error: BaseException, *, name: str, holder: str, systems: Systems) -> None:
    """Note the step's error on the run's row; an error of a copy that lost its run is raised as the loss."""
    try:
        transitions.note_error(systems.engine, run.run_id, f"{name}: {error}", holder=holder)
        _pass_while_held(run, name=name, holder=holder, systems=systems)
    except RunStateError:
        raise
    except OptimizerError as silent:
        log.warning("the error of run %s could not be noted on its row: %s", run.run_id, silent)


def _pass_while_held(run: RunHandle, *, name: str, holder: str, systems: Systems) -> None:
    """Pass while the run is the copy's own, or completed by it or by another copy of the step that completes runs."""
    row = runs.read_run(systems.engine, run.run_id)
    if row.status == "running":
        transitions.check_held(row, holder=holder)
    elif not (row.status == "completed" and name in COMPLETING):
        raise transitions.wrong_state(row, needed="running")
