"""The systems through Airflow's hooks; the connection's type selects the control plane's database.

A hook is imported where it is used: to parse a DAG file takes the control plane alone.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from sqlalchemy import Engine

from optimizer.control_plane.engine import ANSWER_TIMEOUT_S, open_engine_from
from optimizer.errors import ConfigError
from optimizer.names import CONSOLE_CONNECTION, CONTROL_PLANE_CONNECTION, OBJECTS_CONNECTION, WAREHOUSE_CONNECTION

if TYPE_CHECKING:
    from optimizer.artifacts.store import ObjectStore
    from optimizer.runs.systems import Systems

MYSQL_CLIENT = "mysql-connector-python"

# A DAG file has 30 s to be parsed, Airflow's own imports included, and is thrown away with all its DAGs after that.
PARSE_ANSWER_TIMEOUT_S = 10

CONSOLE_ANSWER_TIMEOUT_S = 20
"""A person waits for the answer."""


def connect_systems(tag: Mapping[str, str] | None = None) -> "Systems":
    """Return the systems of one task.

    Args:
        tag: what the warehouse's history shows of the task's statements, such as entity, run and task.

    Raises:
        ConfigError: a connection is wrong.
    """
    from optimization_tracking.client import is_configured, track_run
    from optimizer.runs.systems import Systems

    return Systems(
        engine=connect_control_plane(answer_timeout_s=ANSWER_TIMEOUT_S),
        store=connect_objects(),
        connect_warehouse=partial(_open_warehouse, tag or {}),
        track_run=track_run if is_configured() else None,
    )


def _open_warehouse(tag: Mapping[str, str]) -> Any:
    from airflow.providers.snowflake.hooks.snowflake import SnowflakeHook

    from optimizer.warehouse.session import session_parameters

    parameters = session_parameters(tag, statement_timeout_s=os.environ.get("OPTIMIZER_STATEMENT_TIMEOUT_S"))
    own = BaseHook.get_connection(WAREHOUSE_CONNECTION).extra_dejson.get("session_parameters") or {}
    hook = SnowflakeHook(snowflake_conn_id=WAREHOUSE_CONNECTION, session_parameters={**own, **parameters})
    return hook.get_conn()


def connect_objects() -> "ObjectStore":
    """Return the object store alone, which encrypts as the connection's extra says.

    Raises:
        ConfigError: the extra names an encryption that S3 does not have.
    """
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    from optimizer.artifacts.aws_models import share_models
    from optimizer.artifacts.encryption import ALGORITHM_NAME, KMS_KEY_NAME, Encryption
    from optimizer.artifacts.store import ObjectStore

    hook = S3Hook(aws_conn_id=OBJECTS_CONNECTION)
    session = hook.get_session()
    share_models(session)
    # hook.get_conn() searches the sources of all loaded modules for a name to put into the user agent: a tenth of a
    # second or more in every task.
    client = session.client(
        "s3",
        endpoint_url=hook.conn_config.get_service_endpoint_url("s3"),
        config=hook.config,
        verify=hook.verify,
    )
    extra = hook.conn_config.extra_config
    encryption = Encryption.read(extra, algorithm=ALGORITHM_NAME, kms_key_id=KMS_KEY_NAME)
    return ObjectStore(client, encryption)


def connect_console_systems() -> "Systems":
    """Return the systems of the console: its own account of the control plane, where there is a connection for it."""
    try:
        connection_id = BaseHook.get_connection(CONSOLE_CONNECTION).conn_id or CONSOLE_CONNECTION
    except AirflowNotFoundException:
        connection_id = CONTROL_PLANE_CONNECTION
    engine = connect_control_plane(answer_timeout_s=CONSOLE_ANSWER_TIMEOUT_S, connection_id=connection_id)
    return replace(connect_systems(), engine=engine)


def connect_control_plane(
    *, answer_timeout_s: int = PARSE_ANSWER_TIMEOUT_S, connection_id: str = CONTROL_PLANE_CONNECTION
) -> Engine:
    """Return an engine on the control plane.

    Args:
        answer_timeout_s: how long a statement waits for an answer; the default suits the parsing of DAG files.
        connection_id: the Airflow connection, which selects the account.

    Raises:
        ConfigError: the connection's type is neither mysql nor sqlite, or its MySQL client is not the one we install.
    """
    connection = BaseHook.get_connection(connection_id)
    if connection.conn_type == "sqlite":
        from airflow.providers.sqlite.hooks.sqlite import SqliteHook

        sqlite = SqliteHook(sqlite_conn_id=connection_id)  # type: ignore[no-untyped-call]
        return open_engine_from(sqlite.get_conn, dialect="sqlite")
    if connection.conn_type == "mysql":
        if (client := connection.extra_dejson.get("client")) != MYSQL_CLIENT:
            raise ConfigError(
                f"the Airflow connection {connection_id} has client={client!r} in its extra; "
                f'set it to {{"client": "{MYSQL_CLIENT}"}}'
            )
        from optimizer.orchestration.mysql_hook import ControlPlaneHook

        hook = ControlPlaneHook(connection_id, connection, answer_timeout_s=answer_timeout_s)
        name = f"control plane {connection.schema} on {connection.host}:{connection.port or 3306}"
        return open_engine_from(hook.get_conn, dialect="mysql+mysqlconnector", name=name)
    raise ConfigError(
        f"the Airflow connection {connection_id} has conn_type={connection.conn_type!r}; "
        "set it to mysql, or to sqlite for the embedded stack"
    )
