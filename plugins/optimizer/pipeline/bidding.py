"""compute_bids: from win-rate curves and click rates to bids and multipliers."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from optimizer.core.cells import group_cells
from optimizer.core.settings import RunSettings
from optimizer.errors import ArtifactError, RunStateError
from optimizer.pipeline import staging
from optimizer.pipeline.backtesting import backtest_bids
from optimizer.pipeline.earlier_runs import PlannedBids, previous_bids, read_planned_bids
from optimizer.pipeline.learning import candidate_cells
from optimizer.pipeline.pricing import JITTER_SD, ActiveBids, Learned, PricedRun, price_run
from optimizer.pipeline.run import RunHandle, read_settings, read_snapshot
from optimizer.pipeline.systems import Systems
from optimizer.training.job import TrainingReport


def compute_bids(run: RunHandle, *, systems: Systems) -> dict[str, Any]:
    """Leave bids, multipliers, backtest and their figures in the staging prefix; return the headline figures."""
    snapshot = read_snapshot(run, systems)
    settings, stage = read_settings(snapshot), run.staging(systems)
    learned = _learned(stage)
    cells = candidate_cells(stage, stage.get_json(staging.TOTALS))
    plan, problem = _active_run(snapshot["inputs"]["active_run_id"], systems)
    active = None if plan is None else _translate(plan, cells, learned.features)
    if plan is not None and active is None:
        problem = f"the key of the active run has {', '.join(plan.features)}; one of them is no candidate feature now"
    priced = price_run(learned, settings=settings, active=active, run_id=run.run_id)
    backtest = _backtest(cells, learned, priced, plan, active, settings=settings, run_id=run.run_id)
    stage.put_json(staging.BACKTEST, backtest)
    stage.put_frame(staging.BIDS, priced.bids)
    for name, table in ((staging.DOMAINS, priced.domains), (staging.NPIS, priced.npis)):
        if table is not None:
            stage.put_frame(name, table)
    stage.put_json(staging.BID_FIGURES, priced.figures | _active_figures(plan) | {"active_run_problem": problem})
    return {"segments_count": priced.figures["segments_count"], "bid_median": priced.figures["bid_median"]}


def _learned(stage: staging.Staging) -> Learned:
    totals = stage.get_json(staging.TOTALS)
    cells = {
        name: stage.get_frame(totals["files"][name]) if name in totals["files"] else None
        for name in (staging.DOMAIN_CELLS, staging.NPI_TOTALS)
    }
    return Learned(
        segments=stage.get_frame(staging.SEGMENTS),
        report=TrainingReport.model_validate(stage.get_json(staging.TRAINING)),
        features=stage.get_json(staging.SELECTION)["features"],
        domain_cells=cells[staging.DOMAIN_CELLS],
        npi_totals=cells[staging.NPI_TOTALS],
        total_clicks=totals["joined_clicks"],
    )


def _active_run(active_run_id: str | None, systems: Systems) -> tuple[PlannedBids | None, str | None]:
    """What the active run planned, and why it cannot be read; nothing of both before there is such a run."""
    if active_run_id is None:
        return None, None
    try:
        return read_planned_bids(active_run_id, systems), None
    except (ArtifactError, RunStateError) as error:
        return None, f"the bids of the active run {active_run_id} cannot be read: {error}"


def _active_figures(active: PlannedBids | None) -> dict[str, float | None]:
    """What the new run is compared with; None where there is no active run, or one that did not tell."""
    bidding = {} if active is None else active.metrics.get("bidding", {})
    return {f"active_{name}": bidding.get(name) for name in ("row_coverage", "segments_in_memcache")}


def _translate(plan: PlannedBids, cells: pd.DataFrame, features: Sequence[str]) -> ActiveBids | None:
    """The active run's bids by the new run's keys; None where its key cannot be built any more."""
    planned = previous_bids(plan, cells, features)
    return None if planned is None else ActiveBids(planned, plan.fallback_cpm)


def _backtest(
    cells: pd.DataFrame,
    learned: Learned,
    priced: PricedRun,
    plan: PlannedBids | None,
    active: ActiveBids | None,
    *,
    settings: RunSettings,
    run_id: str,
) -> dict[str, Any] | None:
    """What the bids would have brought beside the active run's; None where there is nothing to compare with."""
    if plan is None or active is None or settings.auction_type != "first_price":
        return None
    backtest = backtest_bids(
        group_cells(cells, learned.features),
        features=tuple(learned.features),
        bids=priced.bids,
        report=learned.report,
        new_jitter_sd=priced.figures["jitter_sd"],
        active_jitter_sd=plan.metrics.get("bidding", {}).get("jitter_sd") or JITTER_SD["on"],
        fallback_cpm=priced.figures["fallback_bid_cpm"],
        active_fallback_cpm=active.fallback_cpm,
        run_id=run_id,
    )
    return backtest.to_record()
