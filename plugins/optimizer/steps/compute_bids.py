"""compute_bids: from win-rate curves and click rates to bids and multipliers."""

import logging
from datetime import datetime
from typing import Any

import pandas as pd

from optimizer.core.pricing.forecast import EarlierForecast, correct_level
from optimizer.errors import ArtifactError, RunStateError
from optimizer.reporting.forecast import forecast_sentence
from optimizer.reporting.learning import learning_sentence
from optimizer.runs import staging
from optimizer.runs.cell_run import active_bids, bid_on_cells
from optimizer.runs.handle import RunHandle, read_settings, read_snapshot
from optimizer.runs.identification import IDENTIFICATION, identification_figures
from optimizer.runs.planned_bids import PlannedBids, read_planned_bids
from optimizer.runs.pricing import Learned
from optimizer.runs.systems import Systems
from optimizer.training.job import TrainingReport

log = logging.getLogger(__name__)

ACTIVE_FIGURES = ("row_coverage", "segments_in_memcache", "expected_win_rate", "expected_cpm")
"""Figures of the active run that the checks compare with."""


def compute_bids(run: RunHandle, *, systems: Systems) -> dict[str, Any]:
    """Leave bids, multipliers, backtest and their figures in the staging prefix; return the headline figures."""
    snapshot = read_snapshot(run, systems)
    settings, stage = read_settings(snapshot), run.staging(systems)
    cells = stage.get_frame(staging.CELLS)
    learned = _learned(stage, cells)
    plan, problem = _active_run(snapshot["inputs"]["active_run_id"], run, systems)
    active = active_bids(plan, cells, learned.features)
    if plan is not None and active is None:
        problem = f"the key of the active run has {', '.join(plan.features)}; one is not a candidate feature now"
    priced, backtest = bid_on_cells(cells, learned, plan=plan, active=active, settings=settings, run_id=run.run_id)
    stage.put_json(staging.BACKTEST, None if backtest is None else backtest.to_record())
    tables = {staging.BIDS: priced.bids, staging.DOMAINS: priced.domains, staging.NPIS: priced.npis}
    checksums = {name: stage.put_frame(name, table).sha256 for name, table in tables.items() if table is not None}
    can_bid = priced.bids["suggested_bid_cpm"].notna()
    identification = identification_figures(
        stage.get_json(staging.VARIATION),
        figures=priced.figures,
        bids_per_day=float(priced.bids.loc[can_bid, "requests"].sum()),
        today=datetime.fromisoformat(snapshot["inputs"]["data_end_dt"]).date(),
    )
    noted = {"active_run_problem": problem, "checksums": checksums, IDENTIFICATION: identification}
    stage.put_json(staging.BID_FIGURES, priced.figures | _active_figures(plan) | noted)
    learning = learning_sentence({IDENTIFICATION: identification, "bidding": priced.figures})
    for sentence in (learning, forecast_sentence(priced.figures)):
        if sentence is not None:
            log.info("run %s of %s: %s", run.run_id, run.entity_code, sentence)
    return {"segments_count": priced.figures["segments_count"], "bid_median": priced.figures["bid_median"]}


def _learned(stage: staging.Staging, cells: pd.DataFrame) -> Learned:
    totals = stage.get_json(staging.TOTALS)
    found = {
        name: stage.get_frame(totals["files"][name]) if name in totals["files"] else None
        for name in (staging.DOMAIN_CELLS, staging.NPI_TOTALS)
    }
    return Learned(
        segments=stage.get_frame(staging.SEGMENTS),
        report=TrainingReport.model_validate(stage.get_json(staging.TRAINING)),
        features=stage.get_json(staging.SELECTION)["features"],
        domain_cells=found[staging.DOMAIN_CELLS],
        npi_totals=found[staging.NPI_TOTALS],
        total_clicks=totals["joined_clicks"],
        level_correction=correct_level(
            cells, {run_id: EarlierForecast(**known) for run_id, known in totals["earlier_forecasts"].items()}
        ),
    )


def _active_run(active_run_id: str | None, run: RunHandle, systems: Systems) -> tuple[PlannedBids | None, str | None]:
    """What the active run planned, and why it cannot be read; nothing of both before there is such a run."""
    if active_run_id is None:
        return None, None
    try:
        return read_planned_bids(active_run_id, systems, next_run_id=run.run_id), None
    except (ArtifactError, RunStateError) as error:
        return None, f"the bids of the active run {active_run_id} cannot be read: {error}"


def _active_figures(active: PlannedBids | None) -> dict[str, float | None]:
    """What the new run is compared with; None without an active run, or if its figures are unknown."""
    bidding = {} if active is None else active.metrics.get("bidding", {})
    return {f"active_{name}": bidding.get(name) for name in ACTIVE_FIGURES}
