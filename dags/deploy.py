"""The DAG `deploy`: set an entity's traffic split, or roll it back."""

from airflow.sdk import get_parsing_context

from optimizer.orchestration.deploy_dag import DEPLOY_DAG, build_deploy_dag

if get_parsing_context().dag_id in (None, DEPLOY_DAG):
    dag = build_deploy_dag()
