"""compute_bids: from win-rate curves and click rates to bids and multipliers."""

from typing import Any

from optimizer.core.settings import RunSettings
from optimizer.errors import ArtifactError, RunStateError
from optimizer.pipeline import staging
from optimizer.pipeline.backtesting import backtest_bids
from optimizer.pipeline.earlier_runs import PlannedBids, read_planned_bids
from optimizer.pipeline.learning import selected_cells
from optimizer.pipeline.pricing import Learned, PricedRun, price_run
from optimizer.pipeline.run import RunHandle, read_settings, read_snapshot
from optimizer.pipeline.systems import Systems
from optimizer.training.job import TrainingReport


def compute_bids(run: RunHandle, *, systems: Systems) -> dict[str, Any]:
    """Leave bids, multipliers and their figures in the staging prefix; return the headline figures."""
    snapshot = read_snapshot(run, systems)
    settings, stage = read_settings(snapshot), run.staging(systems)
    active, problem = _active_run(snapshot["inputs"]["active_run_id"], systems)
    previous = {} if active is None else active.planned_cpm
    priced = price_run(_learned(stage), settings=settings, previous_bids=previous, run_id=run.run_id)
    stage.put_json(staging.BACKTEST, _backtest(stage, priced, active, settings=settings, run_id=run.run_id))
    stage.put_frame(staging.BIDS, priced.bids)
    for name, table in ((staging.DOMAINS, priced.domains), (staging.NPIS, priced.npis)):
        if table is not None:
            stage.put_frame(name, table)
    stage.put_json(staging.BID_FIGURES, priced.figures | _active_figures(active) | {"active_run_problem": problem})
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


def _backtest(
    stage: staging.Staging, priced: PricedRun, active: PlannedBids | None, *, settings: RunSettings, run_id: str
) -> dict[str, Any] | None:
    """What the bids would have brought beside the active run's; None where there is nothing to compare with."""
    features = tuple(stage.get_json(staging.SELECTION)["features"])
    if active is None or active.features != features or settings.auction_type != "first_price":
        return None
    backtest = backtest_bids(
        selected_cells(stage, stage.get_json(staging.TOTALS), list(features)),
        features=features,
        bids=priced.bids,
        report=TrainingReport.model_validate(stage.get_json(staging.TRAINING)),
        new_jitter_sd=priced.figures["jitter_sd"],
        active_jitter_sd=active.metrics["bidding"]["jitter_sd"],
        fallback_cpm=priced.figures["fallback_bid_cpm"],
        active_fallback_cpm=active.fallback_cpm,
        run_id=run_id,
    )
    return backtest.to_record()
