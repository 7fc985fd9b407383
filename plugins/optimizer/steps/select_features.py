"""select_features: which features make up a segment, and what varied at random in the log."""

import logging
from dataclasses import replace
from typing import Any

import pandas as pd

from optimizer.core.landscape.cells import prepare_cells
from optimizer.core.landscape.click_delay import count_click_views
from optimizer.core.landscape.hidden_floors import find_floors_by
from optimizer.core.landscape.jitter import learn_variation
from optimizer.core.records import run_files
from optimizer.core.records.variation import VariationRecord
from optimizer.core.records.window_totals import StagedLog
from optimizer.reporting.learning import variation_sentence
from optimizer.runs import artifacts, staging
from optimizer.runs.cell_run import choose_key
from optimizer.runs.handle import RunHandle, read_snapshot
from optimizer.runs.planned_bids import with_planned_bids
from optimizer.runs.systems import Systems

log = logging.getLogger(__name__)


def select_features(run: RunHandle, *, systems: Systems) -> dict[str, Any]:
    """Leave the chosen features, every candidate's score and what varied at random in the staging prefix.

    Returns:
        The features.
    """
    settings, stage = read_snapshot(run, systems).settings, run.staging(systems)
    log_read = artifacts.TOTALS.read(stage)
    candidates = log_read.candidate_features
    cells = candidate_cells(stage, log_read)
    floors = find_floors_by(cells, settings.anchor_feature.lower())
    cells, variation = learn_variation(cells, candidates, floors=floors)
    stage.put_frame(run_files.CELLS, cells)
    known = VariationRecord.of(variation)
    artifacts.VARIATION.write(stage, known)
    log.info("run %s of %s: %s", run.run_id, run.entity_code, variation_sentence(known))
    selection = choose_key(cells, candidates=candidates, settings=settings, floors=floors, variation=variation)
    if log_read.coarse is not None:
        selection = replace(selection, scores=(*selection.scores, *log_read.coarse.left_out))
    artifacts.SELECTION.write(stage, selection)
    return {"features": list(selection.features)}


def candidate_cells(stage: staging.Staging, found: StagedLog) -> pd.DataFrame:
    """Return the extracted cells by every candidate feature, with what earlier runs planned."""
    raw = stage.get_frame(found.files[run_files.SEGMENT_CELLS])
    cells = prepare_cells(count_click_views(raw, found.click_maturity), found.candidate_features)
    return with_planned_bids(cells, features_by_run=found.earlier_runs, stage=stage)
