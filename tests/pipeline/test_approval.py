"""What a person is shown who is asked for a run's approval."""

from datetime import timedelta

import pytest
from control_plane.catalog import sample_results
from pipeline.conftest import FinishedRun
from pipeline.driver import ENTITY, NOW, Pipeline

from optimizer.control_plane import deployments
from optimizer.control_plane.audit import Author
from optimizer.control_plane.registry import register_results
from optimizer.control_plane.splits import percents_of
from optimizer.deployment.served_files import require_files
from optimizer.errors import DeploymentError
from optimizer.runs.handle import RunHandle
from optimizer.steps.approve import ApprovalRequest, request_of

LATER = NOW + timedelta(hours=1)


def finish(
    pipeline: Pipeline, first_run: FinishedRun, *, promotion: str, validation_status: str = "passed"
) -> RunHandle:
    """Return a completed second run, whose published files are the first one's and whose row says other figures."""
    run = pipeline.open("second", now=LATER, promotion=promotion, approval_timeout_hours=3, canary_traffic_pct=15)
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
    own, active = after_first_run.row(run), after_first_run.row(first_run.handle)
    (head,) = (line for line in request.body.splitlines() if f"run {run.run_id} |" in line)
    assert f"live: run {active.run_id}" in head
    (line,) = (line for line in request.body.splitlines() if "requests in the window" in line)
    assert [cell.strip() for cell in line.strip("|").split("|")][1:] == [
        f"{own.total_bids:,}",
        f"{active.total_bids:,}",
        "+100.0\N{NO-BREAK SPACE}%",
    ]
    for figure in ("expected win rate", "expected CPM", "expected spend a day", "expected margin", "median bid"):
        assert figure in request.body
    assert "not answered within 3 hours, it does not go live, and what is live stays" in request.body


def test_the_first_run_of_an_entity_is_requested_without_a_comparison(
    after_first_run: Pipeline, first_run: FinishedRun
):
    run = finish(after_first_run, first_run, promotion="approval")
    active = percents_of(deployments.read_active(after_first_run.systems.engine, ENTITY))
    assert active == {first_run.handle.run_id: 100}
    by = {"entity_code": ENTITY, "author": Author("anna"), "now": LATER}
    deployments.deploy(after_first_run.systems.engine, split={run.run_id: 100}, **by)
    request = request_of(run, systems=after_first_run.systems)
    assert isinstance(request, ApprovalRequest) and "live: run" not in request.body


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
