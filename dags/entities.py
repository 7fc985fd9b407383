"""One Airflow DAG for each active row of opt_entities: optimize__<entity_code>."""

from airflow.sdk import get_parsing_context

from optimizer.orchestration.entity_dag import build_entity_dags

for dag in build_entity_dags(only=get_parsing_context().dag_id):
    globals()[dag.dag_id] = dag
