"""Start many DAG runs from one task: Airflow's own operator starts one for each task, and each is a process."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from airflow.sdk.exceptions import AirflowFailException, AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import ErrorResponse, TriggerDagRun

log = logging.getLogger(__name__)


def start_dag_runs(starts: Iterable[Mapping[str, Any]]) -> list[str]:
    """Start the DAG runs and return the ids of those that did not exist before; one that fails holds no other up.

    Sends what TriggerDagRunOperator lets the task's supervisor send.

    Args:
        starts: dicts of trigger_dag_id, trigger_run_id and conf.

    Raises:
        AirflowFailException: names each DAG run that Airflow did not start, and why.
    """
    started, problems = [], []
    for start in starts:
        dag_id, run_id = start["trigger_dag_id"], start["trigger_run_id"]
        request = TriggerDagRun(dag_id=dag_id, run_id=run_id, conf=start["conf"], logical_date=None)
        try:
            answer = task_runner.SUPERVISOR_COMMS.send(request)
        except AirflowRuntimeError as error:
            problems.append(f"{run_id} of {dag_id}: {error}")
            continue
        if isinstance(answer, ErrorResponse):
            if answer.error != ErrorType.DAGRUN_ALREADY_EXISTS:
                problems.append(f"{run_id} of {dag_id}: {answer.error}")
            continue
        log.info("started %s of %s", run_id, dag_id)
        started.append(run_id)
    if problems:
        raise AirflowFailException(f"{len(problems)} DAG runs did not start:\n" + "\n".join(problems))
    return started
