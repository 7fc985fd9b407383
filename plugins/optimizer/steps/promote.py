"""promote: the completed run to live traffic, as its `promotion` says."""

import logging
from datetime import datetime
from typing import Any

from optimizer.control_plane import canary_splits, deployments, runs
from optimizer.control_plane.audit import Author
from optimizer.control_plane.promotions import Promotion
from optimizer.control_plane.splits import percents_of
from optimizer.core.live.canary_plan import plan_of
from optimizer.deployment.config_changes import read_config_notice
from optimizer.deployment.control import ensure_control
from optimizer.deployment.control_notice import read_control_notice
from optimizer.deployment.holds import by_hand, needs_person, reason_of_warnings, reason_to_hold
from optimizer.deployment.serving_snapshots import update_after_change
from optimizer.errors import PromotionRefused
from optimizer.runs.handle import RunHandle, settings_of
from optimizer.runs.systems import Systems

log = logging.getLogger(__name__)

AUTOMATIC = ("auto", "canary")
"""Values of `promotion` with which a run goes live automatically."""


def promote(
    run: RunHandle,
    *,
    systems: Systems,
    author: Author,
    now: datetime,
    approved_by: str | None = None,
    comment: str = "",
) -> dict[str, Any]:
    """Deploy the run as its `promotion` says; return whether, and on which share of the traffic, or why not.

    Args:
        author: the part of the system that deploys where no person does.
        approved_by: the person who confirmed the run, or None. A person's word is checked again as everything else is:
            a user may have deployed another run in the meantime.
        comment: the reason that this person gave; the split keeps it.
    """
    row = runs.read_run(systems.engine, run.run_id)
    settings = settings_of(row)
    if reason := reason_to_hold(row):
        return {"is_promoted": False, "reason": reason}
    if settings.promotion in AUTOMATIC and (reason := reason_of_warnings(row, systems=systems)):
        log.warning("%s", reason)
        return {"is_promoted": False, "reason": reason}
    if settings.promotion == "none" or (needs_person(row, settings, engine=systems.engine) and approved_by is None):
        return {"is_promoted": False, "reason": f"promotion={settings.promotion}: {by_hand(row)}"}
    promotion = Promotion(run.run_id, control_pct=settings.control_pct, manual_split_days=settings.monitor_min_days)
    code = run.entity_code
    ensure_control(run, systems=systems, now=now)
    try:
        if settings.promotion == "canary":
            plan = plan_of(settings.canary_plan, canary_traffic_pct=settings.canary_traffic_pct)
            active = canary_splits.start_canary(systems.engine, promotion, entity_code=code, canary_plan=plan, now=now)
        else:
            by = author if approved_by is None else Author(f"{approved_by} (approved in Airflow)", comment=comment)
            active = deployments.promote(systems.engine, promotion, entity_code=code, author=by, now=now)
    except PromotionRefused as refused:
        return {"is_promoted": False, "reason": str(refused)}
    late = update_after_change(code, engine=systems.engine, store=systems.store, now=now)
    changed = read_config_notice(systems.engine, row, entity_code=code)
    for notice in (late, read_control_notice(systems.engine, code), changed):
        if notice is not None:
            log.warning("%s", notice)
    said = "" if approved_by is None else f", approved by {approved_by}"
    return {
        "is_promoted": True,
        "reason": f"promotion={settings.promotion}{said}",
        "split": percents_of(active),
        **({} if changed is None else {"notice": changed}),
    }
