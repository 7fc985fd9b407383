"""A project for Airflow whose DAG files are those of this one and a DAG of empty tasks."""

import shutil
from pathlib import Path

from lab.stack.home import PROJECT

BARE_DAG = "bare"
TASKS = 11
"""As many tasks as an entity's DAG has."""

_FILE = f'''\
"""A DAG of as many tasks as an entity's, one after the other, with nothing in them."""

from airflow.sdk import DAG, chain, task

with DAG("{BARE_DAG}", schedule=None, is_paused_upon_creation=False) as dag:

    @task
    def nothing() -> None:
        """Do nothing."""

    chain(*(nothing.override(task_id=f"task_{{number}}")() for number in range({TASKS})))
'''


def make_project(folder: Path) -> Path:
    """Return the folder, which gets a folder dags with this project's files and the bare DAG's."""
    dags = shutil.copytree(PROJECT / "dags", folder / "dags", ignore=shutil.ignore_patterns("__pycache__"))
    (dags / f"{BARE_DAG}.py").write_text(_FILE)
    return folder
