"""The three systems through Airflow's hooks; which database the control plane is, its connection's type says."""

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.mysql.hooks.mysql import MySqlHook
from airflow.providers.snowflake.hooks.snowflake import SnowflakeHook
from airflow.providers.sqlite.hooks.sqlite import SqliteHook
from airflow.sdk import BaseHook
from sqlalchemy import Engine

from optimizer.artifacts.store import ObjectStore
from optimizer.control_plane.engine import open_engine_from
from optimizer.errors import ConfigError
from optimizer.pipeline.systems import Systems

CONTROL_PLANE_CONNECTION = "optimizer_control_plane"
WAREHOUSE_CONNECTION = "optimizer_warehouse"
OBJECTS_CONNECTION = "optimizer_objects"

MYSQL_CLIENT = "mysql-connector-python"


def connect_systems() -> Systems:
    """Return the systems of one task."""
    return Systems(
        engine=connect_control_plane(),
        store=ObjectStore(S3Hook(aws_conn_id=OBJECTS_CONNECTION).get_conn()),
        connect_warehouse=SnowflakeHook(snowflake_conn_id=WAREHOUSE_CONNECTION).get_conn,
    )


def connect_control_plane() -> Engine:
    """Return an engine on the control plane.

    Raises:
        ConfigError: the connection's type is neither mysql nor sqlite, or its MySQL client is not the one we install.
    """
    connection = BaseHook.get_connection(CONTROL_PLANE_CONNECTION)
    if connection.conn_type == "sqlite":
        return open_engine_from(SqliteHook(sqlite_conn_id=CONTROL_PLANE_CONNECTION).get_conn, dialect="sqlite")
    if connection.conn_type == "mysql":
        if (client := connection.extra_dejson.get("client")) != MYSQL_CLIENT:
            raise ConfigError(
                f"the Airflow connection {CONTROL_PLANE_CONNECTION} has client={client!r} in its extra; "
                f'set it to {{"client": "{MYSQL_CLIENT}"}}'
            )
        hook = MySqlHook(mysql_conn_id=CONTROL_PLANE_CONNECTION)
        return open_engine_from(hook.get_conn, dialect="mysql+mysqlconnector")
    raise ConfigError(
        f"the Airflow connection {CONTROL_PLANE_CONNECTION} has conn_type={connection.conn_type!r}; "
        "set it to mysql, or to sqlite for the embedded stack"
    )
