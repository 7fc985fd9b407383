"""Runs that are logged in the background: their ends, threads, wrong values, a queue that is full."""

import asyncio
import json
import pickle
import subprocess
import sys
import threading
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from optimization_tracking.client import TrackingClient, track_run
from optimizer.errors import TrackingRefused

WAIT_S = 120
CONTAINS_ITSELF = []
CONTAINS_ITSELF.append(CONTAINS_ITSELF)


class WithItem:
    """A number as libraries of tensors have it."""

    def item(self):
        return 0.5


class Breaking:
    def tolist(self):
        raise LookupError

    def __str__(self):
        raise LookupError


def tracked(settings, name="a run", **fields):
    return track_run(name, optimizer_type="custom", settings=settings, flush_s=30, **fields)


def read_back(client: TrackingClient, run_id: str):
    iterations = list(client.iterate_iterations(run_id))
    return client.read_run(run_id), iterations, list(client.iterate_samples(run_id))


def test_a_run_is_completed_at_the_end_of_its_block_with_all_that_was_logged(settings, client):
    with tracked(settings, "sound", config={"depth": 6}, metadata={"by": "me"}, initial_score=0) as run:
        for number in range(3):
            run.log_iteration(number, score=number / 10, params={"rate": number})
            run.log_samples(number, [{"is_correct": True}, {"is_correct": False, "score": 0}])
        run.update(final_score=0.2)
    report = run.report()
    assert report.is_complete, str(report)
    assert report.sent == {"create": 1, "iteration": 3, "sample": 6, "update": 2}
    found, iterations, samples = read_back(client, report.run_id)
    assert (found.status, found.best_score, found.final_score, found.iterations) == ("completed", 0.2, 0.2, 3)
    assert (found.config, found.metadata) == ({"depth": 6}, {"by": "me"})
    assert found.start_time <= iterations[0].created_at and found.end_time is not None
    assert [step.params for step in iterations] == [{"rate": number} for number in range(3)]
    assert [(sample.iteration, sample.sample_index, sample.score) for sample in samples[:2]] == [
        (0, 0, None),
        (0, 1, 0),
    ]
    assert list(settings.queue_folder.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError("no \x00 luck"), "failed"), (KeyboardInterrupt("^C"), "cancelled")], ids=str
)
def test_an_exception_ends_the_run_with_its_reason_and_goes_on_upwards(settings, client, error, status):
    with pytest.raises(type(error)), tracked(settings) as run:
        run.log_iteration(0, score=1)
        raise error
    found = client.read_run(run.report().run_id)
    assert (found.status, found.iterations) == (status, 1)
    assert found.error_message.startswith(type(error).__name__)
    assert "raise error" in found.error_stack


def test_an_end_that_the_program_gave_is_kept(settings, client):
    with tracked(settings) as run:
        run.update(status="cancelled", error_message="enough")
    found = client.read_run(run.report().run_id)
    assert (found.status, found.error_message, found.error_stack) == ("cancelled", "enough", None)


@pytest.mark.parametrize("start", [None, datetime.now(UTC) + timedelta(hours=1)], ids=["own_start", "given_start"])
def test_a_run_ends_although_the_clock_was_set_back(settings, client, monkeypatch, start):
    given = {} if start is None else {"start_time": start}
    with tracked(settings, **given) as run:
        run.log_iteration(0, score=1)

        class SetBack(datetime):
            @classmethod
            def now(cls, tz=None):
                return datetime.now(tz) - timedelta(days=1)

        monkeypatch.setattr("optimization_tracking.client.run_log.datetime", SetBack)
    report = run.report()
    assert report.is_complete and not report.warnings, str(report)
    found = client.read_run(report.run_id)
    assert found.status == "completed" and found.duration_ms < 60_000


def test_a_run_ends_although_it_was_opened_by_a_clock_that_is_ahead(settings, client):
    name = f"ahead {uuid.uuid4()}"
    ahead = tracked(settings, name, client_id=name, start_time=datetime.now(UTC) + timedelta(hours=1))
    assert ahead.close().is_complete
    with tracked(settings, name, client_id=name, start_time=datetime.now(UTC)) as run:
        run.log_iteration(0, score=1)
    report = run.report()
    assert report.is_complete, str(report)
    found = client.read_run(report.run_id)
    assert (found.status, found.duration_ms) == ("completed", 0)


def test_asyncio_logs_without_waiting(settings, client):
    async def work() -> str:
        async with tracked(settings) as run:
            for number in range(20):
                run.log_iteration(number, score=number)
        return run.report().run_id

    found = client.read_run(asyncio.run(work()))
    assert (found.status, found.iterations, found.best_score) == ("completed", 20, 19)


def test_eight_threads_lose_nothing(settings, client):
    with tracked(settings) as run:

        def work(thread: int) -> None:
            for number in range(200):
                run.log_iteration(200 * thread + number, score=thread)
                run.log_sample(200 * thread + number, 0, is_correct=True)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_S)
            assert not thread.is_alive()
    report = run.report()
    assert (report.sent["iteration"], report.sent["sample"], report.is_complete) == (1600, 1600, True)
    found, iterations, samples = read_back(client, report.run_id)
    assert [step.iteration for step in iterations] == list(range(1600))
    assert (len(samples), found.iterations, found.best_score) == (1600, 1600, 7)


def test_what_cannot_be_logged_is_counted_with_its_reason_and_spoils_nothing(settings, client, caplog):
    with tracked(settings) as run:
        run.log_iteration(0, score=float("nan"))
        run.log_iteration(1, score="high")
        run.log_iteration(2, score=2)
        run.log_iteration(2, score=3)
        run.log_sample(7, 0)
        run.log_sample(2, 0, input=CONTAINS_ITSELF)
        run.log_sample(2, 1)
    report = run.report()
    assert (report.sent["iteration"], report.repeated, report.sent["sample"]) == (2, {"iteration": 1}, 1)
    assert report.refused == {"iteration": 1, "sample": 2}
    told = " ".join(report.reasons)
    assert "score: Input should be a valid number" in told and "the run has no iteration 7" in told
    assert "high" not in told and "not tracked, 1 iteration" in caplog.text
    found, iterations, samples = read_back(client, report.run_id)
    assert [(step.iteration, step.score) for step in iterations] == [(0, None), (2, 2)]
    assert iterations[0].metadata == {"notFinite": {"score": "nan"}}
    assert (len(samples), found.status) == (1, "completed")


def test_values_of_numpy_and_numbers_that_are_not_finite_are_logged(settings, client):
    config = {"depth": np.int64(6), "rate": np.nan}
    with tracked(settings, config=config, metadata={"by": "me"}, initial_score=np.float32(0.5)) as run:
        params = {
            "rate": np.float32(0.25),
            "depth": np.int16(6),
            "deep": np.bool_(True),
            "kind": np.str_("tree"),
            "long": np.longdouble(0.5),
            "grid": np.array([[1.0, np.nan], [np.inf, 2.0]]),
            "pair": (np.int64(1), float("-inf")),
        }
        run.log_iteration(np.int64(0), score=np.float32(0.5), params=params, tokens_used=np.uint8(7))
        run.log_iteration(np.array(1), score=np.float64("nan"), params={"curve": [float("nan")] * 50})
        run.log_sample(np.int32(0), np.int64(0), is_correct=np.bool_(False), predicted_output=np.arange(3))
        run.log_samples(np.int64(1), [{"score": np.float16(0.5), "input": {"x": float("nan")}}])
        run.update(final_score=np.float64(0.75), evaluation_results={"loss": np.float32("nan")})
    report = run.report()
    assert report.is_complete, str(report)
    found, iterations, samples = read_back(client, report.run_id)
    assert found.config == {"depth": 6, "rate": None} and (found.initial_score, found.final_score) == (0.5, 0.75)
    assert (found.status, found.evaluation_results) == ("completed", {"loss": None})
    assert [(step.iteration, step.score, step.tokens_used) for step in iterations] == [(0, 0.5, 7), (1, None, None)]
    assert found.metadata["by"] == "me" and "evaluation_results.loss" in found.metadata["notFinite"]
    assert iterations[0].params == {
        "rate": 0.25,
        "depth": 6,
        "deep": True,
        "kind": "tree",
        "long": 0.5,
        "grid": [[1.0, None], [None, 2.0]],
        "pair": [1, None],
    }
    noted = {"params.grid.0.1": "nan", "params.grid.1.0": "inf", "params.pair.1": "-inf"}
    assert iterations[0].metadata == {"notFinite": noted}
    noted = iterations[1].metadata["notFinite"]
    assert noted["score"] == "nan" and noted["params.curve.0"] == "nan" and noted["more"] == "31"
    assert [(sample.is_correct, sample.score) for sample in samples] == [(False, None), (None, 0.5)]
    assert samples[0].predicted_output == [0, 1, 2] and samples[1].metadata == {"notFinite": {"input.x": "nan"}}


def test_values_that_cannot_even_be_merged_are_refused_and_the_block_goes_on(settings, client):
    def breaking():
        yield {"score": 1}
        raise LookupError("of the caller's own")

    with tracked(settings, metadata={"by": "me"}, client_id=f"merged {uuid.uuid4()}") as run:
        run.log_iteration(0)
        run.log_iteration(1, score=float("nan"), metadata=None)
        run.log_iteration(2, params={"nested": CONTAINS_ITSELF})
        run.log_samples(0, [{"is_correct": True}, None, {"sample_index": 0}, {"iteration": 7}, {1: 2}, {}])
        run.log_samples(0, None)
        run.log_samples(0, breaking())
        run.update(metadata=None)
        run.update(metadata="text")
        run.update(metadata={"by": "you"}, initial_score="low")
    report = run.report()
    assert report.refused == {"iteration": 2, "sample": 6, "update": 3}
    told = " ".join(report.reasons)
    for reason in (
        "metadata: Input should be a valid dictionary",
        "CreateIteration: a value is nested deeper than 32 levels, or contains itself",
        "item 1 of the samples must be a mapping without iteration and sample_index",
        "the samples cannot be read (TypeError)",
        "the samples cannot be read (LookupError)",
    ):
        assert reason in told
    found, iterations, samples = read_back(client, report.run_id)
    assert (found.status, found.metadata["by"]) == ("completed", "me")
    assert [step.iteration for step in iterations] == [0]
    assert [sample.sample_index for sample in samples] == [0, 5] and report.repeated == {"sample": 1}


ODD_VALUES = [
    (np.array([2.5]), [2.5]),
    (np.array(3), 3),
    (np.datetime64("2026-01-01T00:00:00.000000001"), "2026-01-01T00:00:00"),
    ({"a": {np.int64(1), 2}}, {"a": [1, 2]}),
    ({1: 2, None: 3, False: 4, (1, 2): 5, np.int64(6): 7}, {"1": 2, "null": 3, "false": 4, "(1, 2)": 5, "6": 7}),
    (range(2), [0, 1]),
    (b"\xffa", "\\xffa"),
    (Decimal("1.5"), 1.5),
    (Decimal(10) ** 20, 10**20),
    (Decimal("sNaN"), None),
    (Fraction(1, 4), 0.25),
    (Fraction(10**400), None),
    (pd.NA, None),
    (pd.NaT, None),
    (pd.array([1, None], dtype="Int64"), [1, None]),
    (Path("/a"), "/a"),
    (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00Z"),
    ("a\x00b\ud800", "a\\0b\\ud800"),
    ({"\x00": 1}, {"\\0": 1}),
    (len, "<built-in function len>"),
    (WithItem(), 0.5),
    (Breaking(), "<Breaking>"),
]


def test_an_odd_value_in_params_costs_no_point(settings, client):
    with tracked(settings, config={"scorer": len}) as run:
        for number, (value, _) in enumerate(ODD_VALUES):
            run.log_iteration(number, score=Decimal(number), params={"value": value})
    assert run.report().is_complete, run.report()
    found, iterations, _ = read_back(client, run.report().run_id)
    assert found.config == {"scorer": "<built-in function len>"}
    assert [step.params["value"] for step in iterations] == [written for _, written in ODD_VALUES]
    assert [step.score for step in iterations] == list(range(len(ODD_VALUES)))


@pytest.mark.parametrize("value", [np.float32("nan"), Decimal("-Infinity"), pd.NA, pd.NaT], ids=repr)
def test_a_score_that_is_no_number_is_none_and_named(settings, client, value):
    with tracked(settings) as run:
        run.log_iteration(0, score=value, params={"a": 1})
    (step,) = read_back(client, run.report().run_id)[1]
    assert (step.score, step.params, list(step.metadata["notFinite"])) == (None, {"a": 1}, ["score"])


@pytest.mark.parametrize("error", [ValueError("x" * 300_000), ValueError(Breaking()), UnicodeError("\ud800\x00")])
def test_a_run_fails_whatever_its_exception_says(settings, client, error):
    with pytest.raises(type(error)), tracked(settings) as run:
        raise error
    found = client.read_run(run.report().run_id)
    assert (found.status, found.error_message.startswith(type(error).__name__)) == ("failed", True)


def test_an_end_that_is_refused_is_none(settings, client):
    with tracked(settings) as run:
        run.end("failed", metadata=None)
        run.update(status="cancelled", final_score="high")
    assert run.report().refused == {"update": 2}
    assert client.read_run(run.report().run_id).status == "completed"


def test_a_run_ends_although_a_value_of_its_last_change_is_refused(settings, client):
    long = {"code": "a" * 2_900_000}
    run = tracked(settings, config=long)
    run.update(best_program=long)
    run.update(final_program=long, status="completed")
    report = run.close()
    assert (report.sent["update"], report.refused) == (1, {"update": 1})
    assert "finalProgram" in report.reasons[0]
    assert client.read_run(report.run_id).status == "completed"


def test_metadata_that_are_none_are_refused_before_anything_happens(settings):
    with pytest.raises(TrackingRefused, match="metadata: Input should be a valid dictionary"):
        tracked(settings, metadata=None)
    assert not settings.queue_folder.exists()


def test_a_full_queue_drops_new_entries_and_reports_it_on_the_run_too(away, caplog):
    settings, back = away
    run = tracked(replace(settings, max_queue_bytes=4_000))
    for number in range(1000):
        run.log_iteration(number, score=number)
    kept, dropped = run.report().waiting["iteration"], run.report().dropped["iteration"]
    assert 0 < kept < 200 and kept + dropped == 1000
    assert caplog.text.count("tracking drops entries from now on") == 1
    with back():
        run.end("completed")
        report = run.close()
        assert report.sent["iteration"] == kept and not report.is_complete
        with TrackingClient(settings) as client:
            found, iterations, _ = read_back(client, report.run_id)
    assert (found.status, found.metadata) == ("completed", {"dropped": {"iteration": dropped}})
    assert [step.iteration for step in iterations] == list(range(kept))


def test_a_run_of_a_given_id_is_gone_on_with_by_another_process(settings, client):
    name = f"nightly {uuid.uuid4()}"
    first = tracked(settings, name, client_id=name)
    first.log_iteration(0, score=1)
    assert first.close().is_complete
    again = tracked(settings, name, client_id=name, config={"other": "words"})
    again.log_iteration(0, score=1)
    again.log_iteration(1, score=2)
    again.end("completed")
    report = again.close()
    assert (report.run_id, report.repeated) == (first.report().run_id, {"iteration": 1})
    found = client.read_run(report.run_id)
    assert (found.status, found.iterations, found.metadata) == ("completed", 2, {"clientRunId": name})


def test_processes_that_open_one_run_with_different_configs_join_it_and_lose_no_point(settings, client, tracking):
    name = f"distributed {uuid.uuid4()}"
    program = Path(__file__).with_name("joining_program.py")
    command = [sys.executable, str(program), tracking.base_url, settings.key, str(settings.queue_folder), name]
    workers = [
        subprocess.Popen([*command, str(rank)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for rank in range(4)
    ]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    reports = [json.loads(worker.communicate(timeout=WAIT_S)[0]) for worker in workers]
    assert len({report["run_id"] for report in reports}) == 1
    assert all(report["sent"]["iteration"] == 50 and not report["refused"] for report in reports), reports
    warnings = [warning for report in reports for warning in report["warnings"]]
    assert warnings == ["the run was opened before with another config.rank, which it keeps"] * 3
    found, iterations, _ = read_back(client, reports[0]["run_id"])
    assert [step.iteration for step in iterations] == list(range(200))
    assert found.status == "completed"
    assert client.list_runs(search=name).pagination.total == 1


@pytest.mark.parametrize("config", [{"depth": 6}, {"depth": 7}], ids=["same_config", "other_config"])
def test_a_run_that_was_deleted_is_made_anew_by_the_next_who_opens_it(settings, client, config):
    name = f"deleted {uuid.uuid4()}"
    with tracked(settings, name, client_id=name, config={"depth": 6}) as first:
        first.log_iteration(0, score=1)
    client.delete_run(first.report().run_id)
    with tracked(settings, name, client_id=name, config=config) as again:
        again.log_iteration(0, score=2)
    report = again.report()
    assert report.is_complete and report.run_id != first.report().run_id and not report.warnings
    found, iterations, _ = read_back(client, report.run_id)
    assert (found.config, [step.score for step in iterations]) == (config, [2])


def test_a_run_whose_id_was_taken_out_of_its_metadata_costs_no_point(settings, client, shop):
    name = f"renamed {uuid.uuid4()}"
    first = tracked(settings, name, client_id=name)
    assert first.close().is_complete
    shop.patch(f"/runs/{first.report().run_id}", {"metadata": {"clientRunId": "another"}})
    with tracked(settings, name, client_id=name, config={"depth": 6}) as again:
        again.log_iteration(0, score=1)
    assert again.report().is_complete


def test_a_wrong_field_of_the_run_itself_is_refused_before_anything_happens(settings):
    with pytest.raises(TrackingRefused, match="optimizer_type: String should match pattern"):
        track_run("x", optimizer_type="Not This", settings=settings)
    assert not settings.queue_folder.exists()


def test_a_folder_that_cannot_be_written_costs_the_queue_and_not_the_run(settings, client, tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    with tracked(replace(settings, queue_folder=tmp_path / "file" / "queue")) as run:
        run.log_iteration(0, score=1)
    assert "no tracking queue in" in caplog.text
    assert client.read_run(run.report().run_id).status == "completed"


def test_a_closed_log_drops_entries_and_reports_it(settings, caplog):
    with tracked(settings) as run:
        pass
    run.log_iteration(0, score=1)
    assert "tracking drops entries from now on, the run goes on: the run's log is closed" in caplog.text


def test_the_queue_is_readable_by_its_owner_alone_and_holds_no_key(away):
    settings, _ = away
    run = track_run("secret", optimizer_type="custom", settings=settings, flush_s=0)
    assert settings.queue_folder.stat().st_mode & 0o077 == 0
    assert run.close().waiting == {"create": 1}
    files = [path for path in settings.queue_folder.iterdir() if path.suffix != ".lock"]
    assert files and not [path for path in files if settings.key.encode() in path.read_bytes()]


@pytest.mark.parametrize(("client_id", "advice"), [("a", "client_id='a'"), (None, "a client_id, here and there")])
def test_a_run_that_is_sent_to_another_process_says_how_that_one_joins_it(settings, client_id, advice):
    run = track_run("sent", optimizer_type="custom", settings=settings, client_id=client_id, flush_s=0)
    with pytest.raises(TypeError, match=f"call track_run there with {advice}"):
        pickle.dumps(run)
    run.close()
