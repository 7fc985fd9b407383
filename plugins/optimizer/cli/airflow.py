"""The Airflow that the command line asks for DAGs and DAG runs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from optimizer.clients.airflow_api import AirflowApi, RegisteredDag
from optimizer.errors import RunStateError, UnavailableError

URL_VARIABLE = "OPTIMIZER_AIRFLOW_URL"
USER_VARIABLE = "OPTIMIZER_AIRFLOW_USER"
PASSWORD_VARIABLE = "OPTIMIZER_AIRFLOW_PASSWORD"  # noqa: S105 - the variable's name


class Airflow(Protocol):
    """What Airflow is asked for; all raise UnavailableError where it cannot be asked, ConfigError where it refuses."""

    def dag_run_state(self, dag_id: str, dag_run_id: str) -> str | None:
        """Return the state of the DAG run, None where Airflow has none."""
        ...

    def list_dags(self, prefix: str) -> list[RegisteredDag]:
        """Return the DAGs whose dag_id begins so, stale ones included."""
        ...

    def pool_slots(self, name: str) -> int | None:
        """Return the slots of the pool, None where Airflow has none of this name."""
        ...


@contextmanager
def open_airflow() -> Iterator[Airflow]:
    """Give the Airflow of OPTIMIZER_AIRFLOW_URL, or one that says that the variable is not set."""
    if url := os.environ.get(URL_VARIABLE):
        user, password = os.environ.get(USER_VARIABLE, ""), os.environ.get(PASSWORD_VARIABLE, "")
        with AirflowApi(url, user=user, password=password) as api:
            yield _Answering(api)
    else:
        yield _Unknown()


class _Answering:
    def __init__(self, api: AirflowApi) -> None:
        self._api = api

    def dag_run_state(self, dag_id: str, dag_run_id: str) -> str | None:
        try:
            return self._api.dag_run(dag_id, dag_run_id)
        except RunStateError:  # 404: Airflow answers, and has none
            return None

    def list_dags(self, prefix: str) -> list[RegisteredDag]:
        return self._api.list_dags(prefix=prefix)

    def pool_slots(self, name: str) -> int | None:
        try:
            return self._api.pool_slots(name)
        except RunStateError:
            return None


class _Unknown:
    def dag_run_state(self, dag_id: str, dag_run_id: str) -> str | None:
        raise _not_configured()

    def list_dags(self, prefix: str) -> list[RegisteredDag]:
        raise _not_configured()

    def pool_slots(self, name: str) -> int | None:
        raise _not_configured()


def _not_configured() -> UnavailableError:
    return UnavailableError(
        f"no Airflow to ask for its DAGs and DAG runs; set {URL_VARIABLE}, {USER_VARIABLE} and {PASSWORD_VARIABLE}"
    )
