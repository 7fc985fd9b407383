"""The queue's files: no larger than what waits, given back once it is sent, and emptied on a disk that is full."""

import os
import resource
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from servers.waiting import wait_until

from optimization_tracking.client import ClientSettings, TrackingClient, track_run
from optimization_tracking.client.abandoned import send_abandoned

MIB = 1024 * 1024
SHARED_BYTES = 64 * 1024
"""Room for the memory that SQLite's connections share: 32 KiB, which it frees and takes again."""

PROGRAM = Path(__file__).with_name("logging_program.py")


def sizes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """Let no file of this process grow beyond its size now: the kernel then refuses each write to a longer log."""
    logs = [path.stat().st_size for path in folder.glob("*.db-wal")]
    with longest_file(max(min(logs), SHARED_BYTES)):
        yield


@contextmanager
def longest_file(size: int) -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def numbers(client: TrackingClient, run_id: str | None) -> list[int]:
    return [step.iteration for step in client.iterate_iterations(run_id)]


def test_the_files_of_a_queue_are_hardly_larger_than_what_waits_in_them(away):
    settings, back = away
    run = track_run("small", optimizer_type="custom", settings=settings, flush_s=0)
    for number in range(20_000):
        run.log_iteration(number, score=number, params={"rate": number / 3})
        if number % 1_000 == 0:
            assert sizes(settings.queue_folder) < 12 * MIB
    assert run.close().waiting["iteration"] == 20_000
    assert sizes(settings.queue_folder) < 2 * 20_000 * len(
        '{"iteration":10000,"score":10000.0,"params":{"rate":3333.3333}}'
    )
    with back(), TrackingClient(settings) as client:
        (resumed,) = send_abandoned(client)
        assert resumed.outcome.sent == {"create": 1, "iteration": 20_000}


def test_a_queue_gives_back_its_room_once_it_is_empty(away):
    settings, back = away
    run = track_run("large", optimizer_type="custom", settings=settings, flush_s=60)
    run.log_iteration(0)
    for number in range(400):
        run.log_sample(0, number, input="x" * 50_000)
    assert sizes(settings.queue_folder) > 18 * MIB
    with back():
        assert run.flush()
        deadline = time.monotonic() + 60
        while sizes(settings.queue_folder) > 10 * MIB:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert run.close().is_complete


def test_a_full_disk_loses_nothing_of_a_living_process_and_its_queue_empties(away, caplog):
    settings, back = away
    run = track_run("full", optimizer_type="custom", settings=settings, flush_s=60)
    for number in range(3_000):
        run.log_iteration(number, score=number)
    with full_disk(settings.queue_folder):
        for number in range(3_000, 6_000):
            run.log_iteration(number, score=number)
        run.log_sample(5_999, 0, score=1)
        run.update(final_score=5_999)
        assert run.report().waiting == {"create": 1, "iteration": 6_000, "sample": 1, "update": 1}
        with back(), TrackingClient(settings) as client:
            assert run.flush()
            run.log_iteration(6_000, score=6_000)
            run.end("completed")
            report = run.close()
            assert report.is_complete and not report.repeated, str(report)
            assert numbers(client, report.run_id) == list(range(6_001))
            found = client.read_run(report.run_id)
    assert (found.status, found.final_score) == ("completed", 5_999)
    assert caplog.text.count("the queue's disk takes nothing") == 1
    assert list(settings.queue_folder.iterdir()) == []


def test_what_waits_in_memory_is_written_once_the_disk_has_room_again(away):
    settings, back = away
    run = track_run("room again", optimizer_type="custom", settings=settings, flush_s=0)
    run.log_iteration(0)
    with full_disk(settings.queue_folder):
        for number in range(1, 300):
            run.log_iteration(number)
    assert run.close().waiting == {"create": 1, "iteration": 300}
    with back(), TrackingClient(settings) as client:
        (resumed,) = send_abandoned(client)
        assert numbers(client, resumed.run_id) == list(range(300))


def test_a_queue_that_was_left_on_a_full_disk_is_sent_and_its_run_ended(away):
    settings, back = away
    name = f"left on a full disk {uuid.uuid4()}"
    last = kill_after_logging(settings, name, iterations=2_000)
    with full_disk(settings.queue_folder), back(), TrackingClient(settings) as client:
        (resumed,) = send_abandoned(client)
        assert resumed.outcome.refused == {} and resumed.outcome.repeated == {}
        assert numbers(client, resumed.run_id) == list(range(last + 1))
        assert client.read_run(resumed.run_id).status == "failed"
    assert list(settings.queue_folder.iterdir()) == []


@pytest.mark.parametrize("is_away", [False, True], ids=["service there", "service away"])
def test_the_files_of_a_long_run_do_not_look_old_to_those_who_clean_the_folder(settings, is_away):
    settings = replace(settings, base_url="http://127.0.0.1:9") if is_away else settings
    run = track_run("long", optimizer_type="custom", settings=settings, flush_s=0)
    files = [path for path in settings.queue_folder.iterdir() if path.suffix in (".db", ".lock")]
    run.flush(1)
    for path in files:
        os.utime(path, (0, 0))
    assert len(files) == 2

    def are_new() -> bool:
        run.flush(0.1)  # the sender looks at the queue
        return all(path.stat().st_mtime > 0 for path in files)

    wait_until(are_new, "the files stay old")
    run.close()


def test_a_disk_without_room_for_a_queue_costs_no_entry_and_keeps_no_useless_file(settings, client, caplog):
    with longest_file(0):
        run = track_run("in memory", optimizer_type="custom", settings=settings, flush_s=60)
        run.log_iteration(0)
        assert sizes(settings.queue_folder) == 0 and list(settings.queue_folder.iterdir()) == []
    report = run.close()
    assert report.is_complete and numbers(client, report.run_id) == [0]
    assert "what waits is lost with this process" in caplog.text


def test_a_queue_that_is_left_on_a_disk_without_any_room_is_sent_later(away, caplog):
    settings, back = away
    last = kill_after_logging(settings, "left without room", iterations=10)
    with back(), TrackingClient(settings) as client:
        with longest_file(0):
            assert list(send_abandoned(client)) == []
        assert "it is sent later" in caplog.text and "delete it" not in caplog.text
        (resumed,) = send_abandoned(client)
        assert numbers(client, resumed.run_id) == list(range(last + 1))


def kill_after_logging(settings: ClientSettings, name: str, *, iterations: int) -> int:
    command = [sys.executable, str(PROGRAM), settings.base_url, settings.key, str(settings.queue_folder), name]
    with subprocess.Popen(
        [*command, str(iterations)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as program:
        for printed in program.stdout:
            if printed == "all logged\n":
                break
        program.kill()
    return iterations - 1
