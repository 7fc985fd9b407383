"""Processes that are forked while a run is logged: what each logs arrives, once, and none waits for another."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ProcessPoolExecutor

import pytest

from optimization_tracking.client import RunLog, TrackingClient, track_run
from optimization_tracking.client.queue_folder import queue_files

FORK = multiprocessing.get_context("fork")
PER_WORKER = 100

the_run: RunLog


def log_some(run: RunLog, first: int) -> None:
    for number in range(PER_WORKER):
        run.log_iteration(first + number, score=number)


def log_some_in_the_run(first: int) -> int:
    log_some(the_run, first)
    return os.getpid()


def in_a_child(work) -> int:
    """Run the work in a process that is forked as by os.fork alone, and return how it ended."""
    process_id = os.fork()
    if process_id == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(process_id, 0)[1])


@pytest.mark.parametrize("client_id", [None, "forked"])
def test_forked_processes_log_to_the_run_and_leave_its_end_to_the_one_that_opened_it(settings, client, client_id):
    client_id = client_id and f"{client_id} {uuid.uuid4()}"
    with track_run("forks", optimizer_type="custom", settings=settings, client_id=client_id, flush_s=30) as run:
        run.log_iteration(0)
        workers = [FORK.Process(target=log_some, args=(run, 1000 * number)) for number in (1, 2, 3)]
        for worker in workers:
            worker.start()
        log_some(run, 4000)
        for worker in workers:
            worker.join(60)
        assert [worker.exitcode for worker in workers] == [0, 0, 0]
        error = SystemExit(1)
        assert in_a_child(lambda: run.__exit__(SystemExit, error, None)) == 0
    assert run.report().is_complete, run.report()
    assert run.report().sent == {"create": 1, "iteration": 1 + PER_WORKER, "update": 1}
    found = client.read_run(run.report().run_id)
    assert (found.status, found.error_message, found.iterations) == ("completed", None, 1 + 4 * PER_WORKER)
    assert queue_files(settings.queue_folder) == []


def test_a_pool_that_is_terminated_at_the_end_of_its_block_loses_nothing(settings, client):
    global the_run
    the_run = track_run("a pool", optimizer_type="custom", settings=settings, flush_s=30)
    with the_run, FORK.Pool(3) as pool:
        pool.map(log_some_in_the_run, range(1000, 7000, 1000))
    assert client.read_run(the_run.report().run_id).iterations == 6 * PER_WORKER
    assert queue_files(settings.queue_folder) == []


def test_the_workers_of_an_executor_log_while_threads_of_the_program_do(settings, client):
    global the_run
    with track_run("an executor", optimizer_type="custom", settings=settings, flush_s=30) as the_run:
        threads = [threading.Thread(target=log_some, args=(the_run, 100_000 + 1000 * number)) for number in range(4)]
        for thread in threads:
            thread.start()
        with ProcessPoolExecutor(3, mp_context=FORK) as executor:
            list(executor.map(log_some_in_the_run, range(1000, 21_000, 1000)))
        for thread in threads:
            thread.join()
    assert client.read_run(the_run.report().run_id).iterations == 24 * PER_WORKER
    assert queue_files(settings.queue_folder) == []


def test_forks_in_many_moments_of_a_busy_log_neither_hang_nor_lose_an_entry(settings, client):
    with track_run("many forks", optimizer_type="custom", settings=settings, flush_s=60) as run:
        is_over = threading.Event()
        logged = []

        def log_on() -> None:
            while not is_over.is_set():
                run.log_iteration(1_000_000 + len(logged), params={"text": "x" * 1000})
                logged.append(1)
                time.sleep(0.001)

        thread = threading.Thread(target=log_on)
        thread.start()
        for number in range(40):
            worker = FORK.Process(target=run.log_iteration, args=(number,))
            worker.start()
            worker.join(60)
            assert worker.exitcode == 0
        is_over.set()
        thread.join()
    assert run.report().is_complete, run.report()
    assert client.read_run(run.report().run_id).iterations == 40 + len(logged)
    assert queue_files(settings.queue_folder) == []


def log_and_be_killed(run: RunLog) -> None:
    log_some(run, 1000)
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_fork_has_logged_is_sent_by_the_process_that_opened_the_run(away):
    settings, back = away
    run = track_run("killed", optimizer_type="custom", settings=settings, flush_s=30)
    with back(), TrackingClient(settings) as client:
        with run:
            assert in_a_child(lambda: log_and_be_killed(run)) == -signal.SIGKILL
        found = client.read_run(run.report().run_id)
    assert (found.status, found.iterations) == ("completed", PER_WORKER)
    assert queue_files(settings.queue_folder) == []


PROGRAM = """
import os, sys
from pathlib import Path
from optimization_tracking.client import ClientSettings, track_run

address, key, folder = sys.argv[1:]
settings = ClientSettings(address, key, queue_folder=Path(folder))
with track_run("a fork that exits", optimizer_type="custom", settings=settings, flush_s=30) as run:
    run.log_iteration(1)
    if os.fork() == 0:
        run.log_iteration(2)
        sys.exit(3)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 3
print(run.report().run_id)
"""


def test_a_fork_that_leaves_the_block_sends_what_it_logged_and_does_not_end_the_run(settings, client):
    arguments = [settings.base_url, settings.key, str(settings.queue_folder)]
    ended = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True)
    found = client.read_run(ended.stdout.strip())
    assert (found.status, found.iterations) == ("completed", 2)
    assert "Traceback" not in ended.stderr
    assert queue_files(settings.queue_folder) == []


def test_requests_of_parent_and_child_do_not_share_a_connection(client):
    names = {client.create_run(f"shared {number}", optimizer_type="custom").run_name for number in range(2)}
    runs = {run.run_name: run.id for run in client.iterate_runs(search="shared") if run.run_name in names}

    def read_all() -> None:
        for _ in range(100):
            for name, run_id in runs.items():
                assert client.read_run(run_id).run_name == name

    worker = FORK.Process(target=read_all)
    worker.start()
    read_all()
    worker.join(60)
    assert worker.exitcode == 0
