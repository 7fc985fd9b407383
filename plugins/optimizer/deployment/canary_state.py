"""Where a run that is tried stands, in words."""

from collections.abc import Iterable
from datetime import timedelta

from optimizer.control_plane.canaries import plan_of
from optimizer.control_plane.live_rows import LiveVerdict
from optimizer.control_plane.records import Alert, Canary
from optimizer.core.live.performance import DECISIVE


def canary_sentence(tried: Canary, *, verdicts: Iterable[LiveVerdict] = (), incidents: Iterable[Alert] = ()) -> str:
    """Return where the canary is, what comes next, and what is missing for it.

    Args:
        verdicts: the latest of the entity.
        incidents: the open ones of the entity.
    """
    steps = plan_of(tried).steps
    step = steps[tried.step - 1]
    following = f"{steps[tried.step].traffic_pct} %" if tried.step < len(steps) else "all the traffic"
    due = "" if step.days is None else f" from {tried.step_started_at + timedelta(days=step.days):%Y-%m-%d %H:%M} UTC"
    state = f"{tried.status} by {tried.changed_by}" + (f" ({tried.reason})" if tried.reason else "")
    needs = _missing(tried, is_last=tried.step == len(steps), verdicts=verdicts, incidents=incidents)
    return (
        f"Run {tried.run_id} is tried, {state}: step {tried.step} of {len(steps)} with {step.traffic_pct} % since "
        f"{tried.step_started_at:%Y-%m-%d %H:%M} UTC; next {following}{due}{', once ' if needs else ''}"
        f"{' and '.join(needs)}."
    )


def _missing(tried: Canary, *, is_last: bool, verdicts: Iterable[LiveVerdict], incidents: Iterable[Alert]) -> list[str]:
    """What has to come true before the next step, apart from its days."""
    kinds = {incident.kind for incident in incidents if incident.subject in ("", tried.run_id)}
    needs = []
    if tried.status == "paused":
        needs.append("it is resumed")
    if "split_mismatch" in kinds:
        needs.append("the traffic is split as deployed")
    if "forecast_unreadable" in kinds:
        needs.append("its forecast can be read")
    if is_last:
        beside = [row for row in verdicts if (row.run_id, row.compared_with) == (tried.run_id, "split")]
        reached = {row.figure for row in beside if row.verdict == "on target"}
        waiting = [figure for figure in DECISIVE if figure not in reached] or DECISIVE
        needs.append(f"{' and '.join(waiting)} {'are' if len(waiting) > 1 else 'is'} on target")
    return needs
