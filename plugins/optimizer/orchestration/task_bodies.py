"""What each task of an entity's DAG calls: Airflow's context in, the pipeline's step, a small dict out.

The pipeline is imported when a task runs, not when the DAG file is parsed: it brings pandas and its company.
"""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowSkipException

_TRIGGER_TYPES = {"scheduled": "cron", "manual": "manual", "asset_triggered": "asset", "backfill": "backfill"}


def snapshot_config(entity_code: str) -> dict[str, str]:
    """Return the started run; the values of this run alone are those of the trigger form."""
    from optimizer.orchestration.connections import connect_systems
    from optimizer.pipeline import opening

    dag_run = get_current_context()["dag_run"]
    values = dict(dag_run.conf or {})
    run_type = str(getattr(dag_run.run_type, "value", dag_run.run_type))
    request = opening.RunRequest(
        entity_code=entity_code,
        dag_id=dag_run.dag_id,
        dag_run_id=dag_run.run_id,
        as_of=dag_run.logical_date or dag_run.run_after,
        triggered_by=getattr(dag_run, "triggering_user_name", None) or "airflow",
        trigger_type=_TRIGGER_TYPES.get(run_type, run_type),
        run_id=values.pop("run_id", None),
        values=values,
    )
    return opening.snapshot_config(request, systems=connect_systems(), now=datetime.now(UTC)).model_dump()


def run_step(name: str, run: dict[str, str]) -> dict[str, Any]:
    """Run the named step of the pipeline for the run and return what it reports."""
    from optimizer.orchestration.connections import connect_systems
    from optimizer.pipeline import bidding, learning, publishing, validating
    from optimizer.pipeline.closing import guarded
    from optimizer.pipeline.run import RunHandle

    now = datetime.now(UTC)
    steps: dict[str, Callable[..., dict[str, Any]]] = {
        "extract": learning.extract,
        "select_features": learning.choose_features,
        "train_models": partial(learning.train_models, threads=int(os.environ.get("OPTIMIZER_TRAINING_THREADS", "1"))),
        "compute_bids": bidding.compute_bids,
        "validate": validating.validate,
        "upload": partial(publishing.upload, now=now),
        "register": partial(publishing.register, now=now),
    }
    handle, systems = RunHandle.model_validate(run), connect_systems()
    return guarded(handle, partial(steps[name], handle, systems=systems), name=name, systems=systems, now=now)


def promote(run: dict[str, str]) -> dict[str, Any]:
    """Promote the run, or skip with the reason."""
    from optimizer.orchestration.connections import connect_systems
    from optimizer.pipeline import publishing
    from optimizer.pipeline.run import RunHandle

    handle = RunHandle.model_validate(run)
    deployed_by = f"airflow:{get_current_context()['dag_run'].dag_id}"
    result = publishing.promote(handle, systems=connect_systems(), deployed_by=deployed_by, now=datetime.now(UTC))
    if not result["is_promoted"]:
        raise AirflowSkipException(result["reason"])
    return result


def close_run() -> dict[str, Any]:
    """Leave the run's row finished; raise where the run is no success."""
    from optimizer.orchestration.connections import connect_systems
    from optimizer.pipeline import closing

    context = get_current_context()
    dag_run, instance = context["dag_run"], context["ti"]
    states = instance.get_task_states(dag_id=dag_run.dag_id, run_ids=[dag_run.run_id]).get(dag_run.run_id, {})
    return closing.close_run(
        dag_id=dag_run.dag_id,
        dag_run_id=dag_run.run_id,
        failed_tasks=sorted(task_id for task_id, state in states.items() if state == "failed"),
        systems=connect_systems(),
        now=datetime.now(UTC),
    )
