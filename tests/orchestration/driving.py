"""Whole runs of entities through Airflow's REST API, and their rows."""

from typing import Any

from sqlalchemy import Engine, select

from lab.stack import demo
from optimizer.clients.airflow_api import AirflowApi, TaskState
from optimizer.control_plane import runs, tables
from optimizer.control_plane.records import Run

RUN_TIMEOUT_S = 600
"""Runs take a minute; several where other work shares the machine."""


def dag_of(entity_code: str) -> str:
    return f"optimize__{entity_code}"


def trigger(airflow: AirflowApi, entity_code: str, **conf: Any) -> str:
    """Start a run over the log up to today and return its dag_run_id."""
    dag_id = dag_of(entity_code)
    airflow.wait_for_dag(dag_id, timeout_s=90)
    return airflow.trigger(dag_id, conf={"data_end_dt": demo.today_utc().isoformat(), **conf})


def finish(airflow: AirflowApi, entity_code: str, dag_run_id: str) -> str:
    return airflow.wait_for_run(dag_of(entity_code), dag_run_id, timeout_s=RUN_TIMEOUT_S)


def run_dag(airflow: AirflowApi, dag_id: str, **conf: Any) -> tuple[str, str]:
    """Return the state in which a run of the DAG ended, and its dag_run_id."""
    airflow.wait_for_dag(dag_id, timeout_s=90)
    dag_run_id = airflow.trigger(dag_id, conf=conf)
    return airflow.wait_for_run(dag_id, dag_run_id, timeout_s=RUN_TIMEOUT_S), dag_run_id


def tasks_of(airflow: AirflowApi, entity_code: str, dag_run_id: str) -> dict[str, TaskState]:
    return {task.task_id: task for task in airflow.task_instances(dag_of(entity_code), dag_run_id)}


def row_of(engine: Engine, entity_code: str, dag_run_id: str) -> Run | None:
    return runs.read_run_by_dag_run(engine, dag_id=dag_of(entity_code), dag_run_id=dag_run_id)


def row_count(engine: Engine, dag_run_id: str) -> int:
    with engine.connect() as connection:
        return len(connection.execute(select(tables.runs).where(tables.runs.c.dag_run_id == dag_run_id)).all())
