"""Several processes at once, on a file and on a server."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from select import select as wait_readable

import pytest
from control_plane.catalog import NOW, complete_sample, open_sample, sample_results, start_sample
from control_plane.contention import ROUNDS, WORKERS
from sqlalchemy import insert, select

from optimizer.control_plane.audit import Author
from optimizer.control_plane.deployment_history import read_active, read_history
from optimizer.control_plane.deployments import deploy
from optimizer.control_plane.engine import transaction
from optimizer.control_plane.entities import read_definition
from optimizer.control_plane.registry import register_results
from optimizer.control_plane.runs import list_runs
from optimizer.control_plane.splits import group_splits
from optimizer.control_plane.tables import deployments, entities

BACKFILLED_DAYS, TIMEOUT_S = 30, 120
SCRIPT = Path(__file__).with_name("contention.py")


@pytest.fixture(scope="module")
def processes() -> Iterator[list[subprocess.Popen]]:
    """Return processes of contention.py; to start one takes longer than most of what it does."""
    command = [sys.executable, "-W", "error", str(SCRIPT)]
    path = os.pathsep.join(filter(None, (str(SCRIPT.parents[1]), os.environ.get("PYTHONPATH"))))
    options = {"text": True, "env": {**os.environ, "PYTHONPATH": path}}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    started = [subprocess.Popen([*command, str(worker)], **options, **pipes) for worker in range(WORKERS)]
    yield started
    errors = [process.communicate(timeout=TIMEOUT_S)[1] for process in started]
    assert errors == [""] * WORKERS


@pytest.fixture
def contend(engine, url, processes):
    """Return a function that runs one action in several processes at once and returns what each made."""

    def contend(action: str) -> list[list]:
        send(f"{action} {url}")
        assert read() == ["ready\n"] * WORKERS
        send("go")
        return [json.loads(answer) for answer in read()]

    def send(line: str) -> None:
        for process in processes:
            process.stdin.write(f"{line}\n")
            process.stdin.flush()

    def read() -> list[str]:
        """Return a line of each process; one that an error has ended has none, and gives its stack trace."""
        lines = [read_line(process) for process in processes]
        assert all(lines), [process.stderr.read() for process, line in zip(processes, lines, strict=True) if not line]
        return lines

    return contend


def read_line(process: subprocess.Popen) -> str:
    answered, _, _ = wait_readable([process.stdout], [], [], TIMEOUT_S)
    assert answered, f"process {process.pid} is silent"
    return process.stdout.readline()


def test_runs_opened_in_the_same_second_get_ids_of_their_own(engine, contend):
    run_ids = [run_id for made in contend("open_distinct") for run_id in made]
    assert len(set(run_ids)) == WORKERS * ROUNDS
    runs = list_runs(engine, limit=1000)
    assert {run.run_id for run in runs} == set(run_ids)
    assert len({(run.entity_id, run.run_code) for run in runs}) == WORKERS * ROUNDS


def test_one_dag_run_makes_one_row_whichever_comes_first(engine, contend):
    made = contend("open_shared")
    assert all(run_ids == made[0] for run_ids in made)
    assert len(list_runs(engine, limit=1000)) == ROUNDS


def test_deploys_at_once_never_mix(engine, contend):
    complete_sample(engine, "first")
    complete_sample(engine, "second")
    assert {total for seen in contend("deploy_own") for total in seen} == {100}
    active = read_active(engine, "drugs_hcp")
    assert len({row.deployed_by for row in active}) == 1 and sum(row.traffic_pct for row in active) == 100
    assert read_definition(engine, "drugs_hcp").entity.active_run_id == active[0].run_id
    history = read_history(engine, "drugs_hcp", limit=1000)
    assert set(Counter((row.deployed_by, row.deployed_at) for row in history).values()) == {2}
    assert all(row.deactivated_at is not None for row in history if not row.is_active)


def test_deploys_and_rollbacks_at_once_never_mix(engine, contend):
    first, second = complete_sample(engine, "first"), complete_sample(engine, "second")
    for turn in range(WORKERS + 1):  # so much that all can go back
        split = {first: 1 + turn, second: 99 - turn}
        deploy(engine, entity_code="drugs_hcp", split=split, author=Author("before"), now=NOW)
    assert {total for seen in contend("deploy_and_roll_back") for total in seen} == {100}
    active = read_active(engine, "drugs_hcp")
    assert len({row.deployed_by for row in active}) == 1 and sum(row.traffic_pct for row in active) == 100
    assert read_definition(engine, "drugs_hcp").entity.active_run_id == active[0].run_id
    history = read_history(engine, "drugs_hcp", limit=1000)
    assert {split.total_pct for split in group_splits(history)} == {100}
    assert len([row for row in history if row.is_active]) == len(active)
    assert all(row.deactivated_at is not None for row in history if not row.is_active)


def test_of_several_who_roll_back_the_split_they_see_one_does(engine, contend):
    first, second = complete_sample(engine, "first"), complete_sample(engine, "second")
    for split, deployed_by in (({first: 70, second: 30}, "a"), ({first: 100}, "b"), ({second: 100}, "looked at")):
        deploy(engine, entity_code="drugs_hcp", split=split, author=Author(deployed_by), now=NOW)
    assert sorted(did for (did,) in contend("roll_back_seen")) == [False] * (WORKERS - 1) + [True]
    assert [(row.run_id, row.traffic_pct) for row in read_active(engine, "drugs_hcp")] == [(first, 100)]


def test_of_thirty_backfilled_days_in_parallel_and_in_reverse_order_no_older_one_replaces_a_newer_one(engine, contend):
    ends = dict(complete_day(engine, days_ago) for days_ago in range(BACKFILLED_DAYS))
    promoted = [run_id for made in contend("promote_days") for run_id in made]
    live = [
        row.run_id for row in sorted(read_history(engine, "drugs_hcp", limit=1000), key=lambda row: row.deployment_id)
    ]
    assert sorted(live) == sorted(promoted)
    assert [ends[run_id] for run_id in live] == sorted(ends[run_id] for run_id in promoted)
    assert [row.run_id for row in read_active(engine, "drugs_hcp")] == [max(ends, key=ends.__getitem__)]


def complete_day(engine, days_ago: int) -> tuple[str, datetime]:
    """Complete the backfilled run of a day and return its run_id and the end of its data; the newest began first."""
    run = open_sample(engine, f"backfill {days_ago}", now=NOW + timedelta(minutes=days_ago))
    end = NOW - timedelta(days=days_ago)
    start_sample(engine, run.run_id, data_start_at=end - timedelta(days=30), data_end_at=end)
    register_results(engine, run.run_id, results=sample_results(), now=NOW)
    return run.run_id, end


def test_a_deploy_waits_for_the_lock_on_the_entity_and_replaces_the_split_it_finds(engine):
    first, second = complete_sample(engine, "first"), complete_sample(engine, "second")
    of_entity = select(entities).where(entities.c.entity_code == "drugs_hcp").with_for_update()
    with ThreadPoolExecutor(1) as pool:
        with transaction(engine) as connection:
            connection.execute(of_entity)
            waiting = pool.submit(
                deploy, engine, entity_code="drugs_hcp", split={second: 100}, author=Author("me"), now=NOW
            )
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.5)
            connection.execute(insert(deployments).values(run_id=first, entity_id=1, traffic_pct=100))
        assert [row.run_id for row in waiting.result(timeout=60)] == [second]
    assert [row.run_id for row in read_active(engine, "drugs_hcp")] == [second]
