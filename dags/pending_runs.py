"""The DAG `pending_runs`: starts the runs that the UI inserts, and fails those that died."""

from airflow.sdk import get_parsing_context

from optimizer.names import PENDING_RUNS_DAG
from optimizer.orchestration.pending_runs_dag import build_pending_runs_dag

if get_parsing_context().dag_id in (None, PENDING_RUNS_DAG):
    dag = build_pending_runs_dag()
