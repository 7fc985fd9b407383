"""compute_bids: from win-rate curves and click rates to bids and multipliers."""

from collections.abc import Mapping
from typing import Any

from optimizer.errors import ArtifactError, RunStateError
from optimizer.pipeline import staging
from optimizer.pipeline.earlier_runs import read_planned_bids
from optimizer.pipeline.pricing import Learned, price_run
from optimizer.pipeline.run import RunHandle, read_settings, read_snapshot
from optimizer.pipeline.systems import Systems
from optimizer.training.job import TrainingReport


def compute_bids(run: RunHandle, *, systems: Systems) -> dict[str, Any]:
    """Leave bids, multipliers and their figures in the staging prefix; return the headline figures."""
    snapshot = read_snapshot(run, systems)
    stage = run.staging(systems)
    previous, problem = _previous_bids(snapshot["inputs"]["active_run_id"], systems)
    priced = price_run(_learned(stage), settings=read_settings(snapshot), previous_bids=previous, run_id=run.run_id)
    stage.put_frame(staging.BIDS, priced.bids)
    for name, table in ((staging.DOMAINS, priced.domains), (staging.NPIS, priced.npis)):
        if table is not None:
            stage.put_frame(name, table)
    stage.put_json(staging.BID_FIGURES, priced.figures | {"active_run_problem": problem})
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


def _previous_bids(active_run_id: str | None, systems: Systems) -> tuple[Mapping[str, float], str | None]:
    """The active run's planned bids by key, and why they cannot be read; nothing of both before there is such a run."""
    if active_run_id is None:
        return {}, None
    try:
        return read_planned_bids(active_run_id, systems).planned_cpm, None
    except (ArtifactError, RunStateError) as error:
        return {}, f"the bids of the active run {active_run_id} cannot be read: {error}"
