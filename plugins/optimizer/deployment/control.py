"""The control: a run that bids what was usual before the optimizer, so that savings are measured and not claimed.

It is written once, when the first run of an entity goes live, from what that run saw in the log: the usual bid of every
segment, without jitter and without multipliers. It keeps its share of the traffic while the runs beside it come and go.
"""

from datetime import datetime

from optimizer.control_plane import deployment_history
from optimizer.control_plane.audit import system
from optimizer.control_plane.control_choices import is_declined
from optimizer.control_plane.entities import read_definition
from optimizer.runs.handle import RunHandle, read_snapshot
from optimizer.runs.systems import Systems


def ensure_control(run: RunHandle, *, systems: Systems, now: datetime) -> str | None:
    """Make the entity's control from its first run, and return its run_id; None where the entity has none.

    Nothing is made where a control is set already, where a user chose none, where the run's control_pct is 0, or where
    another run was live before: then what is usual is what the optimizer bid itself, and a person chooses with
    `optimizer control`.

    Raises:
        ArtifactError: what the run staged is missing or changed.
        UnavailableError: a system is silent.
    """
    entity = read_definition(systems.engine, run.entity_code).entity
    if entity.control_run_id is not None:
        return entity.control_run_id
    if is_declined(systems.engine, entity.entity_id) or deployment_history.was_live(systems.engine, entity.entity_id):
        return None
    if read_snapshot(run, systems).settings.control_pct == 0:
        return None
    # A control is made once: no later run needs the libraries that write tables.
    from optimizer.deployment.control_files import publish_control
    from optimizer.runs.staged_run import StagedRun

    staged = StagedRun.read(run, systems)
    author = system("control", comment=f"the usual bids of the log that run {run.run_id} learned from")
    return publish_control(staged, systems=systems, author=author, now=now)
