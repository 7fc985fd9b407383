"""The environment in which Airflow, its tasks and the command line see the local systems as their connections."""

import json
import os
from pathlib import Path
from typing import Any

from lab.stack.home import StackHome
from lab.stack.settings import StackSettings
from lab.stack.tracking import tracking_url
from optimizer.names import (
    CONTROL_PLANE_CONNECTION,
    OBJECTS_CONNECTION,
    THREAD_VARIABLES,
    TRACKING_API_URL_VARIABLE,
    TRACKING_KEY_VARIABLE,
    TRACKING_QUEUE_VARIABLE,
    TRACKING_URL_VARIABLE,
    WAREHOUSE_CONNECTION,
)

WAREHOUSE_DATABASE = "OPTIMIZER"
WAREHOUSE_SCHEMA = "PUBLIC"

NO_PLATFORM = {"SNOWFLAKE_DISABLE_PLATFORM_DETECTION": "true"}
"""Else each connection of the Snowflake connector asks the metadata services of three clouds whether it runs there."""

PRELOADED = ("airflow.providers.sqlite.hooks.sqlite", "optimizer.orchestration.preload")
"""What the process imports from which all task processes are forked; the product's own module comes last."""


def build_environment(settings: StackSettings, *, home: StackHome, project: Path) -> dict[str, str]:
    """Return all variables that Airflow and the `optimizer` command line need, secrets included.

    Airflow reads the DAGs of `project`; the plugin is the installed one.
    """
    return {
        **_airflow_variables(settings, home, project),
        **_connection_variables(settings, home),
        **_tracking_variables(settings, home),
        **_command_variables(settings),
        "OPTIMIZER_HOME": str(home.path),
        "OPTIMIZER_STATE_DIR": str(home.state),
        "OPTIMIZER_CONTROL_PLANE_URL": f"sqlite:///{home.control_plane}",
        "REQUESTS_CA_BUNDLE": str(home.ca_bundle),
        **NO_PLATFORM,
        # The matrices of a task are small: threads for each core would spend most of their time waiting for each other.
        **dict.fromkeys(THREAD_VARIABLES, "1"),
        **_without_proxy("localhost", "127.0.0.1"),
    }


def build_server_environment(settings: StackSettings) -> dict[str, str]:
    """Return the logins that the servers check, for their own processes only."""
    return {
        "OPTIMIZER_WAREHOUSE_USER": settings.warehouse_user,
        "OPTIMIZER_WAREHOUSE_PASSWORD": settings.warehouse_password,
        "RCLONE_AUTH_KEY": f'"{settings.objects_access_key},{settings.objects_secret_key}"',
    }


def warehouse_connection(settings: StackSettings) -> dict[str, Any]:
    """Return Airflow's connection to the warehouse; the unmodified SnowflakeHook takes it."""
    return {
        "conn_type": "snowflake",
        "login": settings.warehouse_user,
        "password": settings.warehouse_password,
        "schema": WAREHOUSE_SCHEMA,
        "extra": {
            "account": "fakesnow",
            "host": "localhost",
            "port": settings.warehouse_port,
            "database": WAREHOUSE_DATABASE,
            "warehouse": "LOCAL",
            "insecure_mode": True,
            "session_parameters": {"CLIENT_OUT_OF_BAND_TELEMETRY_ENABLED": False},
        },
    }


def objects_connection(settings: StackSettings) -> dict[str, Any]:
    """Return Airflow's connection to the objects."""
    return {
        "conn_type": "aws",
        "login": settings.objects_access_key,
        "password": settings.objects_secret_key,
        "extra": {
            "endpoint_url": f"http://127.0.0.1:{settings.objects_port}",
            "region_name": "us-east-1",
            "config_kwargs": {"s3": {"addressing_style": "path"}},
        },
    }


def _connection_variables(settings: StackSettings, home: StackHome) -> dict[str, str]:
    connections = {
        CONTROL_PLANE_CONNECTION: {"conn_type": "sqlite", "host": str(home.control_plane)},
        WAREHOUSE_CONNECTION: warehouse_connection(settings),
        OBJECTS_CONNECTION: objects_connection(settings),
    }
    return {f"AIRFLOW_CONN_{name.upper()}": json.dumps(connection) for name, connection in connections.items()}


def _tracking_variables(settings: StackSettings, home: StackHome) -> dict[str, str]:
    """Return what the api-server needs to serve tracking, and what a run needs to report there."""
    return {
        TRACKING_URL_VARIABLE: tracking_url(settings),
        TRACKING_API_URL_VARIABLE: f"http://127.0.0.1:{settings.airflow_port}",
        TRACKING_KEY_VARIABLE: settings.tracking_key,
        TRACKING_QUEUE_VARIABLE: str(home.state / "tracking"),
    }


def objects_variables(settings: StackSettings) -> dict[str, str]:
    """Return boto3's own variables for the object store."""
    extra = objects_connection(settings)["extra"]
    return {
        "AWS_ENDPOINT_URL": extra["endpoint_url"],
        "AWS_ACCESS_KEY_ID": settings.objects_access_key,
        "AWS_SECRET_ACCESS_KEY": settings.objects_secret_key,
        "AWS_DEFAULT_REGION": extra["region_name"],
    }


def _command_variables(settings: StackSettings) -> dict[str, str]:
    """Return what the command lines of optimizer and bidder need to reach the objects and Airflow."""
    return {
        **objects_variables(settings),
        "OPTIMIZER_AIRFLOW_URL": f"http://127.0.0.1:{settings.airflow_port}",
        "OPTIMIZER_AIRFLOW_USER": settings.airflow_user,
        "OPTIMIZER_AIRFLOW_PASSWORD": settings.airflow_password,
    }


def _airflow_variables(settings: StackSettings, home: StackHome, project: Path) -> dict[str, str]:
    url = f"http://127.0.0.1:{settings.airflow_port}"
    options = {
        "CORE__DAGS_FOLDER": project / "dags",
        # Empty: the plugin is loaded from the entry point of the installed checkout, and must not be loaded twice.
        "CORE__PLUGINS_FOLDER": home.airflow / "plugins",
        "CORE__LOAD_EXAMPLES": False,
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": 4,
        "SCHEDULER__MP_START_METHOD": "forkserver",
        "SCHEDULER__MP_FORKSERVER_PRELOAD": ",".join(PRELOADED),
        "CORE__FERNET_KEY": settings.airflow_fernet_key,
        "CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{settings.airflow_user}:admin",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": home.airflow_passwords,
        "CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": 10,
        "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home.airflow / 'airflow.db'}",
        "LOGGING__BASE_LOG_FOLDER": home.logs / "airflow",
        "API__HOST": "127.0.0.1",
        "API__PORT": settings.airflow_port,
        "API__BASE_URL": url,
        "API__SECRET_KEY": settings.airflow_session_secret,
        "API_AUTH__JWT_SECRET": settings.airflow_jwt_secret,
        # A row that is new in the control plane is a DAG within a minute.
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 30,
        "DAG_PROCESSOR__REFRESH_INTERVAL": 30,
        "USAGE_DATA_COLLECTION__ENABLED": False,
    }
    variables = {f"AIRFLOW__{name}": str(value) for name, value in options.items()}
    return {"AIRFLOW_HOME": str(home.airflow), "SCARF_ANALYTICS": "false", "DO_NOT_TRACK": "1", **variables}


def _without_proxy(*hosts: str) -> dict[str, str]:
    """Return NO_PROXY in both spellings: a proxy of the machine must not be asked for the loopback."""
    known = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    names = [name for name in known.split(",") if name]
    value = ",".join([*names, *(host for host in hosts if host not in names)])
    return {"NO_PROXY": value, "no_proxy": value}
