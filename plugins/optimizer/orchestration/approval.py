"""The task that asks for approval before a run goes live, if the run's config says so."""

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Context, Param
from airflow.sdk.exceptions import AirflowSkipException

from optimizer.control_plane.audit import MAX_COMMENT
from optimizer.orchestration import task_bodies


class PromotionApproval(ApprovalOperator):
    """Airflow's approval, asked only for runs with promotion=approval: that is known when the run is there.

    Returns {"approved_by": name, "reason": text}; the name is None if no approval was needed. A rejection and a
    time-out skip the task, and with it what depends on it; Airflow's own operator would skip that too, but succeed
    itself and not say why.
    """

    def __init__(self, *, longest_wait: timedelta, **kwargs: Any) -> None:
        super().__init__(subject="Put the run live?", defaults=self.REJECT, response_timeout=longest_wait, **kwargs)

    def execute(self, context: Context) -> dict[str, Any]:
        """Ask, and wait without a worker's slot; or return at once."""
        request = task_bodies.request_approval(task_bodies.run_of(context))
        if isinstance(request, str):
            self.log.info(request)
            return {"approved_by": None, "reason": ""}
        self.subject, self.body = request.subject, request.body
        # The DAG run itself ends at its own time-out, which knows the entity's value and not the run's.
        own, longest = timedelta(hours=request.timeout_hours), self.response_timeout
        self.response_timeout = own if longest is None else min(own, longest)
        answer: dict[str, Any] = super().execute(context)
        return answer

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Return who approved and why; record either answer."""
        run, is_rejected = task_bodies.run_of(context), event.get("chosen_options") == [self.REJECT]
        if not is_rejected:
            super().execute_complete(context, event)
        answer = task_bodies.record_answer(run, event, is_approved=not is_rejected)
        if is_rejected:
            raise AirflowSkipException(task_bodies.explain_rejection(run, event))
        return {"approved_by": answer.name, "reason": answer.reason}


def answer_form() -> dict[str, Param]:
    """Return the fields of an answer, the task's `params`: why the run is approved or rejected."""
    # Airflow cannot require a field for one of two answers: a rejection without a reason is recorded as such.
    return {
        "reason": Param(
            "",
            type=["null", "string"],
            maxLength=MAX_COMMENT,
            title="Reason",
            description_md="Write why if you reject the run. It is kept with your name.",
        )
    }
