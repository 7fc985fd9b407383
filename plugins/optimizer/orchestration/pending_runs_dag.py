"""The DAG `pending_runs`: starts the runs that the UI inserts, sets failed those that died, writes late snapshots.

It is small on purpose: its tasks start every half minute, and what they import costs more than what they do.
"""

import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from airflow.sdk import DAG, DeltaTriggerTimetable, TriggerRule, get_current_context, task

from optimizer.names import PENDING_RUNS_DAG

EVERY = timedelta(seconds=30)
"""With the settling of a request and the start of the tasks, a row is claimed within a minute."""

STARTS_A_TASK = 250

_DOC = """\
### Start what the UI asks for, and find what died

**claim** takes the rows of opt_runs with status `pending` that the UI inserted, each exactly once and 1,000 at a time,
and **start** triggers each entity's DAG for that very row. A request that can never run (wrong config, unknown or
inactive entity, no version) becomes `failed`, with the reason in its error_message.

**fail_zombie_runs** sets failed every open run that gives no sign of life and whose DAG run is gone or has ended.

**write_snapshots** writes the snapshot of each entity whose live split it does not show: one that the UI deployed with
its own SQL, or that could not be written when the split was changed. An entity that cannot be served keeps its
snapshot, and a warning in the log says why.

**Owner** the optimizer team. **Red** means that the control plane, Airflow or the object store was silent, or that an
entity's DAG is not there: its log says which. The next run, half a minute later, tries again; nothing is lost and
nothing is started twice.

**Pause** it and nothing that the UI asks for is started, and bidders without a database may miss a split. `optimizer
doctor` lists what waits, what died, and which snapshots are late.
"""


def build_pending_runs_dag() -> DAG:
    """Return the DAG; it is the same at every parse."""
    with DAG(
        PENDING_RUNS_DAG,
        description="Start the runs that the UI inserts; find runs that died",
        schedule=DeltaTriggerTimetable(EVERY),
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=timedelta(minutes=10),
        is_paused_upon_creation=False,
        tags={"optimizer"},
        doc_md=_DOC,
        # The next run is the retry.
        default_args={"owner": "optimizer", "retries": 0, "execution_timeout": timedelta(minutes=3)},
    ) as dag:

        @task
        def claim() -> list[list[dict[str, Any]]]:
            """Return what to start, for `start_dag_runs`: a dict for each claimed run, in batches."""
            starts = _claim(partial(_dag_run_state, get_current_context()["ti"]))
            return [starts[first : first + STARTS_A_TASK] for first in range(0, len(starts), STARTS_A_TASK)]

        # Mapped, so that no process starts where there is nothing to start. The dag_run_id is the claim's own: a start
        # that is tried again finds what it started.
        @task
        def start(starts: list[dict[str, Any]]) -> list[str]:
            """Start the DAG runs, and return the ids of those that are new."""
            return _start(starts)

        # After the start: a run that was claimed long ago and never started is started, and not found dead.
        @task(trigger_rule=TriggerRule.ALL_DONE)
        def fail_zombie_runs() -> list[dict[str, str]]:
            """Return run_id and reason of each run that died."""
            return _fail_zombie_runs(partial(_dag_run_state, get_current_context()["ti"]))

        start.expand(starts=claim()) >> fail_zombie_runs()

        @task
        def write_snapshots() -> list[str]:
            """Return the codes of the entities whose snapshot was written."""
            return _write_snapshots()

        write_snapshots()
    return dag


def _claim(dag_run_state: Any) -> list[dict[str, Any]]:
    from optimizer.control_plane.engine import ANSWER_TIMEOUT_S
    from optimizer.lifecycle.claims import claim_pending
    from optimizer.orchestration.connections import connect_control_plane

    engine = connect_control_plane(answer_timeout_s=ANSWER_TIMEOUT_S)
    return claim_pending(engine, dag_run_state=dag_run_state, wait=time.sleep, now=datetime.now(UTC))


def _start(starts: list[dict[str, Any]]) -> list[str]:
    from optimizer.orchestration.dag_run_starts import start_dag_runs

    return start_dag_runs(starts)


def _fail_zombie_runs(dag_run_state: Any) -> list[dict[str, str]]:
    from optimizer.control_plane.engine import ANSWER_TIMEOUT_S
    from optimizer.lifecycle.zombie_runs import fail_zombie_runs
    from optimizer.orchestration.connections import connect_control_plane

    engine = connect_control_plane(answer_timeout_s=ANSWER_TIMEOUT_S)
    return fail_zombie_runs(engine, dag_run_state=dag_run_state, now=datetime.now(UTC))


def _write_snapshots() -> list[str]:
    from optimizer.control_plane.engine import ANSWER_TIMEOUT_S
    from optimizer.control_plane.serving_snapshots import list_behind
    from optimizer.orchestration.connections import connect_control_plane

    engine = connect_control_plane(answer_timeout_s=ANSWER_TIMEOUT_S)
    behind = list_behind(engine)
    if not behind:  # the client of the object store takes seconds to import
        return []
    from optimizer.deployment.serving_snapshots import update_late
    from optimizer.orchestration.connections import connect_objects

    return update_late(behind, engine=engine, store=connect_objects(), now=datetime.now(UTC))


def _dag_run_state(instance: Any, dag_id: str, dag_run_id: str) -> str | None:
    """Return the state of the DAG run, None where Airflow has none; asked for its state alone, it would raise then."""
    if instance.get_dr_count(dag_id=dag_id, run_ids=[dag_run_id]) == 0:
        return None
    return str(instance.get_dagrun_state(dag_id=dag_id, run_id=dag_run_id))
