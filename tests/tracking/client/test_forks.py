"""Processes that are forked while a run is logged: what each logs arrives, once, and none waits for another."""

import asyncio
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from typing import IO

import pytest
from servers.waiting import wait_until

from optimization_tracking.client import AsyncTrackingClient, ClientSettings, RunLog, TrackingClient, calls, track_run
from optimization_tracking.client.abandoned import send_abandoned
from optimization_tracking.client.queue_folder import queue_files
from optimizer.errors import UnavailableError

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


MANY_FORKS = """
import faulthandler, multiprocessing, os, signal, sys, threading, time
from pathlib import Path
from optimization_tracking.client import ClientSettings, track_run

address, key, folder = sys.argv[1:]
settings = ClientSettings(address, key, queue_folder=Path(folder))
faulthandler.enable()
fork = multiprocessing.get_context("fork")
is_over = threading.Event()
logged = []

def log_on(run):
    while not is_over.is_set():
        run.log_iteration(1_000_000 + len(logged), params={"text": "x" * 1000})
        logged.append(1)
        time.sleep(0.001)

with track_run("many forks", optimizer_type="custom", settings=settings, flush_s=60) as run:
    thread = threading.Thread(target=log_on, args=(run,))
    thread.start()
    try:
        for number in range(40):
            worker = fork.Process(target=run.log_iteration, args=(number,))
            worker.start()
            worker.join(60)
            if worker.is_alive():
                os.kill(worker.pid, signal.SIGABRT)  # faulthandler prints where it hangs
                worker.join(60)
            assert worker.exitcode == 0
    finally:
        is_over.set()
        thread.join()
assert run.report().is_complete, run.report()
print(run.report().run_id, 40 + len(logged))
"""


def test_forks_in_many_moments_of_a_busy_log_neither_hang_nor_lose_an_entry(settings, client):
    """In a program of its own: the service's thread, or another test's use of SQLite, would be cut off by a fork."""
    arguments = [settings.base_url, settings.key, str(settings.queue_folder)]
    command = [sys.executable, "-c", MANY_FORKS, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    run_id, logged = ended.stdout.split()
    assert client.read_run(run_id).iterations == int(logged)
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


def log_too_much(run: RunLog, first: int) -> None:
    for number in range(1000):
        run.log_iteration(first + number)
        run.log_sample(first + number, 0)


def test_what_forks_and_the_process_that_opened_the_run_drop_is_counted_together_on_the_run(away):
    settings, back = away
    small = replace(settings, max_queue_bytes=4_000)
    run = track_run("too much", optimizer_type="custom", settings=small, metadata={"mine": 1}, flush_s=0)
    with run:
        log_too_much(run, 0)
        workers = [FORK.Process(target=log_too_much, args=(run, 1000 * number)) for number in (1, 2, 3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
    with back(), TrackingClient(settings) as client:
        resumed = list(send_abandoned(client))
        found = client.read_run(resumed[0].run_id)
    sent = Counter()
    for one in resumed:
        assert not one.outcome.refused
        sent += one.outcome.sent
    dropped = {kind: 4 * 1000 - sent[kind] for kind in ("iteration", "sample")}
    by_process = found.metadata.pop("droppedByProcess")
    assert (found.status, found.metadata) == ("completed", {"mine": 1, "dropped": dropped})
    assert min(dropped.values()) > 0 and len(by_process) == 4


def test_what_was_dropped_is_counted_once_where_the_answer_is_lost_or_others_count_at_the_same_time(away):
    settings, back = away
    small = replace(settings, max_queue_bytes=4_000)
    run = track_run("counted", optimizer_type="custom", settings=small, client_id=f"counted {uuid.uuid4()}", flush_s=0)
    log_too_much(run, 0)
    dropped = run.close().dropped
    with back(), TrackingClient(settings) as client:
        real, changes = client.send, []

        def disturb(call):
            answer = real(call)
            if call.method == "PATCH":
                changes.append(call)
                if len(changes) == 1:
                    raise UnavailableError("the answer is lost")
                if len(changes) == 2:  # another process counts before this one has written its sum
                    other = '{"metadata": {"droppedByProcess": {"other": {"iteration": 5, "update": 1}}}}'
                    real(calls.update_run(call.path.rpartition("/")[2], other))
            return answer

        client.send = disturb
        for is_lost in (True, False):
            with pytest.raises(UnavailableError) if is_lost else nullcontext():
                list(send_abandoned(client))
        (found,) = client.iterate_runs(search="counted")
    assert len(found.metadata["droppedByProcess"]) == 2
    assert found.metadata["dropped"] == {**dropped, "iteration": dropped["iteration"] + 5, "update": 1}


def test_what_was_dropped_before_the_first_fork_is_counted_with_what_the_fork_dropped(settings, client):
    small = replace(settings, max_queue_bytes=400)
    with track_run("ended, then forked", optimizer_type="custom", settings=small, flush_s=30) as run:
        run.log_iteration(0, params={"text": "x" * 1000})
        run.log_sample(0, 0, input="x" * 1000)
        run.end("completed")
        assert run.flush()
        assert client.read_run(run.report().run_id).metadata == {"dropped": {"iteration": 1, "sample": 1}}
        assert in_a_child(lambda: (run.log_iteration(1, params={"text": "x" * 1000}), run.close())) == 0
    found = client.read_run(run.report().run_id)
    assert found.metadata["dropped"] == {"iteration": 2, "sample": 1}


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


def test_a_process_that_forks_before_its_first_request_shares_no_connection_with_its_parent(client):
    runs = [client.create_run(f"forked twice {number}", optimizer_type="custom") for number in range(2)]

    def read(number: int) -> None:
        for _ in range(100):
            assert client.read_run(runs[number].id).run_name == runs[number].run_name

    def fork_and_read() -> None:
        assert in_a_child(lambda: None) == 0
        read(1)

    worker = FORK.Process(target=fork_and_read)
    worker.start()
    read(0)
    worker.join(60)
    assert worker.exitcode == 0


def test_coroutines_of_parent_and_child_do_not_share_a_connection(settings):
    async def read_all(client: AsyncTrackingClient, run) -> None:
        for _ in range(100):
            assert (await client.read_run(run.id)).run_name == run.run_name

    async def create(client: AsyncTrackingClient):
        return [await client.create_run(f"async {number}", optimizer_type="custom") for number in range(2)]

    client = AsyncTrackingClient(settings)
    loop = asyncio.new_event_loop()
    runs = loop.run_until_complete(create(client))
    worker = FORK.Process(target=lambda: asyncio.run(read_all(client, runs[1])))
    worker.start()
    loop.run_until_complete(read_all(client, runs[0]))
    worker.join(60)
    assert worker.exitcode == 0
    loop.run_until_complete(client.close())
    loop.close()


FORKING_THREADS = """
import os, sys, threading
from pathlib import Path
from optimization_tracking.client import ClientSettings, TrackingClient, track_run

address, key, folder = sys.argv[1:]
settings = ClientSettings(address, key, queue_folder=Path(folder))
sys.setswitchinterval(1e-6)

def fork_often():
    for _ in range(100):
        if (process_id := os.fork()) == 0:
            os._exit(0)
        os.waitpid(process_id, 0)

with track_run("forking threads", optimizer_type="custom", settings=settings, flush_s=30) as run:
    threads = [threading.Thread(target=fork_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with track_run("another", optimizer_type="custom", settings=settings, flush_s=30):
        run.log_iteration(1)
print(run.report().is_complete)
"""


def test_threads_that_fork_at_once_do_not_block_each_other(settings):
    arguments = [settings.base_url, settings.key, str(settings.queue_folder)]
    command = [sys.executable, "-c", FORKING_THREADS, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout.strip() == "True", ended.stderr


AFTER_ONE_THAT_RAISES = """
import os, sys
from pathlib import Path
from optimization_tracking.client import ClientSettings, track_run
from optimization_tracking.client.forking import ForkAware

class Faulty(ForkAware):
    def before_fork(self):
        raise RuntimeError("before")

    def after_fork(self, *, is_child):
        raise RuntimeError("after")

address, key, folder = sys.argv[1:]
settings = ClientSettings(address, key, queue_folder=Path(folder))
first, last = Faulty(), Faulty()
first.watch_forks()
with track_run("beside a faulty one", optimizer_type="custom", settings=settings, flush_s=30) as run:
    last.watch_forks()
    for number in range(2):
        if os.fork() == 0:
            run.log_iteration(number)
            sys.exit()
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
    run.log_iteration(2)
print(run.report().run_id)
"""


def test_a_fork_is_told_to_each_whatever_another_one_raises(settings, client):
    arguments = [settings.base_url, settings.key, str(settings.queue_folder)]
    command = [sys.executable, "-c", AFTER_ONE_THAT_RAISES, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "RuntimeError: before" in ended.stderr and "RuntimeError: after" in ended.stderr
    assert client.read_run(ended.stdout.strip()).iterations == 3
    assert queue_files(settings.queue_folder) == []


def test_a_program_that_changes_its_directory_and_forks_goes_on_with_its_queue(settings, client, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    relative = ClientSettings(settings.base_url, settings.key, queue_folder=settings.queue_folder.relative_to(tmp_path))
    with track_run("elsewhere", optimizer_type="custom", settings=relative, flush_s=30) as run:
        run.log_iteration(1)
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert in_a_child(lambda: run.log_iteration(2)) == 0
        run.log_iteration(3)
    assert client.read_run(run.report().run_id).iterations == 3
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert queue_files(settings.queue_folder) == []


def test_a_queue_that_cannot_be_opened_again_after_a_fork_is_sent_once_it_can(away):
    settings, back = away
    moved = settings.queue_folder.with_name("moved")
    with track_run("moved", optimizer_type="custom", settings=settings, flush_s=30) as run:
        run.log_iteration(1)
        settings.queue_folder.rename(moved)
        assert in_a_child(lambda: None) == 0
        moved.rename(settings.queue_folder)
        with back(), TrackingClient(settings) as client:
            assert run.flush(30), run.report()
            assert client.read_run(run.report().run_id).iterations == 1
            run.close()


WITHOUT_THREADS = """
import asyncio, logging, os, sys, threading
from pathlib import Path
from optimization_tracking.client import ClientSettings, track_run

address, key, folder, who = sys.argv[1:]
settings = ClientSettings(address, key, queue_folder=Path(folder))
logging.basicConfig(stream=sys.stdout)

def log_without_threads(run):
    for number in range(1000):
        run.log_iteration(number, params={"text": "x" * 5000})
    assert not run.flush(30)
    run.log_samples(0, [{"score": 1}, {"score": 2}])

def refuse_threads():
    threading.stack_size(1 << 40)

if who == "a fork":
    with track_run("no thread", optimizer_type="custom", settings=settings, flush_s=30) as run:
        run.log_iteration(1000)
        if os.fork() == 0:
            refuse_threads()
            log_without_threads(run)
            sys.exit(0)
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
elif who == "the opener":
    refuse_threads()
    with track_run("no thread", optimizer_type="custom", settings=settings, flush_s=30) as run:
        log_without_threads(run)
        run.log_iteration(1000)
else:
    async def log():
        async with track_run("no thread", optimizer_type="custom", settings=settings, flush_s=30) as run:
            log_without_threads(run)
            run.log_iteration(1000)
    refuse_threads()
    asyncio.run(log())
"""


@pytest.mark.parametrize("who", ["a fork", "the opener", "a coroutine"])
def test_a_process_that_can_start_no_thread_logs_on_disk_for_the_next_one(settings, client, who):
    arguments = [settings.base_url, settings.key, str(settings.queue_folder), who]
    command = [sys.executable, "-c", WITHOUT_THREADS, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert ended.stdout.count("the run goes on: can't start new thread; what is logged stays on disk") == 1
    if who != "a fork":
        (path,) = queue_files(settings.queue_folder)
        assert sum(one.stat().st_size for one in path.parent.iterdir()) < 2 * 1000 * 5000
    with track_run("next", optimizer_type="custom", settings=settings, flush_s=30):
        pass
    list(send_abandoned(client))
    (found, *_) = client.list_runs(search="no thread").data
    assert (found.status, found.iterations, found.samples_stored) == ("completed", 1001, 2)
    assert queue_files(settings.queue_folder) == []


def test_a_process_that_has_neither_a_thread_nor_a_disk_says_what_is_lost(settings, tmp_path):
    (tmp_path / "a file").touch()
    arguments = [settings.base_url, settings.key, str(tmp_path / "a file" / "queue"), "the opener"]
    command = [sys.executable, "-c", WITHOUT_THREADS, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert ended.stdout.count("the run goes on: can't start new thread; what is logged is lost with this process") == 1


WITHOUT_FILES = """
import os, resource, sys
from pathlib import Path
from optimization_tracking.client import ClientSettings, track_run

settings = ClientSettings("https://127.0.0.1:9", "sk_live_x", queue_folder=Path(sys.argv[1]), timeout_s=2)
run = track_run("no file", optimizer_type="custom", settings=settings, flush_s=0)
for spare in range(12):
    if os.fork() == 0:
        last = max(int(number) for number in os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (last + 20, last + 20))
        opened = []
        try:
            while True:
                opened.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            for number in opened[:spare]:
                os.close(number)
        run.log_iteration(spare)
        print(run.close().waiting)
        sys.stdout.flush()
        os._exit(0)
    assert os.wait()[1] == 0
"""


def test_a_fork_that_can_open_no_more_files_logs_without_an_error(tmp_path):
    command = [sys.executable, "-c", WITHOUT_FILES, str(tmp_path / "queue")]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert ended.stdout.splitlines() == ["{'create': 1, 'iteration': 1}"] * 12, ended.stderr


ORPHAN = """
import os, signal, sys
from pathlib import Path
from optimization_tracking.client import ClientSettings, track_run

address, key, folder, *client_id = sys.argv[1:]
settings = ClientSettings(address, key, queue_folder=Path(folder))
named = {"client_id": client_id[0]} if client_id else {}
with track_run("an orphan", optimizer_type="custom", settings=settings, flush_s=30, **named) as run:
    run.flush(30)
    if os.fork() == 0:
        run.log_iteration(1)
        run.flush(30)
        print(run.report().run_id, os.getpid(), flush=True)
        sys.stdin.readline()
        sys.exit()
    os.kill(os.getpid(), signal.SIGSTOP)
"""


@contextmanager
def orphan(settings: ClientSettings, *, client_id: str | None) -> Iterator[tuple[str, int, IO[str]]]:
    """Yield the run of a process that was killed, the process id of its fork, and what ends that at an end of line."""
    arguments = [settings.base_url, settings.key, str(settings.queue_folder), *([client_id] if client_id else [])]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", ORPHAN, *arguments], **pipes) as opened:
        run_id, fork_id = opened.stdout.readline().split()
        opened.kill()
        opened.wait(60)
        yield run_id, int(fork_id), opened.stdin
        opened.stdin.close()
        assert opened.stdout.read() == ""  # the fork has ended


@pytest.mark.parametrize("is_named", [False, True], ids=["without client_id", "with client_id"])
@pytest.mark.parametrize("way", ["ends", "is killed", "is killed, and found by two"])
def test_a_run_whose_process_is_killed_while_a_fork_works_is_ended_after_the_fork(settings, client, is_named, way):
    client_id = f"an orphan {uuid.uuid4()}" if is_named else None
    with orphan(settings, client_id=client_id) as (run_id, fork_id, fork):
        if way != "is killed":
            # The fork's own sender may have had the queue in hand.
            wait_until(lambda: [resumed.run_id for resumed in send_abandoned(client)] == [run_id], "nobody finds it")
            assert client.read_run(run_id).status == "running"
        if way == "ends":
            fork.write("\n")
        else:
            os.kill(fork_id, signal.SIGKILL)
    if way != "ends":
        assert {resumed.run_id for resumed in send_abandoned(client)} == {run_id}
    found = client.read_run(run_id)
    assert (found.status, found.iterations) == ("failed", 1)
    assert queue_files(settings.queue_folder) == []


def test_a_run_that_another_process_opened_again_is_not_ended_for_the_fork_of_a_killed_one(settings, client):
    client_id = f"opened again {uuid.uuid4()}"
    again = track_run("an orphan", optimizer_type="custom", settings=settings, client_id=client_id, flush_s=30)
    with orphan(settings, client_id=client_id) as (run_id, fork_id, _), again as run:
        assert run.flush(), run.report()
        os.kill(fork_id, signal.SIGKILL)
        run.log_iteration(2)
        list(send_abandoned(client))
        assert client.read_run(run_id).status == "running"
    assert run.report().run_id == run_id
    found = client.read_run(run_id)
    assert (found.status, found.iterations) == ("completed", 2)


def test_a_queue_of_an_earlier_release_that_does_not_say_who_logs_it_is_sent(away):
    settings, back = away
    run = track_run("unmarked", optimizer_type="custom", settings=settings, flush_s=0)
    run.log_iteration(1)
    run.close()
    (path,) = queue_files(settings.queue_folder)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("ALTER TABLE run DROP COLUMN is_worker")
    with back(), TrackingClient(settings) as client:
        (resumed,) = send_abandoned(client)
        assert resumed.outcome.sent == {"create": 1, "iteration": 1}
