"""The story of a run, gathered from what its steps staged: what report.html shows."""

from datetime import datetime

import numpy as np
import pandas as pd

from optimizer.core.records import run_files
from optimizer.core.records.config_snapshot import ConfigSnapshot
from optimizer.reporting.learning import learning_sentence
from optimizer.reporting.report_data import RunStory
from optimizer.runs import artifacts, staging
from optimizer.runs.handle import RunHandle


def gather_story(stage: staging.Staging, *, run: RunHandle, snapshot: ConfigSnapshot, started_at: datetime) -> RunStory:
    """Return the story of a run whose bids were validated; of professionals it holds the multipliers alone."""
    inputs, settings, figures = snapshot.inputs, snapshot.settings, artifacts.BID_FIGURES.read(stage)
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
        win_rate=figures.link.landscape(report.reference_cpm).win_rate,
        features=artifacts.SELECTION.read(stage).scores,
        figures=figures.model_dump(exclude_unset=True),
        checks=validation.checks,
        target_sentence=validation.target_sentence,
        learning_sentence=learning_sentence(figures.learning_metrics),
        calibration=report.calibration,
        backtest=artifacts.BACKTEST.read(stage),
        domains=stage.get_frame(run_files.DOMAINS) if settings.domain_enabled else None,
        npi_multipliers=_npi_multipliers(stage) if settings.npi_enabled else None,
    )


def _bid_table(bids: pd.DataFrame) -> pd.DataFrame:
    recent = bids["recent_wins"] / bids["recent_bids"].where(bids["recent_bids"] > 0)
    return bids.assign(mean_bid_cpm=bids["usual_bid_cpm"], recent_win_rate=recent)


def _npi_multipliers(stage: staging.Staging) -> np.ndarray:
    """The multipliers by size, so that nothing of a professional is left, not even a place in the file."""
    return np.sort(stage.get_frame(run_files.NPIS)["multiplier"].to_numpy(float))
