"""The DAG `monitor`: compares live runs with their forecasts every day."""

from airflow.sdk import get_parsing_context

from optimizer.names import MONITOR_DAG
from optimizer.orchestration.monitor_dag import build_monitor_dag

if get_parsing_context().dag_id in (None, MONITOR_DAG):
    dag = build_monitor_dag()
