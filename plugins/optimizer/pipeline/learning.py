"""extract, select_features and train_models: from the warehouse's log to win-rate curves and click rates."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zlib import crc32

import pandas as pd

from optimizer.core.cells import group_cells, prepare_cells, unmask
from optimizer.core.features import SelectionLimits, select_features
from optimizer.pipeline import staging
from optimizer.pipeline.run import RunHandle, read_settings, read_snapshot
from optimizer.pipeline.systems import Systems
from optimizer.training import job as training
from optimizer.warehouse.connection import warehouse_errors
from optimizer.warehouse.contract import check_contract
from optimizer.warehouse.extraction import (
    Window,
    extract_domain_cells,
    extract_npi_totals,
    extract_segment_cells,
    read_totals,
)


def extract(run: RunHandle, *, systems: Systems) -> dict[str, Any]:
    """Leave the window's totals and cells in the staging prefix; return how much was read.

    Raises:
        WarehouseError: login, table or column; EmptyWindowError: no bids in the window.
    """
    snapshot = read_snapshot(run, systems)
    settings, inputs, stage = read_settings(snapshot), snapshot["inputs"], run.staging(systems)
    window = Window(
        object_id=int(inputs["object_id"]),
        data_start_at=datetime.fromisoformat(inputs["data_start_dt"]),
        data_end_at=datetime.fromisoformat(inputs["data_end_dt"]),
    )
    with warehouse_errors("connecting to the warehouse"):
        connection = systems.connect_warehouse()
    with closing(connection):
        multiplied = {"domain"} if settings.domain_enabled else set()
        named = [macro["feature_name"] for macro in inputs["feature_macros"]]
        features = check_contract(connection, features=[name for name in named if name not in multiplied])
        totals = read_totals(connection, window=window)
        rows = {
            staging.SEGMENT_CELLS: _stage(
                stage,
                staging.SEGMENT_CELLS,
                lambda path: extract_segment_cells(connection, window=window, features=features, path=path),
            )
        }
        if settings.domain_enabled:
            rows[staging.DOMAIN_CELLS] = _stage(
                stage, staging.DOMAIN_CELLS, lambda path: extract_domain_cells(connection, window=window, path=path)
            )
        if settings.npi_enabled:
            rows[staging.NPI_TOTALS] = _stage(
                stage, staging.NPI_TOTALS, lambda path: extract_npi_totals(connection, window=window, path=path)
            )
    stage.put_json(staging.TOTALS, {**totals.as_dict(), "candidate_features": features, "rows": rows})
    return {"usable_bids": totals.usable_bids, "rows": rows}


def choose_features(run: RunHandle, *, systems: Systems) -> dict[str, Any]:
    """Leave the chosen features and every candidate's score in the staging prefix; return the features."""
    settings, stage = read_settings(read_snapshot(run, systems)), run.staging(systems)
    candidates = stage.get_json(staging.TOTALS)["candidate_features"]
    cells = prepare_cells(stage.get_frame(staging.SEGMENT_CELLS), candidates)
    limits = SelectionLimits(
        anchor_feature=settings.anchor_feature,
        max_features=settings.max_features,
        max_segments=settings.max_segments,
        min_segment_bids=settings.min_segment_bids,
        min_evidence_share=settings.min_evidence_share,
    )
    selection = select_features(cells, candidates=candidates, limits=limits)
    stage.put_json(staging.SELECTION, asdict(selection))
    return {"features": list(selection.features)}


def train_models(run: RunHandle, *, systems: Systems, threads: int = 1) -> dict[str, Any]:
    """Leave models, segments and the training report in the staging prefix; return the headline figures.

    Training runs in a fresh process, with as many threads as the pool slot stands for.
    """
    settings, stage = read_settings(read_snapshot(run, systems)), run.staging(systems)
    totals, features = stage.get_json(staging.TOTALS), stage.get_json(staging.SELECTION)["features"]
    job = training.TrainingJob(
        features=tuple(features),
        half_life_days=settings.half_life_days,
        total_views=totals["joined_views"] + totals["orphan_views"],
        total_clicks=totals["joined_clicks"] + totals["orphan_clicks"],
        seed=crc32(run.run_id.encode()) % 2**31,
        threads=threads,
    )
    with TemporaryDirectory(prefix="optimizer-") as name:
        folder = Path(name)
        (folder / training.JOB_FILE).write_text(job.model_dump_json())
        _selected_cells(stage, totals["candidate_features"], features).to_parquet(
            folder / training.CELLS_FILE, index=False
        )
        report = training.run_training(folder)
        for output in (training.WIN_MODEL_FILE, training.CLICK_MODEL_FILE, training.SEGMENTS_FILE):
            if (folder / output).exists():
                stage.put_file(output, folder / output)
    stage.put_json(staging.TRAINING, report.model_dump())
    return {"wr_model_auc": report.wr_model_auc, "bid_coefficient": report.slope}


def _selected_cells(stage: staging.Staging, candidates: list[str], features: list[str]) -> pd.DataFrame:
    cells = group_cells(prepare_cells(stage.get_frame(staging.SEGMENT_CELLS), candidates), features)
    return cells.assign(**{feature: unmask(cells[feature]) for feature in features})


def _stage(stage: staging.Staging, name: str, extract_to: Callable[[Path], int]) -> int:
    with TemporaryDirectory(prefix="optimizer-") as folder:
        path = Path(folder) / name
        rows = extract_to(path)
        stage.put_file(name, path)
    return rows
