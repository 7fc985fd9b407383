"""select_features: which features make up a segment, and what varied at random in the log."""

import logging
from dataclasses import asdict
from typing import Any

import pandas as pd

from optimizer.core.landscape.cells import prepare_cells
from optimizer.core.landscape.hidden_floors import find_floors_by
from optimizer.core.landscape.jitter import learn_variation
from optimizer.reporting.learning import variation_sentence
from optimizer.runs import staging
from optimizer.runs.cell_run import choose_key
from optimizer.runs.handle import RunHandle, read_settings, read_snapshot
from optimizer.runs.planned_bids import with_planned_bids
from optimizer.runs.systems import Systems

log = logging.getLogger(__name__)


def select_features(run: RunHandle, *, systems: Systems) -> dict[str, Any]:
    """Leave the chosen features, every candidate's score and what varied at random in the staging prefix.

    Returns:
        The features.
    """
    settings, stage = read_settings(read_snapshot(run, systems)), run.staging(systems)
    totals = stage.get_json(staging.TOTALS)
    candidates = totals["candidate_features"]
    cells = candidate_cells(stage, totals)
    floors = find_floors_by(cells, settings.anchor_feature.lower())
    cells, variation = learn_variation(cells, candidates, floors=floors)
    stage.put_frame(staging.CELLS, cells)
    stage.put_json(staging.VARIATION, variation.to_record())
    log.info("run %s of %s: %s", run.run_id, run.entity_code, variation_sentence(variation.to_record()))
    selection = choose_key(cells, candidates=candidates, settings=settings, floors=floors, variation=variation)
    stage.put_json(staging.SELECTION, asdict(selection))
    return {"features": list(selection.features)}


def candidate_cells(stage: staging.Staging, totals: dict[str, Any]) -> pd.DataFrame:
    """Return the extracted cells by every candidate feature, with what earlier runs planned."""
    raw = stage.get_frame(totals["files"][staging.SEGMENT_CELLS])
    cells = prepare_cells(raw, totals["candidate_features"])
    return with_planned_bids(cells, features_by_run=totals["earlier_runs"], stage=stage)
