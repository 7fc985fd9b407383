"""The systems through Airflow's hooks; the connection's type selects the control plane's database."""

from typing import Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.mysql.hooks.mysql import MySqlHook
from airflow.providers.snowflake.hooks.snowflake import SnowflakeHook
from airflow.providers.sqlite.hooks.sqlite import SqliteHook
from airflow.sdk import BaseHook, Connection
from sqlalchemy import Engine

from optimization_tracking.client import is_configured, track_run
from optimizer.artifacts.store import ObjectStore
from optimizer.control_plane.engine import ANSWER_TIMEOUT_S, driver_options, open_engine_from
from optimizer.errors import ConfigError
from optimizer.names import CONTROL_PLANE_CONNECTION, OBJECTS_CONNECTION, WAREHOUSE_CONNECTION
from optimizer.runs.systems import Systems

MYSQL_CLIENT = "mysql-connector-python"

# A DAG file has 30 s to be parsed, Airflow's own imports included, and is thrown away with all its DAGs after that.
CONNECT_TIMEOUT_S = 5
PARSE_ANSWER_TIMEOUT_S = 10


class ControlPlaneHook(MySqlHook):
    """Airflow's MySQL hook with time-outs on its connections: Airflow passes none on."""

    def __init__(self, *, answer_timeout_s: int) -> None:
        super().__init__(mysql_conn_id=CONTROL_PLANE_CONNECTION)
        self._options = driver_options(
            "mysql+mysqlconnector", connect_timeout_s=CONNECT_TIMEOUT_S, answer_timeout_s=answer_timeout_s
        )

    def _get_conn_config_mysql_connector_python(self, conn: Connection) -> dict[str, Any]:
        return {**super()._get_conn_config_mysql_connector_python(conn), **self._options}


def connect_systems() -> Systems:
    """Return the systems of one task."""
    return Systems(
        engine=connect_control_plane(answer_timeout_s=ANSWER_TIMEOUT_S),
        store=ObjectStore(S3Hook(aws_conn_id=OBJECTS_CONNECTION).get_conn()),
        connect_warehouse=SnowflakeHook(snowflake_conn_id=WAREHOUSE_CONNECTION).get_conn,
        track_run=track_run if is_configured() else None,
    )


def connect_control_plane(*, answer_timeout_s: int = PARSE_ANSWER_TIMEOUT_S) -> Engine:
    """Return an engine on the control plane, whose statements wait so long for an answer; the default suits parsing.

    Raises:
        ConfigError: the connection's type is neither mysql nor sqlite, or its MySQL client is not the one we install.
    """
    connection = BaseHook.get_connection(CONTROL_PLANE_CONNECTION)
    if connection.conn_type == "sqlite":
        sqlite = SqliteHook(sqlite_conn_id=CONTROL_PLANE_CONNECTION)  # type: ignore[no-untyped-call]
        return open_engine_from(sqlite.get_conn, dialect="sqlite")
    if connection.conn_type == "mysql":
        if (client := connection.extra_dejson.get("client")) != MYSQL_CLIENT:
            raise ConfigError(
                f"the Airflow connection {CONTROL_PLANE_CONNECTION} has client={client!r} in its extra; "
                f'set it to {{"client": "{MYSQL_CLIENT}"}}'
            )
        hook = ControlPlaneHook(answer_timeout_s=answer_timeout_s)
        name = f"control plane {connection.schema} on {connection.host}:{connection.port or 3306}"
        return open_engine_from(hook.get_conn, dialect="mysql+mysqlconnector", name=name)
    raise ConfigError(
        f"the Airflow connection {CONTROL_PLANE_CONNECTION} has conn_type={connection.conn_type!r}; "
        "set it to mysql, or to sqlite for the embedded stack"
    )
