"""extract, select_features and train_models: from the warehouse's log to win-rate curves and click rates."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4
from zlib import crc32

import pandas as pd

from optimizer.core.cells import prepare_cells
from optimizer.core.checks.model import outcome_check
from optimizer.core.jitter import learn_variation
from optimizer.core.slope import RANDOMISED_DAYS
from optimizer.errors import DataError
from optimizer.pipeline import staging
from optimizer.pipeline.cell_run import choose_key, training_cells, training_job
from optimizer.pipeline.earlier_runs import stage_planned_bids, with_planned_bids
from optimizer.pipeline.run import RunHandle, read_settings, read_snapshot
from optimizer.pipeline.systems import Systems
from optimizer.pipeline.tracking import tracked_training
from optimizer.reporting.learning import variation_sentence
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

log = logging.getLogger(__name__)


def extract(run: RunHandle, *, systems: Systems) -> dict[str, Any]:
    """Leave the window's totals and cells in the staging prefix; return how much was read.

    A run reads the log once: the totals are written last, and a later or parallel try leaves them as they are, so that
    all steps of the run see the same log.

    Raises:
        WarehouseError: login, table or column; EmptyWindowError: no bids in the window.
    """
    stage = run.staging(systems)
    if not stage.has(staging.TOTALS):
        found = _read_log(read_snapshot(run, systems), systems, stage)
        found["days"] = _daily_counts(stage, found)
        found["earlier_runs"], found["earlier_forecasts"] = stage_planned_bids(
            _runs_that_bid(stage, found), stage=stage, systems=systems
        )
        if not stage.has(staging.TOTALS):
            stage.put_json(staging.TOTALS, found)
    totals = stage.get_json(staging.TOTALS)
    return {"usable_bids": totals["usable_bids"], "rows": totals["rows"]}


def _read_log(snapshot: dict[str, Any], systems: Systems, stage: staging.Staging) -> dict[str, Any]:
    """The totals of the window, with the names of the staged cells; every try has file names of its own."""
    settings, inputs = read_settings(snapshot), snapshot["inputs"]
    window = Window(
        object_id=int(inputs["object_id"]),
        data_start_at=datetime.fromisoformat(inputs["data_start_dt"]),
        data_end_at=datetime.fromisoformat(inputs["data_end_dt"]),
    )
    with warehouse_errors("connecting to the warehouse"):
        connection = systems.connect_warehouse()
    with closing(connection):
        named = [macro["feature_name"] for macro in inputs["feature_macros"]]
        multiplied = {"domain"} if settings.domain_enabled else set()
        features = check_contract(connection, features=[name for name in named if name not in multiplied])
        totals = read_totals(connection, window=window)
        is_second_price = settings.auction_type == "second_price"
        extractions = {
            staging.SEGMENT_CELLS: partial(
                extract_segment_cells,
                features=features,
                is_second_price=is_second_price,
                block_hours=totals.block_hours,
            )
        }
        if settings.domain_enabled:
            extractions[staging.DOMAIN_CELLS] = extract_domain_cells
        if settings.npi_enabled:
            extractions[staging.NPI_TOTALS] = extract_npi_totals
        attempt = uuid4().hex[:12]
        files = {name: f"cells/{attempt}/{name}" for name in extractions}
        rows = {
            name: _stage(stage, files[name], partial(extract_to, connection, window=window))
            for name, extract_to in extractions.items()
        }
    return {**totals.as_dict(), "candidate_features": features, "rows": rows, "files": files}


def choose_features(run: RunHandle, *, systems: Systems) -> dict[str, Any]:
    """Leave the chosen features, every candidate's score and what varied at random in the staging prefix.

    Returns:
        The features.
    """
    settings, stage = read_settings(read_snapshot(run, systems)), run.staging(systems)
    totals = stage.get_json(staging.TOTALS)
    candidates = totals["candidate_features"]
    cells, variation = learn_variation(
        candidate_cells(stage, totals), candidates, anchor=settings.anchor_feature.lower()
    )
    stage.put_frame(staging.CELLS, cells)
    stage.put_json(staging.VARIATION, variation.to_record())
    log.info("run %s of %s: %s", run.run_id, run.entity_code, variation_sentence(variation.to_record()))
    selection = choose_key(cells, candidates=candidates, settings=settings, variation=variation)
    stage.put_json(staging.SELECTION, asdict(selection))
    return {"features": list(selection.features)}


def train_models(run: RunHandle, *, systems: Systems, threads: int = 1) -> dict[str, Any]:
    """Leave models, segments and the training report in the staging prefix; return the headline figures.

    Training runs in a fresh process, with as many threads as the pool slot stands for.
    """
    settings, stage = read_settings(read_snapshot(run, systems)), run.staging(systems)
    totals, features = stage.get_json(staging.TOTALS), stage.get_json(staging.SELECTION)["features"]
    seed = crc32(run.run_id.encode()) % 2**31
    job = training_job(features, settings=settings, totals=totals, seed=seed, threads=threads)
    with TemporaryDirectory(prefix="optimizer-") as name:
        folder = Path(name)
        (folder / training.JOB_FILE).write_text(job.model_dump_json())
        cells = training_cells(stage.get_frame(staging.CELLS), features)
        cells.to_parquet(folder / training.CELLS_FILE, index=False)
        with tracked_training(run, systems=systems) as tracked:
            with _told_outcome(stage, totals, features):
                report = training.run_training(folder, on_trial=tracked.log_trial)
            tracked.log_fit(report)
        for output in (training.WIN_MODEL_FILE, training.CLICK_MODEL_FILE, training.SEGMENTS_FILE):
            if (folder / output).exists():
                stage.put_file(output, folder / output)
    stage.put_json(staging.TRAINING, report.model_dump())
    stage.put_json(staging.TRACKING, tracked.figures)
    return {"wr_model_auc": report.wr_model_auc, "bid_coefficient": report.bid_coefficient}


@contextmanager
def _told_outcome(stage: staging.Staging, totals: dict[str, Any], features: Sequence[str]) -> Iterator[None]:
    """Name a feature that knows whether the bid won where nothing can be learned beside it."""
    try:
        yield
    except DataError as error:
        cells = stage.get_frame(totals["files"][staging.SEGMENT_CELLS])
        check = outcome_check(cells, totals["candidate_features"], selected=features)
        if check.is_passed:
            raise
        raise DataError(f"{error}: {check.problem}; {check.next_step}") from error


def candidate_cells(stage: staging.Staging, totals: dict[str, Any]) -> pd.DataFrame:
    """Return the extracted cells by every candidate feature, with what earlier runs planned."""
    raw = stage.get_frame(totals["files"][staging.SEGMENT_CELLS])
    cells = prepare_cells(raw, totals["candidate_features"])
    return with_planned_bids(cells, features_by_run=totals["earlier_runs"], stage=stage)


def _daily_counts(stage: staging.Staging, totals: dict[str, Any]) -> list[dict[str, int]]:
    """Bids and wins of each day with bids, in order."""
    cells = stage.get_frame(totals["files"][staging.SEGMENT_CELLS], columns=["day", "bids", "wins"])
    days = cells.groupby("day", sort=True)[["bids", "wins"]].sum()
    return [{"bids": int(day.bids), "wins": int(day.wins)} for day in days.itertuples()]


def _runs_that_bid(stage: staging.Staging, totals: dict[str, Any]) -> list[str]:
    """The runs that priced the bids of the latest days, from which the slope is learned."""
    cells = stage.get_frame(totals["files"][staging.SEGMENT_CELLS], columns=["day", "run_id"])
    day = pd.to_datetime(cells["day"])
    return list(cells.loc[day > day.max() - pd.Timedelta(days=RANDOMISED_DAYS), "run_id"].dropna().unique())


def _stage(stage: staging.Staging, name: str, extract_to: Callable[..., int]) -> int:
    with TemporaryDirectory(prefix="optimizer-") as folder:
        path = Path(folder) / Path(name).name
        rows = extract_to(path=path)
        stage.put_file(name, path)
    return rows
