"""The default_args that the optimizer's DAGs share.

Every parse of a DAG file imports this module, so it imports Airflow alone.
"""

import os
from datetime import timedelta
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

RETRY_WHAT_CAN_PASS = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception=[
                "optimizer.errors.UnavailableError",
                "airflow.sdk.exceptions.AirflowTaskTimeout",
                "builtins.ConnectionError",
                "builtins.TimeoutError",
            ],
            action=RetryAction.RETRY,
            reason="a system was silent; the same call may succeed later",
        )
    ],
    default=RetryAction.FAIL,
)
"""A worker that dies raises nothing; Airflow retries its task anyway."""


def task_defaults() -> dict[str, Any]:
    """Return the default_args of the optimizer's DAGs: outages are retried, wrong configs are not."""
    return {
        "owner": "optimizer",
        "retries": 3,
        "retry_delay": timedelta(seconds=float(os.environ.get("OPTIMIZER_RETRY_DELAY_S", "60"))),
        "retry_exponential_backoff": 2,
        "max_retry_delay": timedelta(minutes=15),
        "retry_policy": RETRY_WHAT_CAN_PASS,
    }
