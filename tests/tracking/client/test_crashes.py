"""Processes that are killed and services that are away: what was logged arrives, once."""

import signal
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from servers.tracking import serving
from servers.waiting import wait_until
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from optimization_tracking.client import ClientSettings, TrackingClient, track_run
from optimization_tracking.client.abandoned import send_abandoned
from optimization_tracking.client.calls import RunId
from optimization_tracking.client.queue_folder import queue_files
from optimizer.errors import UnavailableError

PROGRAM = Path(__file__).with_name("logging_program.py")


def start(settings: ClientSettings, name: str, *, iterations: int, client_id: str | None = None) -> subprocess.Popen:
    arguments = [settings.base_url, settings.key, str(settings.queue_folder), name, str(iterations)]
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), *arguments, *([client_id] if client_id else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def kill_after(program: subprocess.Popen, line: str) -> int:
    """Kill the program once it printed the line, and return the last number that it printed."""
    with program:
        for printed in program.stdout:
            if printed.strip() == line:
                break
        program.kill()
        numbers = [int(line)] if line.isdigit() else []
        return max([*numbers, *(int(rest) for rest in program.stdout if rest.strip().isdigit())], default=-1)


def logged(client: TrackingClient, run_id: RunId) -> tuple[list[int], list[int]]:
    iterations = [step.iteration for step in client.iterate_iterations(run_id)]
    return iterations, [sample.iteration for sample in client.iterate_samples(run_id)]


def find_run(client: TrackingClient, name: str):
    (run,) = client.iterate_runs(search=name)
    return run


def garble(path: Path) -> None:
    path.write_bytes(b"not a database" * 200)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1500])


def change(statement: str) -> Callable[[Path], None]:
    def run(path: Path) -> None:
        with closing(sqlite3.connect(path)) as database, database:
            database.execute(statement)

    return run


def leave_queues(settings: ClientSettings, *names: str) -> list[Path]:
    """Log an iteration of a run of each name while the service is away, and return the queues that are left."""
    for name in names:
        run = track_run(name, optimizer_type="custom", settings=settings, flush_s=0)
        run.log_iteration(0)
        run.close()
    return queue_files(settings.queue_folder)


@pytest.mark.parametrize(
    "damage",
    [
        garble,
        cut_short,
        change("DELETE FROM run"),
        change("ALTER TABLE run DROP COLUMN is_guarded"),
        change("DROP TABLE entries"),
    ],
    ids=["garbled", "cut short", "no run", "an older release", "no entries"],
)
def test_a_queue_that_cannot_be_read_stays_and_keeps_no_other_waiting(away, caplog, damage):
    settings, back = away
    damaged, whole = leave_queues(settings, "damaged", "whole")
    damage(damaged)
    with back(), TrackingClient(settings) as client:
        (resumed,) = send_abandoned(client)
    assert resumed.outcome.sent == {"create": 1, "iteration": 1}
    assert damaged.exists() and not whole.exists()
    assert f"cannot read: {damaged}" in caplog.text


def test_a_queue_with_a_column_of_a_later_release_and_an_odd_start_is_sent_as_far_as_it_goes(away):
    settings, back = away
    later, odd = leave_queues(settings, "later", "odd")
    change("ALTER TABLE run ADD COLUMN more TEXT")(later)
    change("""UPDATE entries SET body = '{"runName": "odd", "gone": 1}' WHERE kind = 'create'""")(odd)
    with back(), TrackingClient(settings) as client:
        sent, refused = (resumed.outcome for resumed in send_abandoned(client))
    assert (sent.sent, sent.refused) == ({"create": 1, "iteration": 1}, {})
    assert (refused.sent, refused.refused) == ({}, {"create": 1, "iteration": 1})
    assert "gone: is not a field" in refused.reasons[0]
    assert queue_files(settings.queue_folder) == []


def test_what_a_killed_process_logged_while_the_service_was_away_arrives_later(away):
    settings, back = away
    name = f"killed {uuid.uuid4()}"
    last = kill_after(start(settings, name, iterations=10_000), "300")
    with back(), TrackingClient(settings) as client:
        (resumed,) = send_abandoned(client)
        assert resumed.outcome.refused == {}
        run = find_run(client, name)
        iterations, samples = logged(client, run.id)
    assert iterations == list(range(len(iterations))) and len(iterations) > last >= 300
    assert samples[: last + 1] == list(range(last + 1))
    assert (run.status, run.error_message) == ("failed", "the process that logged this run ended before the run did")
    assert list(settings.queue_folder.iterdir()) == []


@pytest.mark.parametrize("options", ["", ", start_time=None"], ids=["own_start", "start_of_the_service"])
def test_a_process_that_is_killed_at_once_after_its_start_leaves_what_ends_the_run(away, options):
    settings, back = away
    name = f"killed at once {uuid.uuid4()}"
    code = f"""
import os, signal, sys
from pathlib import Path
from optimization_tracking.client import ClientSettings, track_run
settings = ClientSettings(sys.argv[1], sys.argv[2], queue_folder=Path(sys.argv[3]))
run = track_run(sys.argv[4], optimizer_type="custom", settings=settings{options})
os.kill(os.getpid(), signal.SIGKILL)
"""
    command = [sys.executable, "-c", code, settings.base_url, settings.key, str(settings.queue_folder), name]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    with back(), TrackingClient(settings) as client:
        list(send_abandoned(client))
        found = find_run(client, name)
    assert (found.status, found.error_message) == (
        "failed",
        "the process that logged this run ended before the run did",
    )
    assert found.end_time is not None


def test_a_run_that_another_process_goes_on_with_is_not_ended_for_the_one_that_was_killed(settings, client):
    name = f"resumed {uuid.uuid4()}"
    kill_after(start(settings, name, iterations=10, client_id=name), "all logged")
    with track_run(name, optimizer_type="custom", settings=settings, client_id=name, flush_s=30) as run:
        run.log_iteration(10, score=10)
        assert run.flush()
        list(send_abandoned(client))
        # The run's own sender may have had the other queue in hand.
        wait_until(lambda: client.read_run(run.report().run_id).iterations == 11, what="the iterations of both")
        assert client.read_run(run.report().run_id).status == "running"
        run.update(final_score=10)
    report = run.report()
    assert report.is_complete, str(report)
    found = client.read_run(report.run_id)
    assert (found.status, found.error_message, found.iterations, found.final_score) == ("completed", None, 11, 10)


def test_a_run_that_another_machine_goes_on_with_is_not_ended_for_the_one_that_was_killed(settings, client, tmp_path):
    name = f"moved {uuid.uuid4()}"
    kill_after(start(settings, name, iterations=10, client_id=name), "all logged")
    elsewhere = replace(settings, queue_folder=tmp_path / "of another machine")
    with track_run(name, optimizer_type="custom", settings=elsewhere, client_id=name, flush_s=30) as run:
        run.log_iteration(10, score=10)
        assert run.flush()
        (resumed,) = send_abandoned(client)
        assert resumed.outcome.refused == {}
        assert client.read_run(run.report().run_id).status == "running"
    report = run.report()
    assert report.is_complete, str(report)
    assert client.read_run(report.run_id).status == "completed"


def test_a_run_that_all_its_processes_left_is_ended_for_the_one_that_was_killed(settings, client, tmp_path):
    name = f"left by all {uuid.uuid4()}"
    elsewhere = replace(settings, queue_folder=tmp_path / "of another machine")
    track_run(name, optimizer_type="custom", settings=elsewhere, client_id=name, flush_s=30).close()
    kill_after(start(settings, name, iterations=10, client_id=name), "all logged")
    list(send_abandoned(client))
    assert find_run(client, name).status == "failed"


def test_an_end_that_comes_after_another_one_is_refused_and_its_figures_arrive(settings, client):
    with track_run("ended by another", optimizer_type="custom", settings=settings, flush_s=30) as run:
        run.log_iteration(0, score=1)
        assert run.flush()
        client.update_run(run.report().run_id, status="cancelled")
        run.end("completed", final_score=0.5)
    report = run.report()
    assert report.refused == {"update": 1} and "is cancelled and cannot become completed" in report.reasons[0]
    found = client.read_run(report.run_id)
    assert (found.status, found.final_score) == ("cancelled", 0.5)


def test_a_run_that_its_program_closed_without_an_end_runs_on(settings, client):
    run = track_run("handed on", optimizer_type="custom", settings=settings, flush_s=0)
    run.close()
    list(send_abandoned(client))
    (found,) = client.list_runs(search="handed on").data
    assert found.status == "running"


def test_a_process_that_is_killed_while_it_sends_loses_and_doubles_nothing(settings, client):
    name = f"killed {uuid.uuid4()}"
    last = kill_after(start(settings, name, iterations=600), "599")
    with track_run("the next process", optimizer_type="custom", settings=settings, flush_s=30) as following:
        following.log_iteration(0)
    while list(settings.queue_folder.glob("*.db")):
        list(send_abandoned(client))
    iterations, samples = logged(client, find_run(client, name).id)
    assert iterations == samples == list(range(last + 1))


def test_a_run_goes_on_while_the_service_is_away_and_is_complete_once_it_is_back(away, caplog):
    settings, back = away
    run = track_run("patient", optimizer_type="custom", settings=settings, flush_s=30)
    with back():
        run.log_iteration(0, score=0)
        assert run.flush()
    for number in range(1, 50):
        run.log_iteration(number, score=number)
    assert not run.flush(0.3)
    report = run.report()
    assert report.waiting == {"iteration": 49} and "does not answer" in report.reasons[0]
    with back(), TrackingClient(settings) as client:
        run.end("completed")
        report = run.close()
        assert report.is_complete and report.sent["iteration"] == 50
        assert client.read_run(report.run_id).status == "completed"
    assert "tracking has to wait, the run goes on: the tracking service at" in caplog.text


def test_what_is_logged_while_the_service_is_busy_does_not_make_it_busier(away):
    settings, back = away
    asked: list[str] = []
    has_asked = threading.Event()

    def refuse(request: Request) -> Response:
        asked.append(request.method)
        has_asked.set()
        problem = {"title": "Too Many Requests", "status": 429, "detail": "the key asks too often"}
        return JSONResponse(problem, 429, {"Retry-After": "30"})

    busy = Starlette(routes=[Route("/{path:path}", refuse, methods=["GET", "POST", "PATCH"])])
    run = track_run("busy", optimizer_type="custom", settings=settings, flush_s=30)
    with serving(busy, port=urlsplit(settings.base_url).port):
        run.flush(0.1)
        assert has_asked.wait(30)
        before = len(asked)
        for number in range(200):
            run.log_iteration(number)
            time.sleep(0.005)
        assert len(asked) <= before + 1
    with back():
        assert run.close().sent == {"create": 1, "iteration": 200}


def test_a_block_that_ends_while_the_service_is_away_leaves_all_of_it_for_the_next_process(away, caplog):
    settings, back = away
    with track_run("left", optimizer_type="custom", settings=settings, flush_s=0.1) as run:
        run.log_iteration(0, score=1)
    report = run.report()
    assert report.waiting == {"create": 1, "iteration": 1, "update": 1}
    assert "is not complete: waiting 1 create, 1 iteration, 1 update" in caplog.text
    with back(), TrackingClient(settings) as client:
        (resumed,) = send_abandoned(client)
        assert resumed.outcome.sent == {"create": 1, "iteration": 1, "update": 1}
        assert list(send_abandoned(client)) == []


@pytest.mark.parametrize(
    "answer",
    [
        HTMLResponse("<html>welcome</html>"),
        RedirectResponse("/login", 301),
        HTMLResponse("<html>nothing here</html>", 404),
        JSONResponse({"detail": "Not Found"}, 404),
    ],
    ids=["page", "redirect", "page_404", "json_404"],
)
def test_what_is_logged_while_something_else_answers_waits_for_the_service(away, answer: Response):
    settings, back = away
    other = Starlette(routes=[Route("/{path:path}", lambda _: answer, methods=["GET", "POST", "PATCH"])])
    with serving(other, port=urlsplit(settings.base_url).port):
        with track_run("not the service", optimizer_type="custom", settings=settings, flush_s=0.5) as run:
            run.log_iteration(0, score=1)
        report = run.report()
    assert (report.waiting, report.refused) == ({"create": 1, "iteration": 1, "update": 1}, {})
    assert "the answer is not one of the tracking API" in report.reasons[-1]
    with back(), TrackingClient(settings) as client:
        (resumed,) = send_abandoned(client)
        assert resumed.outcome.sent == {"create": 1, "iteration": 1, "update": 1}


def break_sending(monkeypatch, error: BaseException):
    def send(self, call):
        raise error

    monkeypatch.setattr(TrackingClient, "send", send)


def test_a_fault_of_the_sender_costs_the_block_nothing_and_leaves_all_of_it_for_later(
    settings, client, monkeypatch, caplog
):
    with monkeypatch.context() as patches:
        break_sending(patches, LookupError("nobody thought of it"))
        with track_run("faulty", optimizer_type="custom", settings=settings, flush_s=0.3) as run:
            run.log_iteration(0, score=1)
        report = run.report()
    assert report.waiting == {"create": 1, "iteration": 1, "update": 1} and not report.dropped
    assert "sending failed (LookupError: nobody thought of it)" in report.reasons[-1]
    assert "Traceback" in caplog.text
    (resumed,) = send_abandoned(client)
    assert resumed.outcome.sent == {"create": 1, "iteration": 1, "update": 1}


def test_a_sender_goes_on_after_a_fault_that_passes(settings, client, monkeypatch):
    with track_run("recovered", optimizer_type="custom", settings=settings, flush_s=30) as run:
        with monkeypatch.context() as patches:
            break_sending(patches, LookupError("once"))
            run.log_iteration(0, score=1)
            assert not run.flush(0.3)
        run.log_iteration(1, score=2)
    report = run.report()
    assert report.is_complete and report.reasons == ()
    assert client.read_run(report.run_id).iterations == 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ended_leaves_a_report_and_a_file(settings, client, monkeypatch):
    with monkeypatch.context() as patches:
        break_sending(patches, GeneratorExit())
        with track_run("ended", optimizer_type="custom", settings=settings, flush_s=5) as run:
            assert not run.flush()
            run.log_iteration(0, score=1)
            assert run.report().waiting == {"create": 1}
        report = run.report()
    assert (report.run_id, report.dropped) == (None, {"iteration": 1, "update": 1})
    assert not report.is_complete
    (resumed,) = send_abandoned(client)
    assert resumed.outcome.sent["create"] == 1


def test_a_fault_with_what_another_process_left_costs_that_alone(settings, client, monkeypatch):
    real = TrackingClient.send
    with monkeypatch.context() as patches:
        break_sending(patches, UnavailableError("away"))
        track_run("left", optimizer_type="custom", settings=settings, flush_s=0).close()
    is_broken = threading.Event()

    def break_at_the_left_run(self, call):
        if "left" in (call.body or ""):
            is_broken.set()
            raise LookupError("an old file")
        return real(self, call)

    monkeypatch.setattr(TrackingClient, "send", break_at_the_left_run)
    with track_run("following", optimizer_type="custom", settings=settings, flush_s=30) as run:
        run.log_iteration(0, score=1)
        assert is_broken.wait(30)
        run.log_iteration(1, score=2)
    assert run.report().is_complete
    monkeypatch.setattr(TrackingClient, "send", real)
    (resumed,) = send_abandoned(client)
    assert resumed.outcome.sent == {"create": 1}


def test_a_batch_whose_answer_was_lost_is_sent_again_and_written_once(away):
    settings, back = away
    name = f"lost answer {uuid.uuid4()}"
    run = track_run(name, optimizer_type="custom", settings=settings, flush_s=0)
    for number in range(10):
        run.log_iteration(number, score=number)
    run.close()
    with back(), TrackingClient(settings) as client:
        real, sent = client.send, []

        def lose_the_first_answer(call):
            answer = real(call)
            sent.append(call)
            if len(sent) in (1, 3):
                raise KeyboardInterrupt
            return answer

        client.send = lose_the_first_answer
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                list(send_abandoned(client))
        (resumed,) = send_abandoned(client)
        assert resumed.outcome.repeated == {} and resumed.outcome.refused == {}
        assert find_run(client, name).iterations == 10


@pytest.mark.parametrize("is_named", [False, True], ids=["without client_id", "with client_id"])
def test_a_run_whose_answer_was_lost_is_found_by_a_client_that_was_offline_for_a_month(away, tracking, is_named):
    settings, back = away
    name = f"offline {uuid.uuid4()}"
    run = track_run(
        name,
        optimizer_type="custom",
        settings=settings,
        client_id=name if is_named else None,
        metadata={"a": 1},
        flush_s=0,
    )
    run.log_iteration(0)
    run.close()
    with back(), TrackingClient(settings) as client:
        real = client.send

        def lose_the_answer(call):
            answer = real(call)
            if call.method == "POST":
                raise KeyboardInterrupt
            return answer

        client.send = lose_the_answer
        with pytest.raises(KeyboardInterrupt):
            list(send_abandoned(client))
        client.send = real
        made = find_run(client, name)
        client.update_run(made.id, metadata={"clientRunId": None})
        with tracking.connect() as connection:
            connection.execute("SET ROLE optimization_service")
            forget = "DELETE FROM optimization_idempotency_keys WHERE position(%s IN answer) > 0"
            connection.execute(forget, [str(made.id).encode()])
        (resumed,) = send_abandoned(client)
        assert resumed.run_id == str(made.id) and resumed.outcome.refused == {}
        found = find_run(client, name)
    assert (found.iterations, found.status) == (1, "running")


def test_what_one_key_logged_is_never_sent_with_another_unless_requested(away, tracking):
    settings, back = away
    run = track_run("of the shop", optimizer_type="custom", settings=settings, flush_s=0)
    run.log_iteration(0)
    run.close()
    other = replace(settings, key=tracking.keys["search"])
    with back(), TrackingClient(other) as client:
        assert list(send_abandoned(client)) == []
        (resumed,) = send_abandoned(client, of_any_key=True)
        assert resumed.outcome.sent["iteration"] == 1
