"""The tasks of an entity's DAG, in their order: each is one call of `task_bodies`."""

from datetime import timedelta
from typing import Any

from airflow.sdk import task

from optimizer.names import TRAINING_POOL
from optimizer.orchestration import task_bodies


@task(execution_timeout=timedelta(minutes=5))
def snapshot_config(entity_code: str) -> dict[str, str]:
    """Find or make the run's row, check its config and freeze it."""
    return task_bodies.snapshot_config(entity_code)


@task(execution_timeout=timedelta(hours=2))
def extract() -> dict[str, Any]:
    """Bring the window's cells from the warehouse to the staging prefix."""
    return task_bodies.run_step("extract")


@task(execution_timeout=timedelta(minutes=30))
def select_features() -> dict[str, Any]:
    """Choose the features that make up a segment."""
    return task_bodies.run_step("select_features")


@task(execution_timeout=timedelta(hours=2), pool=TRAINING_POOL)
def train_models() -> dict[str, Any]:
    """Fit win rate, landscape and click rate."""
    return task_bodies.run_step("train_models")


@task(execution_timeout=timedelta(minutes=30))
def compute_bids() -> dict[str, Any]:
    """Turn curves into bids and multipliers."""
    return task_bodies.run_step("compute_bids")


@task(execution_timeout=timedelta(minutes=15))
def validate() -> dict[str, Any]:
    """Check the bids; a run that fails here keeps its outputs and is never promoted."""
    return task_bodies.run_step("validate")


@task(execution_timeout=timedelta(minutes=30))
def upload() -> dict[str, Any]:
    """Write the run's files, the manifest last."""
    return task_bodies.run_step("upload")


@task(execution_timeout=timedelta(minutes=5))
def register() -> dict[str, Any]:
    """Write the results to the control plane, which completes the run."""
    return task_bodies.run_step("register")


@task(execution_timeout=timedelta(minutes=5))
def promote(approval: dict[str, Any]) -> dict[str, Any]:
    """Give the run the entity's traffic, or a share of it, as its config says."""
    return task_bodies.promote(approval)


@task(execution_timeout=timedelta(minutes=5))
def close_run() -> dict[str, Any]:
    """Close the run as completed or failed; red if the run should have gone live and did not."""
    return task_bodies.close_run()
