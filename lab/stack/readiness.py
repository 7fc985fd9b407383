"""Ask every system one real question: a program that runs is not yet one that answers."""

import socket
from collections.abc import Iterable

from lab.stack.clients import connect_airflow, connect_objects, connect_warehouse
from lab.stack.home import StackHome
from lab.stack.programs import AIRFLOW
from lab.stack.settings import StackSettings
from lab.stack.tracking import tracking_problem
from optimizer.errors import OptimizerError

# What Airflow's health report calls the programs.
_COMPONENTS = {
    "airflow-api-server": "metadatabase",
    "airflow-scheduler": "scheduler",
    "airflow-dag-processor": "dag_processor",
    "airflow-triggerer": "triggerer",
}


def find_unready(programs: Iterable[str], *, settings: StackSettings, home: StackHome) -> dict[str, str]:
    """Return {program: what is wrong} for those of the programs that do not answer yet."""
    wanted = set(programs)
    problems: dict[str, str | None] = {}
    if "warehouse" in wanted:
        problems["warehouse"] = _warehouse_problem(settings, home)
    if "objects" in wanted:
        problems["objects"] = _objects_problem(settings)
    if "tracking" in wanted:
        problems["tracking"] = tracking_problem(settings)
    if airflow := wanted.intersection(AIRFLOW):
        problems |= _airflow_problems(airflow, settings)
    return {program: problem for program, problem in problems.items() if problem}


def _warehouse_problem(settings: StackSettings, home: StackHome) -> str | None:
    # The connector retries a refused connection for many seconds, so knock first.
    if not _is_listening(settings.warehouse_port):
        return f"nothing listens on port {settings.warehouse_port}"
    try:
        with connect_warehouse(settings, home=home, timeout_s=10) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1").fetchone()
    except OptimizerError as error:
        return str(error)
    return None


def _objects_problem(settings: StackSettings) -> str | None:
    from botocore.exceptions import BotoCoreError, ClientError

    client = connect_objects(settings, timeout_s=5, attempts=1)
    try:
        client.list_buckets()
    except (BotoCoreError, ClientError) as error:
        return str(error)
    finally:
        client.close()
    return None


def _airflow_problems(programs: set[str], settings: StackSettings) -> dict[str, str | None]:
    try:
        with connect_airflow(settings) as airflow:
            health = airflow.health()
    except OptimizerError as error:
        return dict.fromkeys(programs, str(error))
    statuses = {program: health.get(_COMPONENTS[program]) for program in programs}
    return {program: None if status == "healthy" else f"health is {status}" for program, status in statuses.items()}


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
