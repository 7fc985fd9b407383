"""The locks: the same versions for every Python, and an executor that starts from them."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.version import Version
from project.distribution import PROJECT
from project.installing import uv

LOCKS = (PROJECT / "requirements.txt", PROJECT / "docker/requirements.txt")
IMPORT_EXECUTOR = (
    "from airflow.providers.celery.executors import celery_executor, celery_executor_utils; "
    "print('IMPORTED', celery_executor.CeleryExecutor.__name__)"
)
_PIN = re.compile(r"^(?P<name>[a-z0-9._-]+)==(?P<version>\S+)(?: ; (?P<marker>[^\\]+))? \\$", re.MULTILINE)


def pythons() -> list[str]:
    """The Pythons of this machine that the images may have: 3.11 and newer, one of each minor version."""
    done = uv("python", "list", "--only-installed", "--no-python-downloads", "--output-format", "json", folder=PROJECT)
    listed = json.loads(done.stdout)
    found = {Version(one["version"]).release[:2]: one["path"] for one in listed if one["implementation"] == "cpython"}
    return [path for release, path in sorted(found.items()) if (3, 11) <= release <= (3, 12)]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.relative_to(PROJECT)))
def test_what_the_product_runs_has_one_version_on_every_python_of_the_images(lock: Path):
    versions: dict[str, set[str]] = {}
    for pin in _PIN.finditer(lock.read_text()):
        for python in ("3.11", "3.12", "3.13"):
            marker = Marker(pin["marker"]) if pin["marker"] else None
            if marker is None or marker.evaluate({"python_version": python, "python_full_version": f"{python}.5"}):
                versions.setdefault(pin["name"], set()).add(pin["version"])
    assert len(versions) > 10
    assert {name for name, found in versions.items() if len(found) > 1} <= {
        "numpy-typing-compat",
        "optype",
        "scipy-stubs",
    }, "types alone, which nothing runs"


def test_the_executor_of_the_containers_can_be_imported_from_both_locks_on_every_python_at_hand(tmp_path: Path):
    found = pythons()
    assert found, "not even the Python that runs this test"
    for number, python in enumerate(found):
        folder = tmp_path / str(number)
        own = folder / "bin/python"
        locked = [part for lock in LOCKS for part in ("-r", lock)]
        made = uv("venv", "--python", python, folder, folder=tmp_path)
        assert made.returncode == 0, made.stderr
        filled = uv("pip", "install", "--no-deps", "--require-hashes", "--python", own, *locked, folder=tmp_path)
        assert filled.returncode == 0, filled.stderr
        # Airflow without a home, and without the checkout: what the lock alone brings.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        shown = subprocess.run(
            [own, "-c", IMPORT_EXECUTOR],
            env={**environment, "AIRFLOW_HOME": str(tmp_path / "airflow")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "IMPORTED CeleryExecutor" in shown.stdout, f"{python}: {shown.stderr[-2000:]}"
        shutil.rmtree(folder)
