"""The DAG `retention`: every day, objects of runs that are past their retention are removed."""

import logging
import os
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, CronTriggerTimetable, task

from optimizer.orchestration.task_defaults import task_defaults

log = logging.getLogger(__name__)

RETENTION_DAG = "retention"
SCHEDULE = "45 3 * * *"
"""After the monitor, and before the runs of the morning."""

DAYS_VARIABLE = "OPTIMIZER_RETENTION_DAYS"
"""Environment variable with the days that outputs are kept. The DAG is created paused where it is not set."""

_DOC = """\
### Remove old objects of runs

Removes staged files, dry runs and the files of failed runs after 14 days, and outputs of completed runs after
`OPTIMIZER_RETENTION_DAYS` (180). Runs that are or were live within that time, the control and canaries keep theirs.
Rows of opt_runs stay; the bidders' hourly counts go after 90 days. `optimizer retention --dry-run` shows what the next
run removes.

**Owner** the optimizer team. **Red** the object store or the control plane was silent; the next run completes it.

**Paused** when it is created, unless `OPTIMIZER_RETENTION_DAYS` is set: nothing is removed until you unpause it.
"""


def build_retention_dag() -> DAG:
    """Return the DAG; it is the same at every parse."""
    with DAG(
        RETENTION_DAG,
        description="Remove old objects of runs",
        schedule=CronTriggerTimetable(SCHEDULE, timezone="UTC"),
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=timedelta(hours=3),
        is_paused_upon_creation=DAYS_VARIABLE not in os.environ,
        tags={"optimizer"},
        doc_md=_DOC,
        default_args=task_defaults(),
    ) as dag:

        @task(execution_timeout=timedelta(hours=2))
        def remove_old_objects() -> list[dict[str, Any]]:
            """Remove what is past its retention, and return it: one dict a prefix."""
            return _remove_old_objects()

        remove_old_objects()
    return dag


def _remove_old_objects() -> list[dict[str, Any]]:
    from optimizer.control_plane.audit import system
    from optimizer.control_plane.bidder_counts import remove_counts
    from optimizer.lifecycle.retention import COUNT_DAYS, RetentionPolicy, plan_removals, removal_document, remove
    from optimizer.orchestration.connections import connect_systems

    systems, now = connect_systems(), datetime.now(UTC)
    policy = RetentionPolicy(output_days=int(os.environ.get(DAYS_VARIABLE, RetentionPolicy().output_days)))
    remove_counts(systems.engine, before=now - timedelta(days=COUNT_DAYS))
    planned = plan_removals(systems.engine, store=systems.store, policy=policy, now=now)
    done = remove(
        planned, engine=systems.engine, store=systems.store, policy=policy, author=system(RETENTION_DAG), now=now
    )
    for removal in done:
        log.info("removed %s of run %s: %s", removal.what, removal.run.run_id, removal.uri)
    return [{**removal_document(removal), "ended_at": f"{removal.ended_at:%Y-%m-%d}"} for removal in done]
