"""promote: the completed run to live traffic, as its `promotion` says."""

import logging
from datetime import datetime
from typing import Any

from optimizer.control_plane import deployments, runs
from optimizer.control_plane.splits import WHOLE_PCT, percents_of
from optimizer.deployment.holds import by_hand, reason_of_warnings, reason_to_hold
from optimizer.errors import PromotionRefused
from optimizer.runs.handle import RunHandle, read_settings
from optimizer.runs.systems import Systems

log = logging.getLogger(__name__)

AUTOMATIC = ("auto", "canary")
"""Values of `promotion` with which a run goes live automatically."""


def promote(
    run: RunHandle, *, systems: Systems, deployed_by: str, now: datetime, approved_by: str | None = None
) -> dict[str, Any]:
    """Deploy the run as its `promotion` says; return whether, and on which share of the traffic, or why not.

    Args:
        deployed_by: recorded as the deployer of an automatic promotion.
        approved_by: the user who approved the run, or None. An approval is checked again like everything else:
            a user may have deployed another run in the meantime.
    """
    row = runs.read_run(systems.engine, run.run_id)
    settings = read_settings(dict(row.config_snapshot or {}))
    if reason := reason_to_hold(row):
        return {"is_promoted": False, "reason": reason}
    if settings.promotion in AUTOMATIC and (reason := reason_of_warnings(row, systems=systems)):
        log.warning("%s", reason)
        return {"is_promoted": False, "reason": reason}
    if settings.promotion == "none" or (settings.promotion == "approval" and approved_by is None):
        return {"is_promoted": False, "reason": f"promotion={settings.promotion}: {by_hand(row)}"}
    try:
        if settings.promotion == "canary":
            active = deployments.start_canary(
                systems.engine,
                entity_code=run.entity_code,
                run_id=run.run_id,
                canary_pct=settings.canary_traffic_pct,
                now=now,
            )
        else:
            active = deployments.deploy(
                systems.engine,
                entity_code=run.entity_code,
                split={run.run_id: WHOLE_PCT},
                deployed_by=deployed_by if approved_by is None else f"{approved_by} (approved in Airflow)",
                now=now,
                automatic=True,
            )
    except PromotionRefused as refused:
        return {"is_promoted": False, "reason": str(refused)}
    said = "" if approved_by is None else f", approved by {approved_by}"
    return {"is_promoted": True, "reason": f"promotion={settings.promotion}{said}", "split": percents_of(active)}
