"""Imports what the tasks of an entity import, in the process from which Airflow forks its task processes.

Without it, each task imports Airflow's task runner, the hooks and its step anew. LocalExecutor forks from such a
process where it is told to (docs/executors.md, "LocalExecutor"):

    AIRFLOW__SCHEDULER__MP_START_METHOD=forkserver
    AIRFLOW__SCHEDULER__MP_FORKSERVER_PRELOAD=optimizer.orchestration.preload

LightGBM is not among the modules: its threads do not survive a fork.
"""

import gc
from importlib import import_module

from optimizer.artifacts.aws_models import read_s3_models

MODULES = (
    "airflow.executors.local_executor",
    "airflow.sdk.execution_time.cache",
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
    "airflow.dag_processing.dagbag",
    "airflow.providers.amazon.aws.hooks.s3",
    "airflow.providers.snowflake.hooks.snowflake",
    "airflow.providers.sqlite.hooks.sqlite",
    "boto3.s3.inject",
    "pandas.core.arrays.arrow.extension_types",
    "pandas.io.formats.csvs",
    "pyarrow.dataset",
    "pyarrow.pandas_compat",
    "optimization_tracking.client",
    "optimizer.orchestration.entity_dag",
    "optimizer.orchestration.connections",
    "optimizer.orchestration.mysql_hook",
    "optimizer.lifecycle.guard",
    "optimizer.steps.snapshot_config",
    "optimizer.steps.extract",
    "optimizer.steps.select_features",
    "optimizer.steps.train_models",
    "optimizer.steps.compute_bids",
    "optimizer.steps.validate",
    "optimizer.steps.approval_request",
    "optimizer.steps.approve",
    "optimizer.steps.upload",
    "optimizer.steps.register",
    "optimizer.steps.promote",
    "optimizer.steps.close_run",
    "optimizer.reporting.page",
)

for _name in MODULES:
    import_module(_name)
read_s3_models()

# A task's first full garbage collection would read all of it, and so copy every page of it: 0.27 s a task.
gc.collect()
gc.freeze()
