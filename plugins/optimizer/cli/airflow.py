"""The Airflow that the command line asks for the state of DAG runs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from optimizer.cli.control_plane import URL_VARIABLE as CONTROL_PLANE_VARIABLE
from optimizer.errors import RunStateError, UnavailableError
from optimizer.local.airflow_api import AirflowApi
from optimizer.local.stack import LocalStack
from optimizer.pipeline.claiming import DagRunState

URL_VARIABLE = "OPTIMIZER_AIRFLOW_URL"
USER_VARIABLE = "OPTIMIZER_AIRFLOW_USER"
PASSWORD_VARIABLE = "OPTIMIZER_AIRFLOW_PASSWORD"  # noqa: S105 - the variable's name


@contextmanager
def open_dag_runs() -> Iterator[DagRunState]:
    """Give what tells a DAG run's state, None where there is none; it raises where Airflow cannot be asked.

    Asked is the Airflow of OPTIMIZER_AIRFLOW_URL, else the embedded stack's, if that is where the control plane is.
    """
    if url := os.environ.get(URL_VARIABLE):
        user, password = os.environ.get(USER_VARIABLE, ""), os.environ.get(PASSWORD_VARIABLE, "")
        api = AirflowApi(url, user=user, password=password)
    elif os.environ.get(CONTROL_PLANE_VARIABLE):
        yield _refuse
        return
    else:
        api = LocalStack.open().connect_airflow()
    with api:
        yield lambda dag_id, dag_run_id: _state(api, dag_id, dag_run_id)


def _state(api: AirflowApi, dag_id: str, dag_run_id: str) -> str | None:
    try:
        return api.dag_run(dag_id, dag_run_id)
    except RunStateError:  # 404: Airflow answers, and has none
        return None


def _refuse(dag_id: str, dag_run_id: str) -> str | None:
    raise UnavailableError(
        f"no Airflow was named that could be asked for its DAG runs; set {URL_VARIABLE}, {USER_VARIABLE} and "
        f"{PASSWORD_VARIABLE}"
    )
