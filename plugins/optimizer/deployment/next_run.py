"""What the next scheduled run will do to a split, in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from optimizer.control_plane.promotions import scheduled_from
from optimizer.control_plane.records import Deployment, EntityDefinition
from optimizer.core.config.settings import RunSettings
from optimizer.core.live.canary_plan import plan_of
from optimizer.deployment.split_settings import some_settings, split_settings
from optimizer.errors import ConfigError


@dataclass(frozen=True, slots=True)
class NextRun:
    """The next scheduled run: starts_at is None where none is planned."""

    starts_at: datetime | None
    is_paused: bool = False


def next_run_effect(
    definition: EntityDefinition,
    live: Sequence[Deployment],
    *,
    next_run: NextRun,
    canary_run_id: str | None,
    now: datetime,
) -> str:
    """Return what the next scheduled run does to a split, one or two sentences.

    Args:
        live: the deployments of the split.
        canary_run_id: the run that is tried in it, or None.
        now: when it is asked; a run could start at once.
    """
    others = [row for row in live if row.source != "control"]
    try:
        days = split_settings(definition).manual_split_days
        settings = some_settings(definition, ("promotion", "canary_plan", "canary_traffic_pct", "control_pct"))
        does = _does(settings, has_control=definition.entity.control_run_id is not None)
    except ConfigError as error:
        return f"The next scheduled run cannot start, so this split stays: {error}"
    head = _head(next_run)
    if settings.promotion == "none":
        return f"{head} Runs do not change the split: with promotion “none” a run waits until you deploy it."
    if any(row.is_pinned for row in others):
        return f"{head} Scheduled runs do not change the split: it is pinned until you unpin it."
    if canary_run_id is not None:
        return f"{head} No other run goes live while run {canary_run_id} is being tried."
    free_from = scheduled_from(others, days=days)
    if free_from is None or (next_run.starts_at or now) >= free_from:
        return f"{head} A validated run {does}."
    return (
        f"{head} Scheduled runs leave this split alone for {days} day{'' if days == 1 else 's'} (monitor_min_days), "
        f"until {free_from:%Y-%m-%d %H:%M} UTC. After that a validated run {does}."
    )


def _head(next_run: NextRun) -> str:
    if next_run.is_paused:
        return "The client's DAG is paused in Airflow, so no scheduled run starts now."
    if next_run.starts_at is None:
        return "No scheduled run is planned."
    return f"The next scheduled run starts at {next_run.starts_at:%Y-%m-%d %H:%M} UTC."


def _does(settings: RunSettings, *, has_control: bool) -> str:
    rest = f" but the control's {settings.control_pct} %" if has_control and settings.control_pct else ""
    match settings.promotion:
        case "canary":
            plan = plan_of(settings.canary_plan, canary_traffic_pct=settings.canary_traffic_pct)
            return (
                f"is tried on {plan.steps[0].traffic_pct} % of the traffic, and the runs of this split share the rest"
            )
        case "approval":
            return f"waits for approval in Airflow; approved, it gets all traffic{rest}"
        case _:
            return f"replaces this split: it gets all traffic{rest}"
