"""compute_bids: from win-rate curves and click rates to bids and multipliers."""

import logging
from typing import Any

import pandas as pd

from optimizer.core.landscape.click_delay import count_click_views
from optimizer.core.pricing.forecast import correct_level
from optimizer.core.records import run_files
from optimizer.core.records.bid_figures import BidFigures
from optimizer.core.records.earlier_run import EarlierFigures
from optimizer.errors import ArtifactError, RunStateError
from optimizer.reporting.forecast import forecast_sentence
from optimizer.reporting.learning import learning_sentence
from optimizer.runs import artifacts, staging
from optimizer.runs.cell_run import active_bids, bid_on_cells
from optimizer.runs.handle import RunHandle, read_snapshot
from optimizer.runs.identification import identification_figures
from optimizer.runs.learned import Learned, learn_effects
from optimizer.runs.planned_bids import PlannedBids, read_planned_bids
from optimizer.runs.pricing_inputs import stage_pricing_inputs
from optimizer.runs.systems import Systems

log = logging.getLogger(__name__)

ACTIVE_FIGURES = ("row_coverage", "segments_in_memcache", "expected_win_rate", "expected_cpm")
"""Figures of the active run that the checks compare with."""


def compute_bids(run: RunHandle, *, systems: Systems) -> dict[str, Any]:
    """Leave bids, multipliers, backtest and their figures in the staging prefix; return the headline figures."""
    snapshot = read_snapshot(run, systems)
    settings, stage = snapshot.settings, run.staging(systems)
    cells = stage.get_frame(run_files.CELLS)
    learned = _learned(stage, cells)
    plan, problem = _active_run(snapshot.inputs.active_run_id, run, systems)
    active = active_bids(plan, cells, learned.features)
    if plan is not None and active is None:
        problem = f"the key of the active run has {', '.join(plan.features)}; one is not a candidate feature now"
    priced, backtest = bid_on_cells(cells, learned, plan=plan, active=active, settings=settings, run_id=run.run_id)
    artifacts.BACKTEST.write(stage, backtest)
    stage_pricing_inputs(stage, learned, active)
    tables = {run_files.BIDS: priced.bids, run_files.DOMAINS: priced.domains, run_files.NPIS: priced.npis}
    checksums = {name: stage.put_frame(name, table).sha256 for name, table in tables.items() if table is not None}
    can_bid = priced.bids["suggested_bid_cpm"].notna()
    identification = identification_figures(
        artifacts.VARIATION.read(stage),
        figures=priced.figures,
        bids_per_day=float(priced.bids.loc[can_bid, "requests"].sum()),
        today=snapshot.inputs.data_end_dt.date(),
    )
    figures = BidFigures(
        **priced.figures.model_dump(exclude_unset=True),
        **_active_figures(plan),
        active_run_problem=problem,
        checksums=checksums,
        identification=identification,
    )
    artifacts.BID_FIGURES.write(stage, figures)
    for sentence in (learning_sentence(figures.learning_metrics), forecast_sentence(figures.model_dump())):
        if sentence is not None:
            log.info("run %s of %s: %s", run.run_id, run.entity_code, sentence)
    return {"segments_count": figures.segments_count, "bid_median": figures.bid_median}


def _learned(stage: staging.Staging, cells: pd.DataFrame) -> Learned:
    log_read = artifacts.TOTALS.read(stage)
    domain_cells, npi_totals = (
        count_click_views(stage.get_frame(log_read.files[name]), log_read.click_maturity)
        if name in log_read.files
        else None
        for name in (run_files.DOMAIN_CELLS, run_files.NPI_TOTALS)
    )
    report = artifacts.TRAINING.read(stage)
    return Learned(
        segments=stage.get_frame(run_files.SEGMENTS),
        report=report,
        features=artifacts.SELECTION.read(stage).features,
        **learn_effects(report, domain_cells=domain_cells, npi_totals=npi_totals),
        total_clicks=log_read.joined_clicks,
        level_correction=correct_level(cells, log_read.earlier_forecasts),
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
    """What the new run is compared with; None where there is no active run, or one without these figures."""
    figures = EarlierFigures() if active is None else active.figures
    return {f"active_{name}": getattr(figures, name) for name in ACTIVE_FIGURES}
