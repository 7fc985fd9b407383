"""The Airflow that the command line asks for the state of DAG runs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from optimizer.clients.airflow_api import AirflowApi
from optimizer.errors import RunStateError, UnavailableError
from optimizer.lifecycle.claims import DagRunState

URL_VARIABLE = "OPTIMIZER_AIRFLOW_URL"
USER_VARIABLE = "OPTIMIZER_AIRFLOW_USER"
PASSWORD_VARIABLE = "OPTIMIZER_AIRFLOW_PASSWORD"  # noqa: S105 - the variable's name


@contextmanager
def open_dag_runs() -> Iterator[DagRunState]:
    """Give a function that returns the state of a DAG run in the Airflow of OPTIMIZER_AIRFLOW_URL.

    It returns None for a DAG run that Airflow does not have, and raises UnavailableError where Airflow cannot be asked.
    """
    if url := os.environ.get(URL_VARIABLE):
        user, password = os.environ.get(USER_VARIABLE, ""), os.environ.get(PASSWORD_VARIABLE, "")
        with AirflowApi(url, user=user, password=password) as api:
            yield lambda dag_id, dag_run_id: _state(api, dag_id, dag_run_id)
    else:
        yield _refuse


def _state(api: AirflowApi, dag_id: str, dag_run_id: str) -> str | None:
    try:
        return api.dag_run(dag_id, dag_run_id)
    except RunStateError:  # 404: Airflow answers, and has none
        return None


def _refuse(dag_id: str, dag_run_id: str) -> str | None:
    raise UnavailableError(
        f"no Airflow to ask for its DAG runs; set {URL_VARIABLE}, {USER_VARIABLE} and {PASSWORD_VARIABLE}"
    )
