"""All DAGs of the optimizer in one call, for the DAG file of a site that installs the wheel.

Airflow skips a file without the words `airflow` and `dag`. The import of this module has both.
"""

from airflow.sdk import DAG, get_parsing_context

from optimizer.names import MONITOR_DAG, PENDING_RUNS_DAG
from optimizer.orchestration.deploy_dag import DEPLOY_DAG, build_deploy_dag
from optimizer.orchestration.entity_dag import build_entity_dags
from optimizer.orchestration.monitor_dag import build_monitor_dag
from optimizer.orchestration.pending_runs_dag import build_pending_runs_dag
from optimizer.orchestration.retention_dag import RETENTION_DAG, build_retention_dag

_BUILDERS = {
    DEPLOY_DAG: build_deploy_dag,
    MONITOR_DAG: build_monitor_dag,
    PENDING_RUNS_DAG: build_pending_runs_dag,
    RETENTION_DAG: build_retention_dag,
}


def build_dags() -> dict[str, DAG]:
    """Return the DAGs of the files in dags/ by dag_id; while Airflow runs a task, only the DAG of that task.

    Raises:
        Exception: the control plane cannot be read, and there is no snapshot of the entities yet.
    """
    only = get_parsing_context().dag_id
    if only in _BUILDERS:
        return {only: _BUILDERS[only]()}
    dags = build_entity_dags(only=only)
    if only is None:
        dags += [build() for build in _BUILDERS.values()]
    return {dag.dag_id: dag for dag in dags}
