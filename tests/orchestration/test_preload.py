"""The process from which task processes are forked has loaded what they need, and bears a fork."""

import json
import os
import pkgutil
import subprocess
import sys

import pytest

import optimizer.steps
from optimizer.names import THREAD_VARIABLES

PROGRAM = """
import gc, json, os, sys
import optimizer.orchestration.preload
from boto3.session import Session
from optimizer.artifacts.aws_models import share_models

files = []
sys.addaudithook(lambda event, given: files.append(str(given[0])) if event == "open" else None)
session = Session(aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1")
share_models(session)
session.client("s3")

tasks = set(os.listdir("/proc/self/task")) - {str(os.getpid())}
threads = [open(f"/proc/self/task/{task}/comm").read().strip() for task in tasks]
print(json.dumps({"modules": sorted(sys.modules), "threads": threads, "frozen": gc.get_freeze_count(), "files": files}))
"""


@pytest.fixture(scope="module")
def preloaded(tmp_path_factory) -> dict:
    own = {"AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow")), **dict.fromkeys(THREAD_VARIABLES, "1")}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_step_is_loaded_with_the_hooks_of_the_systems(preloaded):
    steps = {f"optimizer.steps.{module.name}" for module in pkgutil.iter_modules(optimizer.steps.__path__)}
    hooks = {"optimizer.orchestration.mysql_hook", "airflow.providers.amazon.aws.hooks.s3", "snowflake.connector"}
    assert steps | hooks <= set(preloaded["modules"])


def test_no_thread_runs_and_no_library_is_loaded_whose_threads_do_not_survive_a_fork(preloaded):
    assert set(preloaded["threads"]) <= {"jemalloc_bg_thd"}  # Arrow's allocator, which knows of forks
    assert not {"lightgbm", "dask", "distributed"} & set(preloaded["modules"])


def test_what_is_loaded_is_out_of_later_garbage_collections(preloaded):
    assert preloaded["frozen"] > 100_000


def test_a_client_of_the_object_store_reads_no_description_of_its_service_again(preloaded):
    assert not [file for file in preloaded["files"] if "botocore" in file]
