"""Airflow's hook of a MySQL control plane, with time-outs."""

from typing import Any

from airflow.providers.mysql.hooks.mysql import MySqlHook
from airflow.sdk import Connection

from optimizer.control_plane.engine import driver_options

# Short: the time-out of a DAG file's parse, of 30 s, covers it too.
CONNECT_TIMEOUT_S = 5


class ControlPlaneHook(MySqlHook):
    """Airflow's MySQL hook with time-outs on its connections: Airflow passes none on."""

    def __init__(self, connection_id: str, connection: Connection, *, answer_timeout_s: int) -> None:
        super().__init__(mysql_conn_id=connection_id, connection=connection)
        self._options = driver_options(
            "mysql+mysqlconnector", connect_timeout_s=CONNECT_TIMEOUT_S, answer_timeout_s=answer_timeout_s
        )

    def _get_conn_config_mysql_connector_python(self, conn: Connection) -> dict[str, Any]:
        return {**super()._get_conn_config_mysql_connector_python(conn), **self._options}
