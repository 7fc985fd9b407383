"""No DAG: what is wrong with entities, as an import error on Airflow's first page; the entities' DAGs stay."""

from optimizer.orchestration.definitions import snapshot_path
from optimizer.orchestration.entity_problems import raise_problems

raise_problems(snapshot_path())
