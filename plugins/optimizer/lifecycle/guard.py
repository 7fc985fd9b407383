"""The guard around every step: it stops a run that is no longer running, and records errors on the run's row."""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from optimizer.control_plane import runs, transitions
from optimizer.errors import OptimizerError, RunCancelled
from optimizer.lifecycle.heartbeat import BEAT_S, beating
from optimizer.runs.handle import RunHandle
from optimizer.runs.systems import Systems

log = logging.getLogger(__name__)

REPEATABLE_AFTER_COMPLETION = frozenset({"register"})
"""Steps that check the run's state in their own transaction: a retry may find their work done."""


def guarded(
    run: RunHandle,
    step: Callable[[], dict[str, Any]],
    *,
    name: str,
    systems: Systems,
    now: datetime,
    beat_s: float = BEAT_S,
) -> dict[str, Any]:
    """Return what the step returns, if the run is still running; its error stays on the run until a try succeeds.

    Meanwhile the run's heartbeat is renewed every `beat_s` seconds.

    Raises:
        RunCancelled: a user cancelled the run before the step or while it worked; its result counts for nothing.
        RunStateError: the run was finished before.
    """
    engine = systems.engine
    if not (name in REPEATABLE_AFTER_COMPLETION and runs.read_run(engine, run.run_id).status == "completed"):
        transitions.require_running(engine, run.run_id, now=now)
    try:
        with beating(engine, run.run_id, every_s=beat_s):
            result = step()
    except BaseException as error:  # a time-out of Airflow's is not an Exception
        _note(run, f"{name}: {error}", systems=systems)
        raise
    transitions.clear_error(engine, run.run_id)
    _pass_unless_cancelled(run, systems)
    return result


def _note(run: RunHandle, message: str, *, systems: Systems) -> None:
    """Note the step's error on the run's row; an error in a cancelled run is the cancelling's, and raised as such."""
    try:
        transitions.note_error(systems.engine, run.run_id, message)
        _pass_unless_cancelled(run, systems)
    except RunCancelled:
        raise
    except OptimizerError as silent:
        log.warning("the error of run %s could not be noted on its row: %s", run.run_id, silent)


def _pass_unless_cancelled(run: RunHandle, systems: Systems) -> None:
    row = runs.read_run(systems.engine, run.run_id)
    if row.status == "cancelled":
        raise transitions.wrong_state(row, needed="running")
