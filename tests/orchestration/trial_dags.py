"""DAG files beside the project's own: one that any test may run, one that is due, and one that cannot be imported."""

import shutil
from pathlib import Path

from lab.stack.home import PROJECT

TRIAL = """
import time
from datetime import UTC, datetime

from airflow.sdk import dag, task


@dag(schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC))
def trial():
    @task(pool="optimizer_training")
    def read_warehouse() -> str:
        from airflow.providers.snowflake.hooks.snowflake import SnowflakeHook

        return SnowflakeHook("optimizer_warehouse").get_first("SELECT CURRENT_DATABASE()")[0]

    @task
    def sleep(database: str, **context) -> None:
        assert database == "OPTIMIZER"
        time.sleep(context["dag_run"].conf["sleep_s"])

    sleep(read_warehouse())


trial()
"""

DUE = """
from datetime import UTC, datetime

from airflow.sdk import DAG

with DAG("due", schedule="@once", start_date=datetime(2026, 1, 1, tzinfo=UTC), is_paused_upon_creation=False):
    pass
"""
"""Its one run is due from the first look of a scheduler that obeys schedules."""

BROKEN = "import airflow\nraise ValueError('this dag is broken on purpose')\n"


def make_project(folder: Path) -> Path:
    """Return the folder, which gets a folder dags with the project's files and these."""
    dags = shutil.copytree(PROJECT / "dags", folder / "dags", ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in (("trial", TRIAL), ("due", DUE), ("broken", BROKEN)):
        (dags / f"{name}.py").write_text(text)
    return folder
