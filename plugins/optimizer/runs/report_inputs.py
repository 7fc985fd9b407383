"""The story of a run, gathered from what its steps staged: what report.html shows."""

from datetime import datetime

import numpy as np
import pandas as pd

from optimizer.core.records import run_files
from optimizer.reporting.learning import learning_sentence
from optimizer.reporting.report_data import RunStory
from optimizer.runs.staged_run import StagedRun
from optimizer.runs.staging import Staging


def gather_story(run: StagedRun, *, bids: pd.DataFrame, started_at: datetime) -> RunStory:
    """Return the story of a validated run; of professionals it holds the multipliers alone.

    Args:
        bids: its staged bid table.
    """
    handle, inputs, settings = run.handle, run.snapshot.inputs, run.settings
    return RunStory(
        run_id=handle.run_id,
        run_code=handle.run_code,
        entity_code=handle.entity_code,
        window_start=inputs.data_start_dt,
        window_end=inputs.data_end_dt,
        created_at=started_at,
        active_run_id=inputs.active_run_id,
        target_win_rate=settings.target_win_rate,
        win_rate_scope=settings.win_rate_scope,
        target_margin=settings.target_margin,
        max_bid_cpm=settings.max_bid_cpm,
        bids=_bid_table(bids),
        win_rate=run.landscape.win_rate,
        features=run.selection.scores,
        figures=run.bids.model_dump(exclude_unset=True),
        checks=run.validation.checks,
        target_sentence=run.validation.target_sentence,
        learning_sentence=learning_sentence(run.bids.learning_metrics),
        calibration=run.training.calibration,
        backtest=run.backtest,
        domains=run.stage.get_frame(run_files.DOMAINS) if settings.domain_enabled else None,
        npi_multipliers=_npi_multipliers(run.stage) if settings.npi_enabled else None,
    )


def _bid_table(bids: pd.DataFrame) -> pd.DataFrame:
    recent = bids["recent_wins"] / bids["recent_bids"].where(bids["recent_bids"] > 0)
    return bids.assign(mean_bid_cpm=bids["usual_bid_cpm"], recent_win_rate=recent)


def _npi_multipliers(stage: Staging) -> np.ndarray:
    """The multipliers by size, so that nothing of a professional is left, not even a place in the file."""
    return np.sort(stage.get_frame(run_files.NPIS)["multiplier"].to_numpy(float))
