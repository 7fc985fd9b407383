"""Where a run that is tried stands, in words."""

from datetime import timedelta

from optimizer.control_plane.canaries import plan_of
from optimizer.control_plane.records import Canary


def canary_sentence(tried: Canary) -> str:
    """Return a sentence on where the canary is and what comes next."""
    steps = plan_of(tried).steps
    step = steps[tried.step - 1]
    following = f"{steps[tried.step].traffic_pct} %" if tried.step < len(steps) else "all the traffic"
    needs = "once it is on target" if tried.step == len(steps) else ""
    due = "" if step.days is None else f" from {tried.step_started_at + timedelta(days=step.days):%Y-%m-%d %H:%M} UTC"
    state = f"{tried.status} by {tried.changed_by}" + (f" ({tried.reason})" if tried.reason else "")
    return (
        f"Run {tried.run_id} is tried, {state}: step {tried.step} of {len(steps)} with {step.traffic_pct} % since "
        f"{tried.step_started_at:%Y-%m-%d %H:%M} UTC; next {following}{due}{' ' if needs else ''}{needs}."
    )
