"""Answering an entity's approval in Airflow, as the person who presses the button does."""

from typing import Any

from lab.stack.stack import LocalStack
from optimizer.clients.airflow_api import AirflowApi, TaskState

TASK = "approve"


def is_waiting(approve: TaskState | None, stack: LocalStack, *, dag_id: str, dag_run_id: str) -> bool:
    """Return whether the task waits for a person and the scheduler has heard that its process ended.

    The scheduler hears of a waiting task twice: the task's state changes, and a little later its process ends. Airflow
    3.3 takes that end for the death of a task that was answered in between and queued again: it forgets the answer and
    tries the task once more (apache/airflow#67287, #72716). A person is never that quick.
    """
    if approve is None or approve.state != "awaiting_input":
        return False
    ended = f"TaskInstance Finished: dag_id={dag_id}, task_id={TASK}, run_id={dag_run_id}, "
    lines = [line for line in stack.home.log("airflow-scheduler").read_text().splitlines() if ended in line]
    return any("state=awaiting_input, " in line and f"try_number={approve.try_number}, " in line for line in lines)


def read_request(airflow: AirflowApi, *, dag_id: str, dag_run_id: str) -> Any:
    """Return Airflow's human-in-the-loop request of the run."""
    return airflow.request("GET", _path(dag_id, dag_run_id))


def answer(airflow: AirflowApi, option: str, *, dag_id: str, dag_run_id: str, reason: str = "") -> None:
    """Approve or reject the run: option is `Approve` or `Reject`."""
    body = {"chosen_options": [option], "params_input": {"reason": reason}}
    airflow.request("PATCH", _path(dag_id, dag_run_id), json=body)


def _path(dag_id: str, dag_run_id: str) -> str:
    return f"/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{TASK}/-1/hitlDetails"
