"""Connections from this process to the local systems, made from the same settings as Airflow's."""

import os
from typing import Any

from lab.stack.environment import NO_PLATFORM, objects_connection, warehouse_connection
from lab.stack.home import StackHome
from lab.stack.settings import StackSettings
from optimizer.clients.airflow_api import AirflowApi
from optimizer.errors import UnavailableError, WarehouseError

LONGEST_STATEMENT_S = 3_600
"""fakesnow answers only when a statement has ended, and refuses the same one when the connector asks again."""

_LOGIN_DENIED = "Incorrect username or password"


def connect_warehouse(settings: StackSettings, *, home: StackHome, timeout_s: int = 30) -> Any:
    """Return an open connection of the Snowflake connector.

    It sets REQUESTS_CA_BUNDLE in this process, the connector's only way to trust one more certificate; the bundle
    holds the usual authorities too. And it sets NO_PLATFORM.

    Raises:
        WarehouseError: the warehouse refuses the password.
        UnavailableError: it does not answer.
    """
    from snowflake.connector import connect
    from snowflake.connector.errors import Error

    os.environ |= {"REQUESTS_CA_BUNDLE": str(home.ca_bundle), **NO_PLATFORM}
    connection = warehouse_connection(settings)
    options = {name: value for name, value in connection["extra"].items() if name != "insecure_mode"}
    try:
        return connect(
            user=connection["login"],
            password=connection["password"],
            schema=connection["schema"],
            disable_ocsp_checks=True,
            no_proxy="localhost",
            login_timeout=timeout_s,
            socket_timeout=LONGEST_STATEMENT_S,
            **options,
        )
    except Error as error:
        kind = WarehouseError if _LOGIN_DENIED in str(error) else UnavailableError
        raise kind(f"the local warehouse on port {settings.warehouse_port}: {error}") from error


def connect_objects(settings: StackSettings, *, timeout_s: float = 30, attempts: int = 3) -> Any:
    """Return a boto3 S3 client."""
    import boto3
    from botocore.config import Config

    connection = objects_connection(settings)
    extra = connection["extra"]
    config = Config(
        **extra["config_kwargs"],
        connect_timeout=timeout_s,
        read_timeout=timeout_s,
        retries={"total_max_attempts": attempts},
        proxies={},
    )
    return boto3.client(
        "s3",
        endpoint_url=extra["endpoint_url"],
        region_name=extra["region_name"],
        aws_access_key_id=connection["login"],
        aws_secret_access_key=connection["password"],
        config=config,
    )


def connect_airflow(settings: StackSettings) -> AirflowApi:
    """Return a client of Airflow's REST API as its administrator."""
    url = f"http://127.0.0.1:{settings.airflow_port}"
    return AirflowApi(url, user=settings.airflow_user, password=settings.airflow_password)
