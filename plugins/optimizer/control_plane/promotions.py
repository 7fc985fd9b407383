"""Whether a run may still go live automatically: not after a newer run, and not over a manual split."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from optimizer.control_plane.records import Deployment, Run, read_rows
from optimizer.control_plane.tables import deployments, runs
from optimizer.errors import PromotionRefused


@dataclass(frozen=True, slots=True)
class Promotion:
    """A run that goes live automatically.

    Attributes:
        run_id: the run.
        control_pct: share of the traffic that stays with the entity's control, percent.
        manual_split_days: days for which a manual split is not replaced.
    """

    run_id: str
    control_pct: int = 0
    manual_split_days: int = 0


def check_promotion(
    connection: Connection,
    promotion: Promotion,
    *,
    entity_code: str,
    active: Sequence[Deployment],
    now: datetime,
) -> None:
    """Pass where the run may replace the entity's active deployments automatically.

    Call it in the transaction that deploys, with the entity's row locked.

    Raises:
        PromotionRefused: the run was live before, a newer run is live, the split is pinned, or a person set it too
            short a time ago or since the run began.
    """
    others = [deployment for deployment in active if deployment.source != "control"]
    found = _read_runs(connection, [promotion.run_id, *(deployment.run_id for deployment in others)])
    run = found.pop(promotion.run_id)
    reasons = [
        *_past_reasons(connection, run),
        *(_newer_reason(other) for other in found.values() if _is_newer(other, run)),
        *_person_reasons(run, others, now=now, days=promotion.manual_split_days),
    ]
    if reasons:
        raise PromotionRefused(
            f"entity {entity_code}: run {run.run_id} does not go live automatically: {'; '.join(reasons)}; "
            "deploy it with `optimizer deploy` if you want it live"
        )


def _read_runs(connection: Connection, run_ids: list[str]) -> dict[str, Run]:
    statement = select(runs).where(runs.c.run_id.in_(run_ids)).order_by(runs.c.run_id)
    return {run.run_id: run for run in read_rows(Run, connection.execute(statement).mappings())}


def _past_reasons(connection: Connection, run: Run) -> Iterable[str]:
    is_past = (deployments.c.run_id == run.run_id, deployments.c.is_active.is_(False))
    newest = select(deployments).where(*is_past).order_by(deployments.c.deployment_id.desc()).limit(1)
    for past in read_rows(Deployment, connection.execute(newest).mappings()):
        ended = f" at {past.deactivated_at:%Y-%m-%d %H:%M:%S} UTC" if past.deactivated_at else ""
        yield f"it was live already and was taken off{ended}"


def _is_newer(other: Run, run: Run) -> bool:
    """Compare the ends of the windows; where they are the same or unknown, when the runs began."""
    other_end, end = other.data_end_dt, run.data_end_dt
    if other_end is not None and end is not None and other_end != end:
        return other_end > end
    return other.created_at > run.created_at


def _newer_reason(other: Run) -> str:
    return f"run {other.run_id}, whose data end at {other.data_end_dt} and which began at {other.created_at}, is newer"


def scheduled_from(active: Iterable[Deployment], *, days: int) -> datetime | None:
    """Return when scheduled runs may replace the split again that a person set, or None where no person did.

    A pinned split is never replaced; that is for the caller to look at.
    """
    manual = [deployment.deployed_at for deployment in active if deployment.source == "manual"]
    return max(manual) + timedelta(days=days) if manual else None


def _person_reasons(run: Run, active: Sequence[Deployment], *, now: datetime, days: int) -> Iterable[str]:
    for deployment in active:
        name = deployment.deployed_by or "an unknown user"
        if deployment.is_pinned:
            yield f"{name} pinned the split; `optimizer unpin ENTITY` lets scheduled runs replace it"
            return
        if deployment.source == "manual" and deployment.deployed_at > run.created_at:
            yield (
                f"{name} deployed run {deployment.run_id} to {deployment.traffic_pct} % of the traffic after this run "
                "began"
            )
    free_from = scheduled_from(active, days=days)
    if free_from is not None and now < free_from:
        name = next(row.deployed_by or "an unknown user" for row in active if row.source == "manual")
        yield (
            f"{name} set the split, and scheduled runs leave it alone for {days} days (monitor_min_days), until "
            f"{free_from:%Y-%m-%d %H:%M} UTC"
        )
