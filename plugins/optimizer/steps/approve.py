"""Approval of a run: whether a person is asked, that the run waits, and who answered what."""

from dataclasses import dataclass
from datetime import datetime

from optimizer.control_plane import runs
from optimizer.control_plane.audit import AuditedChange, Author, system, write_audit
from optimizer.control_plane.engine import transaction
from optimizer.deployment import run_incidents
from optimizer.deployment.holds import needs_person, reason_to_hold
from optimizer.runs.handle import RunHandle, settings_of
from optimizer.runs.systems import Systems


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """The question and the numbers to decide it, in Markdown."""

    subject: str
    body: str
    timeout_hours: int


@dataclass(frozen=True, slots=True)
class ApprovalAnswer:
    """The answer to a request.

    Attributes:
        name: who answered; None where the request was not answered in time.
        reason: why, as the person wrote it; may be empty.
    """

    is_approved: bool
    name: str | None
    reason: str = ""


def request_of(run: RunHandle, *, systems: Systems) -> ApprovalRequest | str:
    """Return the approval request, or the reason why none is needed.

    Raises:
        ArtifactError: the run's own objects cannot be read.
        UnavailableError: a system is silent.
    """
    row = runs.read_run(systems.engine, run.run_id)
    if reason := reason_to_hold(row):
        return reason
    settings = settings_of(row)
    if not needs_person(row, settings, engine=systems.engine):
        return f"promotion={settings.promotion}: no approval needed for run {run.run_id}"
    # Most runs ask nobody, and need none of the libraries that read tables.
    from optimizer.steps.approval_request import request_body

    subject, body = f"{run.entity_code}: put run {run.run_id} live?", request_body(run, settings, systems=systems)
    return ApprovalRequest(subject, body, settings.approval_timeout_hours)


def note_waiting(run: RunHandle, request: ApprovalRequest, *, systems: Systems, now: datetime) -> None:
    """Open the incident of a run that waits for its approval."""
    message = f"{request.subject} Answer within {request.timeout_hours} hours: Required Actions in Airflow"
    entity_id = runs.read_run(systems.engine, run.run_id).entity_id
    run_incidents.open_approval(systems.engine, entity_id, run_id=run.run_id, message=message, now=now)


def record_answer(run: RunHandle, answer: ApprovalAnswer, *, systems: Systems, now: datetime) -> None:
    """Write the answer to opt_audit as `approve` or `reject`, by the person who gave it, with the reason."""
    entity_id = runs.read_run(systems.engine, run.run_id).entity_id
    if answer.name is None:
        author = system("approve", comment="not answered in time")
    else:
        author = Author(answer.name, comment=answer.reason or ("" if answer.is_approved else "no reason given"))
    action = "approve" if answer.is_approved else "reject"
    with transaction(systems.engine) as connection:
        write_audit(connection, author, AuditedChange(action, entity_id=entity_id, run_id=run.run_id), now=now)
