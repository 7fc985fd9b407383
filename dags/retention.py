"""The DAG that removes old objects of runs."""

from airflow.sdk import get_parsing_context

from optimizer.orchestration.retention_dag import RETENTION_DAG, build_retention_dag

if get_parsing_context().dag_id in (None, RETENTION_DAG):
    dag = build_retention_dag()
