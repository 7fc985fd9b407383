"""What a person is shown who is asked for a run's approval."""

import re
from datetime import timedelta

import pytest
from control_plane.catalog import sample_results
from pipeline.driver import ENTITY, NOW, Pipeline
from pipeline.first_run import FinishedRun

from optimizer.cli.validation import validation_document
from optimizer.control_plane import deployment_history, deployments, registry
from optimizer.control_plane.audit import Author, read_audit
from optimizer.control_plane.registry import register_results
from optimizer.control_plane.splits import percents_of
from optimizer.deployment.served_files import require_files
from optimizer.errors import DeploymentError
from optimizer.reporting.forecast import forecast_sentence
from optimizer.runs.handle import RunHandle
from optimizer.runs.published_run import read_published
from optimizer.steps.approve import ApprovalAnswer, ApprovalRequest, record_answer, request_of

LATER = NOW + timedelta(hours=1)


def finish(
    pipeline: Pipeline,
    first_run: FinishedRun,
    *,
    promotion: str,
    validation_status: str = "passed",
    control_pct: int = 5,
) -> RunHandle:
    """Return a completed second run, whose published files are the first one's and whose row says other figures."""
    own = {"approval_timeout_hours": 3, "canary_traffic_pct": 15, "control_pct": control_pct}
    run = pipeline.open("second", now=LATER, promotion=promotion, **own)
    results = sample_results(
        features=({"feature_name": "os_code", "feature_order": 1},),
        s3_output_path=first_run.handle.output_uri,
        total_bids=2 * pipeline.row(first_run.handle).total_bids,
        validation_status=validation_status,
    )
    register_results(pipeline.systems.engine, run.run_id, results=results, now=LATER)
    return run


def test_the_request_shows_the_runs_numbers_the_active_runs_and_the_change(
    after_first_run: Pipeline, first_run: FinishedRun
):
    run = finish(after_first_run, first_run, promotion="approval")
    request = request_of(run, systems=after_first_run.systems)
    assert isinstance(request, ApprovalRequest)
    assert (request.subject, request.timeout_hours) == (f"{ENTITY}: put run {run.run_id} live?", 3)
    active = after_first_run.row(first_run.handle)
    assert "| with 95 % intervals | this run | live | change |" in request.body
    approved = f"Approved, run `{run.run_id}` gets all of the traffic. Live now: run `{active.run_id}` with 100 %."
    assert approved in request.body
    for figure in ("expected win rate", "expected CPM", "**money at stake:** spend a day", "expected margin"):
        assert figure in request.body
    assert "not answered within 3 hours, it does not go live, and what is live stays" in request.body


def test_the_first_run_of_an_entity_is_requested_without_a_comparison(
    after_first_run: Pipeline, first_run: FinishedRun
):
    run = finish(after_first_run, first_run, promotion="approval")
    active = percents_of(deployment_history.read_active(after_first_run.systems.engine, ENTITY))
    assert active == {first_run.handle.run_id: 100}
    by = {"entity_code": ENTITY, "author": Author("anna"), "now": LATER}
    deployments.deploy(after_first_run.systems.engine, split={run.run_id: 100}, **by)
    request = request_of(run, systems=after_first_run.systems)
    assert isinstance(request, ApprovalRequest)
    assert "| with 95 % intervals | this run |\n" in request.body


def test_the_request_begins_with_the_warnings_and_ends_with_the_money_at_stake(
    after_first_run: Pipeline, first_run: FinishedRun
):
    run = finish(after_first_run, first_run, promotion="approval")
    request = request_of(run, systems=after_first_run.systems)
    assert isinstance(request, ApprovalRequest)
    parts = ("**Validation:**", "arget", "Approved, run", "| this run |", "**money at stake:**", "**Backtest")
    places = [request.body.index(part) for part in parts]
    assert places == sorted(places) and places[0] == 0


def test_the_request_and_show_write_the_same_forecast_with_the_same_intervals(
    after_first_run: Pipeline, first_run: FinishedRun
):
    published = read_published(
        first_run.handle.run_id, engine=after_first_run.systems.engine, store=after_first_run.systems.store
    )
    metrics = registry.read_metrics(after_first_run.systems.engine, first_run.handle.run_id)
    shown = forecast_sentence(validation_document(published.row, metrics)["forecast"])
    run = finish(after_first_run, first_run, promotion="approval")
    request = request_of(run, systems=after_first_run.systems)
    assert isinstance(request, ApprovalRequest) and shown is not None and "with 95 % intervals" in shown
    figures = re.findall(r"[\d.,]+(?:\N{NO-BREAK SPACE}%)? \([^)]+ to [^)]+\)", shown)
    assert len(figures) == 4
    for figure in figures:
        assert f"| {figure} |" in request.body


def test_the_request_of_an_entity_with_a_control_says_that_the_control_keeps_its_share(
    after_first_run: Pipeline, first_run: FinishedRun
):
    engine, by = after_first_run.systems.engine, Author("anna")
    deployments.set_control(engine, entity_code=ENTITY, run_id=first_run.handle.run_id, author=by, now=NOW)
    run = finish(after_first_run, first_run, promotion="approval", control_pct=10)
    request = request_of(run, systems=after_first_run.systems)
    assert isinstance(request, ApprovalRequest)
    assert f"Approved, run `{run.run_id}` gets 90 % of the traffic, and the control keeps 10 %." in request.body


@pytest.mark.parametrize(
    ("answer", "row"),
    [
        (ApprovalAnswer(True, "anna", "as forecast"), ("approve", "anna", True, "as forecast")),
        (ApprovalAnswer(True, "anna"), ("approve", "anna", True, "")),
        (ApprovalAnswer(False, "ben", "too dear"), ("reject", "ben", True, "too dear")),
        (ApprovalAnswer(False, "ben"), ("reject", "ben", True, "no reason given")),
        (ApprovalAnswer(False, None), ("reject", "airflow:approve", False, "not answered in time")),
    ],
)
def test_an_answer_leaves_an_audit_row_with_the_persons_name_and_reason(
    after_first_run: Pipeline, first_run: FinishedRun, answer: ApprovalAnswer, row: tuple[str, str, bool, str]
):
    run, systems = finish(after_first_run, first_run, promotion="approval"), after_first_run.systems
    record_answer(run, answer, systems=systems, now=LATER)
    newest = read_audit(systems.engine, ENTITY, limit=1)[0]
    assert (newest.action, newest.actor, newest.is_person, newest.comment) == row
    assert newest.run_id == run.run_id


@pytest.mark.parametrize(
    ("promotion", "validation_status", "reason"),
    [("auto", "passed", "promotion=auto: no approval needed"), ("approval", "failed", "validation of run")],
)
def test_no_approval_is_requested_if_the_answer_would_not_matter(
    after_first_run: Pipeline, first_run: FinishedRun, promotion: str, validation_status: str, reason: str
):
    run = finish(after_first_run, first_run, promotion=promotion, validation_status=validation_status)
    answer = request_of(run, systems=after_first_run.systems)
    assert isinstance(answer, str) and reason in answer


def test_promotion_by_canary_tries_the_run_on_its_share_next_to_the_active_one(
    after_first_run: Pipeline, first_run: FinishedRun
):
    run = finish(after_first_run, first_run, promotion="canary")
    result = after_first_run.promote(run, now=LATER)
    assert result["split"] == {first_run.handle.run_id: 85, run.run_id: 15}
    assert after_first_run.promote(run, now=LATER) == result, "a retried task changes nothing"


def test_a_split_with_a_run_whose_files_are_gone_or_changed_is_refused(
    after_first_run: Pipeline, first_run: FinishedRun
):
    run, systems = first_run.handle, after_first_run.systems
    given = {"entity_code": ENTITY, "engine": systems.engine, "store": systems.store}
    require_files([run.run_id, "unknown"], **given)
    after_first_run.move_outputs_to("s3://pipeline/elsewhere/")
    other = finish(after_first_run, first_run, promotion="none")
    require_files([other.run_id], **given)
    lost = sample_results(features=(), s3_output_path="s3://pipeline/nowhere/")
    third = after_first_run.open("third", now=LATER + timedelta(hours=1))
    register_results(systems.engine, third.run_id, results=lost, now=LATER)
    with pytest.raises(DeploymentError, match=f"the files of run {third.run_id} cannot be served: .*nowhere"):
        require_files([run.run_id, third.run_id], **given)


def test_a_config_that_was_changed_after_the_run_took_it_is_noted_when_the_run_goes_live(
    after_first_run: Pipeline, first_run: FinishedRun
):
    run = finish(after_first_run, first_run, promotion="approval")
    used = after_first_run.row(run).config_snapshot["business"]["target_win_rate"]
    after_first_run.set_value("target_win_rate", "0.41")
    result = after_first_run.promote(run, now=LATER, approved_by="anna")
    assert result["is_promoted"]
    assert result["notice"] == (
        f"entity {ENTITY}: the config was changed after run {run.run_id} took it: target_win_rate is now 0.41, and the "
        f"run used {used}. The next run takes the present values"
    )


def test_values_of_the_run_alone_are_no_change_of_the_config(after_first_run: Pipeline, first_run: FinishedRun):
    run = finish(after_first_run, first_run, promotion="approval")
    assert "notice" not in after_first_run.promote(run, now=LATER, approved_by="anna")
