"""`optimizer demo` as a person runs it, on a team's own log: all that it prints is in the control plane and on disk.

Most of the stack runs already; tests/stack/test_systems.py has a demo's programs on a home where nothing runs.
"""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from itertools import islice, takewhile
from pathlib import Path

import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from lab.market.events import generate_events
from lab.market.presets import PRESETS
from lab.market.world import World
from lab.stack import LocalStack
from lab.stack.demo_run import BID_COLUMNS, RUN_NUMBERS
from optimizer.artifacts.manifest import Manifest
from optimizer.control_plane import deployment_history, registry, runs
from optimizer.control_plane.engine import open_engine
from optimizer.control_plane.records import Run
from optimizer.core.checks.outcome import outcome_text
from optimizer.presentation.terminal import format_value

ENTITY = "new_client"
STARTED = ("airflow-dag-processor", "airflow-triggerer")
"""What is down, so that the demo starts it: without it the entity's new DAG would not be found, nor approved."""

START_DAY, DAYS, BIDS = date(2026, 1, 5), 30, 20_000


@pytest.fixture
def log(tmp_path: Path) -> dict[str, Path]:
    """Return a small log of one client: bids as Parquet, views and clicks as CSV."""
    world = World.create(7, settings=replace(PRESETS["drugs_com"], object_id=1600, first_day=START_DAY))
    events = generate_events(world, start_day=START_DAY, days=DAYS, bids=BIDS)
    files = {"bids": tmp_path / "bids.parquet", "views": tmp_path / "views.csv", "clicks": tmp_path / "clicks.csv"}
    pq.write_table(events.bids, files["bids"])
    for name in ("views", "clicks"):
        pa_csv.write_csv(getattr(events, name), files[name])
    return files


def optimizer(*arguments: str, home: Path) -> str:
    """Run the command on the home's stack and return what it printed."""
    environment = {**os.environ, "OPTIMIZER_HOME": str(home)}
    environment.pop("OPTIMIZER_CONTROL_PLANE_URL", None)
    command = [sys.executable, "-m", "optimizer.cli.main", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def table(printed: str, title: str) -> list[list[str]]:
    """Return the rows of a printed table, without its heading."""
    lines = [line.rstrip() for line in printed.splitlines()]
    box = list(takewhile(lambda line: not line.startswith("└"), lines[lines.index(title) + 1 :]))
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in box if line.startswith("│")]


def check_printed(printed: str, run: Run, *, objects: Path, files: dict[str, tuple[int | None, int | None]]) -> None:
    """The demo's tables against the run's row, its registered outputs and the files in the object store's folder."""
    outcome = outcome_text(run.validation_status, run.validation_warnings)
    shown_values = {name: format_value(getattr(run, name)) for name in RUN_NUMBERS} | {"validation_status": outcome}
    assert table(printed, f"Run {run.run_id}") == [[name, value] for name, value in shown_values.items()]
    folder = objects / run.s3_output_path.removeprefix("s3://")
    assert f"on this machine: {folder}" in printed
    assert f"report: {(folder / 'report.html').as_uri()}" in printed
    shown = {name: (rows, size) for name, rows, size in table(printed, "Files")}
    assert shown == {name: (format_value(rows), format_value(size)) for name, (rows, size) in files.items()}
    for name, (rows, size) in files.items():
        assert (folder / name).stat().st_size == size
        if name.endswith(".csv"):
            assert (folder / name).read_bytes().count(b"\n") == rows + 1
    with (folder / "suggested_bids.csv").open() as file:
        first = [[row[column] for column in BID_COLUMNS.values()] for row in islice(csv.DictReader(file), 10)]
    assert len(first) == 10
    assert table(printed, "The first ten bids") == [[as_shown(text) for text in row] for row in first]


def as_shown(text: str) -> str:
    for kind in (int, float):
        try:
            return format_value(kind(text))
        except ValueError:
            continue
    return text or "-"


@pytest.fixture
def partly_down(stack: LocalStack) -> Iterator[LocalStack]:
    """Return the stack while STARTED is down."""
    stack.stop(*STARTED)
    yield stack
    stack.start(*STARTED)
    stack.wait_ready(120)


def test_a_demo_on_an_own_log_prints_what_it_left_and_stops_what_it_started(
    partly_down: LocalStack, log: dict[str, Path]
):
    stack, before = partly_down, partly_down.status()
    assert {before[name] for name in STARTED} == {"stopped"}
    options = [part for name, path in log.items() for part in (f"--{name}", str(path))]
    printed = optimizer("demo", "--entity", ENTITY, *options, home=stack.home.path)
    assert stack.status() == before

    engine = open_engine(f"sqlite:///{stack.home.control_plane}")
    found = runs.list_runs(engine, entity_code=ENTITY)
    run, control = sorted(found, key=lambda found: found.trigger_type == "control")
    assert (run.status, run.validation_status, run.total_bids) == ("completed", "passed", BIDS)
    split = [(d.run_id, d.traffic_pct) for d in deployment_history.read_active(engine, ENTITY)]
    assert split == [(run.run_id, 95), (control.run_id, 5)]
    outputs = registry.read_outputs(engine, run.run_id)
    files = {output.s3_key.rsplit("/", 1)[1]: (output.row_count, output.byte_count) for output in outputs}
    check_printed(printed, run, objects=stack.home.objects, files=files)
    manifest = stack.home.objects / run.s3_output_path.removeprefix("s3://") / "manifest.json"
    assert Manifest.model_validate_json(manifest.read_bytes()).run_id == run.run_id
    listed = json.loads(optimizer("runs", ENTITY, "--json", "--local", home=stack.home.path))
    assert {row["run_id"] for row in listed} == {run.run_id, control.run_id}
