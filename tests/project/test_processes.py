"""How `make test` goes on when a test hangs or ends its process."""

import os
import shutil
import subprocess
import sys

import pytest
from project.distribution import PROJECT

BEFORE = "def test_before():\n    pass\n"
ENDING = """
import os, signal

def test_first():
    pass

def test_that_ends_its_process():
    os.kill(os.getpid(), signal.SIGKILL)

def test_last():
    pass
"""
HANGING = """
import threading
import pytest

@pytest.fixture
def hung():
    threading.Event().wait()

def test_with_a_server_that_hangs(hung):
    pass

def test_that_hangs():
    threading.Event().wait()

def test_last():
    pass
"""


def run(folder, text, *options):
    (folder / "tests").mkdir()
    shutil.copy(PROJECT / "tests" / "conftest.py", folder / "tests")
    (folder / "tests" / "test_a.py").write_text(BEFORE)
    (folder / "tests" / "test_b.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", folder, "--dist=loadscope"]
    command += ["--no-loadscope-reorder", "-o", "faulthandler_timeout=60", *options, folder / "tests"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "tests")}  # for the conftest's plugins
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("processes", [1, 2])
def test_a_test_that_ends_its_process_fails_and_the_others_run(tmp_path, processes):
    done = run(tmp_path, ENDING, f"--numprocesses={processes}")
    assert "1 failed, 3 passed" in done.stdout
    assert "crashed while running 'tests/test_b.py::test_that_ends_its_process'" in done.stdout
    assert done.returncode == 1


def test_a_test_that_hangs_fails_with_the_place_and_the_others_run(tmp_path):
    done = run(tmp_path, HANGING, "--numprocesses=1", "--timeout=1", "--timeout-method=signal")
    assert "1 failed, 2 passed, 1 error" in done.stdout
    assert done.stdout.count("Timeout (>1.0s) from pytest-timeout") >= 2
    assert "threading.Event().wait()" in done.stdout
