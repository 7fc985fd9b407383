"""What a run of the pipeline sends to a real tracking service, and what it does without one."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from pipeline.driver import NOW, Pipeline
from pipeline.first_run import FinishedRun
from servers.postgres import postgres_server
from servers.tracking import Tracking, client, serving, settings, tracking

from lab.stack.ports import PortClaims
from optimization_tracking.app import create_app
from optimization_tracking.client import ClientSettings, TrackingClient, track_run
from optimization_tracking.client.abandoned import send_abandoned
from optimizer.control_plane.engine import transaction
from optimizer.control_plane.tables import run_metrics
from optimizer.errors import EmptyWindowError, RunStateError
from optimizer.names import TRACKING_PREFIX
from optimizer.runs.handle import RunHandle

__all__ = ["client", "postgres_server", "settings", "tracking"]


def tracked(pipeline: Pipeline, settings: ClientSettings, *, flush_s: float = 30) -> Pipeline:
    """Return the pipeline with a tracking service."""
    track = partial(track_run, settings=settings, flush_s=flush_s)
    return replace(pipeline, systems=replace(pipeline.systems, track_run=track))


def figures(pipeline: Pipeline, run: RunHandle, section: str) -> dict[str, float]:
    with transaction(pipeline.systems.engine) as connection:
        rows = connection.execute(run_metrics.select().where(run_metrics.c.run_id == run.run_id)).mappings().all()
    return {row["metric_key"]: row["metric_value"] for row in rows if row["metric_section"] == section}


def find(client: TrackingClient, run: RunHandle):
    (found,) = client.iterate_runs(metadata=f'{{"clientRunId": "{run.run_id}"}}')
    return found, list(client.iterate_iterations(found.id)), list(client.iterate_samples(found.id))


def test_a_tuned_run_is_one_tracking_run_with_its_trials_and_held_out_segments(pipeline: Pipeline, settings, client):
    pipeline = tracked(pipeline, settings)
    run = pipeline.complete(tuning_trials=2)
    assert find(client, run)[0].status == "running"
    pipeline.close()
    found, trials, samples = find(client, run)
    assert (found.run_name, found.optimizer_type, found.tags) == (f"drugs_hcp {run.run_code}", "rtb", ["drugs_hcp"])
    assert (found.status, found.direction, found.config["technical"]["tuning_trials"]) == ("completed", "minimize", 2)
    assert found.metric == "log loss of the win-rate model on held-out segments"
    row = pipeline.row(run)
    assert [found.metadata.get(name) for name in ("runId", "dagId", "dagRunId")] == [
        row.run_id,
        row.dag_id,
        row.dag_run_id,
    ]
    assert found.metadata["validationStatus"] == pipeline.row(run).validation_status == "passed"
    assert [trial.iteration for trial in trials] == [0, 1] and found.best_score == min(trial.score for trial in trials)
    assert trials[0].params["num_leaves"] == 31 != trials[1].params["num_leaves"]
    assert {sample.iteration for sample in samples} == {0, 1} and len(samples) == trials[0].samples_in_iteration * 2
    assert all({*sample.predicted_output} == {*sample.expected_output} == {"winRate"} for sample in samples)
    tuning = figures(pipeline, run, "tuning")
    assert (tuning["trials"], tuning["usual_loss"]) == (2, pytest.approx(trials[0].score))
    told = figures(pipeline, run, "tracking")
    assert (told["is_complete"], told["sent"], told["waiting"]) == (1, 1 + 2 + len(samples) + 1, 0)


def test_a_run_goes_to_its_end_while_tracking_is_down_reports_it_and_arrives_later(
    pipeline: Pipeline, tracking: Tracking, settings, caplog
):
    with PortClaims() as claims:
        port = claims.claim()
        own = {"base_url": f"http://127.0.0.1:{port}", "key": tracking.keys["search"]}  # run_ids repeat between tests
        away = replace(settings, **own, timeout_s=2)
        pipeline = tracked(pipeline, away, flush_s=0.1)
        run = pipeline.complete()
        assert pipeline.close()["status"] == "completed"
        told = figures(pipeline, run, "tracking")
        assert told["is_complete"] == 0 and told["sent"] == 0 and told["waiting"] > 3
        assert "tracking has to wait, the run goes on" in caplog.text
        app = create_app(database_url=tracking.database_url, prefix=TRACKING_PREFIX, refresh_s=None)
        with serving(app, port=port), TrackingClient(away) as client:
            assert [resumed.outcome.refused for resumed in send_abandoned(client)] == [{}, {}]
            found, iterations, samples = find(client, run)
    assert (found.status, len(iterations)) == ("completed", 1)
    assert len(samples) == iterations[0].samples_in_iteration > 10
    assert found.final_score == iterations[0].score == figures(pipeline, run, "win_rate_model")["wr_model_logloss"]


def test_a_run_that_fails_before_it_trains_is_tracked_as_failed_with_its_reason(pipeline: Pipeline, settings, client):
    pipeline = tracked(pipeline, settings)
    run = pipeline.open(now=NOW + timedelta(hours=1), data_start_dt="2020-01-01", data_end_dt="2020-02-01")
    with pytest.raises(EmptyWindowError):
        pipeline.step(run, "extract")
    with pytest.raises(RunStateError):
        pipeline.close(failed_tasks=("extract",))
    found, iterations, _ = find(client, run)
    assert (found.status, iterations) == ("failed", [])
    assert found.error_message == pipeline.row(run).error_message


def test_without_a_service_nothing_is_reported(first_run: FinishedRun):
    assert figures(first_run.pipeline, first_run.handle, "tracking") == {}
    assert "optimization_tracking" not in first_run.log_text


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({}, "set OPTIMIZER_TRACKING_API_URL and OPTIMIZER_TRACKING_KEY"),
        ({"OPTIMIZER_TRACKING_API_URL": "http://[bad", "OPTIMIZER_TRACKING_KEY": "sk_live_x"}, "'http://[bad' is no"),
        ({"OPTIMIZER_TRACKING_API_URL": "http://h:abc", "OPTIMIZER_TRACKING_KEY": "sk_live_x"}, "'http://h:abc' is no"),
    ],
    ids=["none", "host", "port"],
)
def test_a_service_that_cannot_be_used_at_all_costs_the_run_nothing(
    new_pipeline: Callable[..., Pipeline], environment, why, tmp_path, monkeypatch, caplog
):
    for name in ("OPTIMIZER_TRACKING_KEY", "OPTIMIZER_TRACKING_API_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**environment, "OPTIMIZER_TRACKING_QUEUE": str(tmp_path / "queue")}.items():
        monkeypatch.setenv(name, value)
    pipeline = new_pipeline()
    pipeline = Pipeline(replace(pipeline.systems, track_run=track_run))
    run = pipeline.open(data_start_dt="2020-01-01", data_end_dt="2020-02-01")
    with pytest.raises(EmptyWindowError):
        pipeline.step(run, "extract")
    with pytest.raises(RunStateError, match="failed: extract"):
        pipeline.close(failed_tasks=("extract",))
    assert "is not tracked, it goes on: " in caplog.text and why in caplog.text
