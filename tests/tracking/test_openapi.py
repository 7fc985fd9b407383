"""The published description against the running service, by schemathesis."""

import os
import subprocess
import sys

from servers.tracking import Tracking

from optimizer.names import TRACKING_PREFIX

CONFIG = """
[[operations]]  # a GET there asks for the iteration named batch
include-path-regex = "/iterations/batch$"
phases.coverage.unexpected-methods = ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"]
"""


def test_the_service_keeps_what_its_description_says(tracking: Tracking, shop, tmp_path):
    run = shop.create_run()
    shop.add_iteration(run["id"], iteration=0)
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    command = [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "run"]
    command += [f"{tracking.base_url}/openapi.json", f"--url={tracking.base_url.removesuffix(TRACKING_PREFIX)}"]
    command += [f"--header=Authorization: Bearer {tracking.keys['shop']}", "--seed=1"]
    # Beside the key it would send an empty X-API-Key, and every answer would be a refusal of the two.
    command += ["--generation-with-security-parameters=false"]
    # A schema cannot say that a cursor must be one of ours or that an end follows its start.
    command += [
        "--checks=all",
        "--exclude-checks=positive_data_acceptance",
        "--no-color",
        "--phases=examples,coverage,fuzzing,stateful",
        "--max-examples=10",
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, env={**os.environ, "NO_PROXY": "127.0.0.1"}
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-1000:]
    assert "Test cases" in done.stdout
