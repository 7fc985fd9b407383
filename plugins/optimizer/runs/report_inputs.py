"""The story of a run, gathered from what its steps staged: what report.html shows."""

from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from optimizer.core.landscape.curves import Landscape, Link
from optimizer.core.landscape.logit import Tails
from optimizer.core.landscape.price_steps import PriceSteps
from optimizer.core.records import run_files
from optimizer.core.records.config_snapshot import ConfigSnapshot
from optimizer.reporting.learning import learning_sentence
from optimizer.reporting.report_data import RunStory
from optimizer.runs import artifacts, staging
from optimizer.runs.handle import RunHandle
from optimizer.runs.identification import IDENTIFICATION
from optimizer.training.job import TrainingReport


def gather_story(stage: staging.Staging, *, run: RunHandle, snapshot: ConfigSnapshot, started_at: datetime) -> RunStory:
    """Return the story of a run whose bids were validated; of professionals it holds the multipliers alone."""
    inputs, settings, figures = snapshot.inputs, snapshot.settings, stage.get_json(run_files.BID_FIGURES)
    report = artifacts.TRAINING.read(stage)
    validation = artifacts.VALIDATION.read(stage)
    return RunStory(
        run_id=run.run_id,
        run_code=run.run_code,
        entity_code=run.entity_code,
        window_start=inputs.data_start_dt,
        window_end=inputs.data_end_dt,
        created_at=started_at,
        active_run_id=inputs.active_run_id,
        target_win_rate=settings.target_win_rate,
        win_rate_scope=settings.win_rate_scope,
        target_margin=settings.target_margin,
        max_bid_cpm=settings.max_bid_cpm,
        bids=_bid_table(stage.get_frame(run_files.BIDS)),
        win_rate=landscape_of(report, figures).win_rate,
        features=artifacts.SELECTION.read(stage).scores,
        figures=figures,
        checks=validation.checks,
        target_sentence=validation.target_sentence,
        learning_sentence=learning_sentence({IDENTIFICATION: figures.get(IDENTIFICATION, {}), "bidding": figures}),
        calibration=report.calibration,
        backtest=artifacts.BACKTEST.read(stage),
        domains=stage.get_frame(run_files.DOMAINS) if settings.domain_enabled else None,
        npi_multipliers=_npi_multipliers(stage) if settings.npi_enabled else None,
    )


def _bid_table(bids: pd.DataFrame) -> pd.DataFrame:
    recent = bids["recent_wins"] / bids["recent_bids"].where(bids["recent_bids"] > 0)
    return bids.assign(mean_bid_cpm=bids["usual_bid_cpm"], recent_win_rate=recent)


def landscape_of(report: TrainingReport, figures: dict[str, Any]) -> Landscape:
    """Return the win-rate curves on which the staged bids were priced."""
    link = figures["link"]
    shifts, shares = (np.asarray(link[name], float) for name in ("shifts", "shares"))
    tails = Tails(link["unrivalled_share"], 1 - link.get("lost_share", 0.0))
    steps = PriceSteps(link["price_ladder"], link["price_ladder_share"]) if link.get("price_ladder") else None
    return Landscape(report.reference_cpm, Link(shifts, shares, tails), steps)


def _npi_multipliers(stage: staging.Staging) -> np.ndarray:
    """The multipliers by size, so that nothing of a professional is left, not even a place in the file."""
    return np.sort(stage.get_frame(run_files.NPIS)["multiplier"].to_numpy(float))
