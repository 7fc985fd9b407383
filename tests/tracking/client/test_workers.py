"""Workers of one run that are spawned, or started by a fork server: each opens the run by its client_id."""

import multiprocessing
import os
import signal
import uuid
from dataclasses import dataclass

import pytest

from optimization_tracking.client import ClientSettings, track_run
from optimization_tracking.client.abandoned import send_abandoned
from optimization_tracking.client.queue_folder import queue_files
from optimizer.errors import ConfigError

PER_WORKER = 50


@dataclass(frozen=True)
class Work:
    """What a worker logs to the run of a client_id, and what becomes of it afterwards."""

    settings: ClientSettings
    client_id: str
    fate: str = "leaves"

    def open(self, *, ends_run: bool = False):
        """Return the run, as a worker or as the program that ends it."""
        options = {"settings": self.settings, "client_id": self.client_id, "flush_s": 30}
        return track_run("workers", optimizer_type="custom", ends_run=ends_run, **options)

    def do(self, first: int) -> None:
        with self.open() as run:
            for number in range(first, first + PER_WORKER):
                run.log_iteration(number, score=number)
            if self.fate == "is killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.fate == "fails":
                raise SystemExit(3)

    def do_without_a_block(self, first: int) -> None:
        run = self.open()
        for number in range(first, first + PER_WORKER):
            run.log_iteration(number, score=number)


@pytest.fixture(params=["spawn", "forkserver"])
def method(request):
    return multiprocessing.get_context(request.param)


@pytest.mark.parametrize(("fate", "code"), [("leaves", 0), ("fails", 3), ("is killed", -signal.SIGKILL)])
def test_workers_log_to_the_run_and_leave_its_end_to_the_process_that_ends_it(settings, client, method, fate, code):
    work = Work(settings, f"workers {uuid.uuid4()}", fate)
    with work.open(ends_run=True) as run:
        run.log_iteration(0)
        workers = [method.Process(target=work.do, args=(1000 * number,)) for number in (1, 2, 3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
        assert [worker.exitcode for worker in workers] == [code] * 3
        assert run.flush()
        assert client.read_run(run.report().run_id).status == "running"
    assert run.report().is_complete, run.report()
    found = client.read_run(run.report().run_id)
    assert (found.status, found.error_message, found.iterations) == ("completed", None, 1 + 3 * PER_WORKER)
    assert queue_files(settings.queue_folder) == []


def test_a_pool_of_workers_that_is_terminated_loses_nothing(settings, client, method):
    work = Work(settings, f"a pool {uuid.uuid4()}")
    with work.open(ends_run=True) as run, method.Pool(2) as pool:
        pool.map(work.do_without_a_block, range(1000, 5000, 1000))
    assert client.read_run(run.report().run_id).iterations == 4 * PER_WORKER
    assert queue_files(settings.queue_folder) == []


def test_a_run_whose_process_was_killed_ends_as_failed_with_its_last_worker(settings, client, method):
    work = Work(settings, f"left alone {uuid.uuid4()}")
    opener = method.Process(target=open_and_be_killed, args=(work,))
    with work.open() as run:
        run.log_iteration(1)
        assert run.flush()
        opener.start()
        opener.join(60)
        assert opener.exitcode == -signal.SIGKILL
        list(send_abandoned(client))
        assert client.read_run(run.report().run_id).status == "running"
    assert client.read_run(run.report().run_id).status == "failed"
    assert queue_files(settings.queue_folder) == []


def open_and_be_killed(work: Work) -> None:
    with work.open(ends_run=True) as run:
        run.flush(30)
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_without_the_id_of_a_run_is_refused(settings):
    with pytest.raises(ConfigError, match="needs the client_id"):
        track_run("workers", optimizer_type="custom", settings=settings, ends_run=False)
