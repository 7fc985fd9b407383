"""What each task of an entity's DAG calls: Airflow's context in, the pipeline's step, a small dict out.

The steps are imported when a task runs, not when the DAG file is parsed: they bring pandas and its dependencies.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from typing import Any

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowSkipException

from optimizer.control_plane.audit import MAX_COMMENT
from optimizer.names import DAG_PREFIX, DASK_SCHEDULER_VARIABLE

_TRIGGER_TYPES = {"scheduled": "cron", "manual": "manual", "asset_triggered": "asset", "backfill": "backfill"}


@contextmanager
def skipping_cancelled() -> Iterator[None]:
    """Skip the task where its run was cancelled: nothing failed, so nothing is red."""
    from optimizer.errors import RunCancelled

    try:
        yield
    except RunCancelled as cancelled:
        raise AirflowSkipException(str(cancelled)) from cancelled


@skipping_cancelled()
def snapshot_config(entity_code: str) -> dict[str, str]:
    """Return the started run; the values of this run alone are those of the trigger form."""
    from optimizer.orchestration.connections import connect_systems
    from optimizer.steps import snapshot_config

    dag_run = get_current_context()["dag_run"]
    values = dict(dag_run.conf or {})
    run_type = str(getattr(dag_run.run_type, "value", dag_run.run_type))
    request = snapshot_config.RunRequest(
        entity_code=entity_code,
        dag_id=dag_run.dag_id,
        dag_run_id=dag_run.run_id,
        as_of=dag_run.logical_date or dag_run.run_after,
        triggered_by=getattr(dag_run, "triggering_user_name", None) or "airflow",
        trigger_type=_TRIGGER_TYPES.get(run_type, run_type),
        run_id=values.pop("run_id", None),
        values=values,
    )
    return snapshot_config.snapshot_config(request, systems=connect_systems(), now=datetime.now(UTC)).model_dump()


@skipping_cancelled()
def run_step(name: str) -> dict[str, Any]:
    """Run the named step for the DAG run's run and return what it reports."""
    from optimizer.lifecycle.guard import guarded
    from optimizer.orchestration.connections import connect_systems
    from optimizer.runs.handle import RunHandle

    context, now = get_current_context(), datetime.now(UTC)
    threads = context["task"].pool_slots * int(os.environ.get("OPTIMIZER_TRAINING_THREADS", "1"))
    options: dict[str, dict[str, Any]] = {
        "train_models": {"threads": threads, "scheduler": os.environ.get(DASK_SCHEDULER_VARIABLE)},
        "upload": {"now": now},
        "register": {"now": now},
    }
    # The module of this step alone: the others would be imported for nothing.
    body: Callable[..., dict[str, Any]] = getattr(import_module(f"optimizer.steps.{name}"), name)
    step = partial(body, **options.get(name, {}))
    handle = RunHandle.model_validate(run_of(context))
    systems = connect_systems({"entity": handle.entity_code, "run": handle.run_id, "task": name})
    return guarded(handle, lambda own: step(handle, systems=own), name=name, systems=systems, now=now)


def run_of(context: Mapping[str, Any]) -> dict[str, str]:
    """Return what `snapshot_config` returned in the DAG run of the context."""
    run: dict[str, str] = context["ti"].xcom_pull(task_ids="snapshot_config")
    return run


def request_approval(run: Mapping[str, str]) -> Any:
    """Return the ApprovalRequest of a run that needs approval, or the reason why it needs none.

    A request opens the incident `approval_waiting`, and the messages about it are sent.
    """
    from optimizer.orchestration.connections import connect_systems
    from optimizer.runs.handle import RunHandle
    from optimizer.steps import approve

    handle, systems = RunHandle.model_validate(run), connect_systems()
    request = approve.request_of(handle, systems=systems)
    if isinstance(request, approve.ApprovalRequest):
        approve.note_waiting(handle, request, systems=systems, now=datetime.now(UTC))
        _send_messages(handle.entity_code)
    return request


def record_answer(run: Mapping[str, str], answer: Mapping[str, Any], *, is_approved: bool) -> Any:
    """Write who answered and why to opt_audit, and return it as an Answer."""
    from optimizer.orchestration.connections import connect_systems
    from optimizer.runs.handle import RunHandle
    from optimizer.steps import approve

    found = approve.ApprovalAnswer(is_approved, name_of(answer.get("responded_by_user")), reason_of(answer))
    approve.record_answer(RunHandle.model_validate(run), found, systems=connect_systems(), now=datetime.now(UTC))
    return found


def reason_of(answer: Mapping[str, Any]) -> str:
    """Return the reason in the form of an answer, empty where there is none."""
    # Airflow makes a number of a text that looks like one.
    return str((answer.get("params_input") or {}).get("reason") or "").strip()[:MAX_COMMENT]


def explain_rejection(run: Mapping[str, str], answer: Mapping[str, Any]) -> str:
    """Return what became of a request that was not approved, and what to do if the run is wanted."""
    who = name_of(answer.get("responded_by_user"))
    what = "it was not answered in time" if answer.get("timedout") or who is None else f"{who} rejected it"
    if reason := reason_of(answer):
        what = f"{what} ({reason})"
    return (
        f"entity {run['entity_code']}: run {run['run_id']} does not go live: {what}; what was live stays. "
        f"`optimizer deploy {run['entity_code']} {run['run_id']}=100` gives it the traffic by hand"
    )


def name_of(user: Mapping[str, Any] | None) -> str | None:
    """Return the name of an Airflow user, or None if there is none."""
    return None if not user else user.get("name") or user.get("id")


def promote(approval: Mapping[str, Any]) -> dict[str, Any]:
    """Promote the run, or skip with the reason."""
    from optimizer.control_plane.audit import system
    from optimizer.orchestration.connections import connect_systems
    from optimizer.runs.handle import RunHandle
    from optimizer.steps.promote import promote as promote_run

    context = get_current_context()
    result = promote_run(
        RunHandle.model_validate(run_of(context)),
        systems=connect_systems(),
        author=system(context["dag_run"].dag_id),
        now=datetime.now(UTC),
        approved_by=approval["approved_by"],
        comment=approval.get("reason") or "",
    )
    if not result["is_promoted"]:
        raise AirflowSkipException(result["reason"])
    return result


@skipping_cancelled()
def close_run() -> dict[str, Any]:
    """Close the run's row; raise if the run is not a success, skip if it was cancelled."""
    from optimizer.orchestration.connections import connect_systems
    from optimizer.steps import close_run

    context = get_current_context()
    dag_run, instance = context["dag_run"], context["ti"]
    states = instance.get_task_states(dag_id=dag_run.dag_id, run_ids=[dag_run.run_id]).get(dag_run.run_id, {})
    try:
        return close_run.close_run(
            dag_id=dag_run.dag_id,
            dag_run_id=dag_run.run_id,
            failed_tasks=sorted(task_id for task_id, state in states.items() if state == "failed"),
            systems=connect_systems(),
            now=datetime.now(UTC),
        )
    finally:
        _send_messages(dag_run.dag_id.removeprefix(DAG_PREFIX))


def _send_messages(entity_code: str) -> None:
    """Send the messages about the entity's incidents that are due."""
    from optimizer.orchestration import notifiers
    from optimizer.orchestration.connections import connect_control_plane

    notifiers.send_due(entity_code, connect=connect_control_plane)
