"""The story of a run, gathered from what its steps staged: what report.html shows."""

from datetime import datetime

import numpy as np
import pandas as pd

from optimizer.core.pricing.expected_spend import ValueSpend, expected_spend_by, seen_spend_by
from optimizer.core.records import run_files
from optimizer.core.serving.keys import split_key
from optimizer.reporting.coarse_cells import coarse_sentence
from optimizer.reporting.learning import learning_sentence
from optimizer.reporting.report_data import LiveComparison, RunStory, SpendTable
from optimizer.runs.staged_run import StagedRun
from optimizer.runs.staging import Staging

STATE, DOMAIN = "geo_region_name", "domain"
"""Features whose spend is shown even if they are not in the segment key."""

_SEEN_COLUMNS = ("bids", "wins", "cost_cpm_sum", "view_revenue", "click_revenue")


def gather_story(
    run: StagedRun, *, bids: pd.DataFrame, started_at: datetime, live: LiveComparison | None = None
) -> RunStory:
    """Return the story of a validated run; of professionals it holds the multipliers alone.

    Args:
        bids: its staged bid table.
        live: how it compares with what is live; None where nothing is.
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
        coarse_sentence=None if run.log.coarse is None else coarse_sentence(run.log.coarse),
        calibration=run.training.calibration,
        backtest=run.backtest,
        domains=run.stage.get_frame(run_files.DOMAINS) if settings.domain_enabled else None,
        npi_multipliers=_npi_multipliers(run.stage) if settings.npi_enabled else None,
        key_features=run.selection.features,
        pricing=run.pricing,
        spend=_spend_tables(run, bids),
        live=live,
    )


def spend_scale(bids: pd.DataFrame, spend_per_day: float | None) -> float:
    """Return the factor on the requests with which the bids spend what the run forecasts; 1 without a forecast."""
    spend = float((bids["requests"] * bids["expected_win_rate"] * bids["expected_cost_cpm"]).sum()) / 1000
    return 1.0 if spend_per_day is None or spend <= 0 else spend_per_day / spend


def _bid_table(bids: pd.DataFrame) -> pd.DataFrame:
    recent = bids["recent_wins"] / bids["recent_bids"].where(bids["recent_bids"] > 0)
    return bids.assign(mean_bid_cpm=bids["usual_bid_cpm"], recent_win_rate=recent)


def _npi_multipliers(stage: Staging) -> np.ndarray:
    """The multipliers by size, so that nothing of a professional is left, not even a place in the file."""
    return np.sort(stage.get_frame(run_files.NPIS)["multiplier"].to_numpy(float))


def _spend_tables(run: StagedRun, bids: pd.DataFrame) -> tuple[SpendTable, ...]:
    """Expected spend by each feature of the key; of state and domain outside the key, what the log had."""
    scale = spend_scale(bids, run.bids.expected_spend_per_day)
    values = zip(*map(split_key, bids["segment_key"]), strict=True)
    tables = [
        SpendTable(feature, is_expected=True, parts=tuple(expected_spend_by(bids, own, scale=scale)))
        for feature, own in zip(run.selection.features, values, strict=True)
    ]
    for feature, file in ((STATE, run_files.SEGMENT_CELLS), (DOMAIN, run_files.DOMAIN_CELLS)):
        if feature not in run.selection.features:
            tables.append(SpendTable(feature, is_expected=False, parts=_seen_spend(run, feature, file)))
    return tuple(tables)


def _seen_spend(run: StagedRun, feature: str, file: str) -> tuple[ValueSpend, ...]:
    """The log's spend by the values of a column, empty where the run did not extract it."""
    if file not in run.log.files or (feature == STATE and STATE not in run.log.candidate_features):
        return ()
    cells = run.stage.get_frame(run.log.files[file], columns=[feature, *_SEEN_COLUMNS])
    return tuple(seen_spend_by(cells, feature, days=max(1, len(run.log.days) + run.log.merged_days)))
